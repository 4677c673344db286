// The extension starts the language server that is in the aloft program and
// gives its commands a place in the editor. All that is known of the language
// is in the server; only the highlighting grammar is here.
import * as vscode from "vscode";
import { LanguageClient, type LanguageClientOptions, type ServerOptions } from "vscode-languageclient/node";

let client: LanguageClient | undefined;

/** What the server does with a description; the commands of its code lenses. */
const actions = ["plan", "deploy", "terminate"] as const;

export async function activate(context: vscode.ExtensionContext): Promise<void> {
  for (const action of actions) {
    context.subscriptions.push(
      vscode.commands.registerCommand(`aloft.${action}File`, (file?: vscode.Uri) => run(action, file)),
    );
  }
  context.subscriptions.push(
    vscode.commands.registerCommand("aloft.restartServer", restart),
    vscode.workspace.onDidChangeConfiguration((change) => {
      if (change.affectsConfiguration("aloft.path") || change.affectsConfiguration("aloft.home")) {
        void restart();
      }
    }),
  );
  await start();
}

export async function deactivate(): Promise<void> {
  await stop();
}

async function start(): Promise<void> {
  const settings = vscode.workspace.getConfiguration("aloft");
  const program = settings.get<string>("path") || "aloft";
  const home = settings.get<string>("home");
  const server: ServerOptions = {
    command: program,
    args: [...(home ? ["--home", home] : []), "lsp"],
  };
  const options: LanguageClientOptions = {
    documentSelector: [{ language: "aloft" }],
    synchronize: { fileEvents: vscode.workspace.createFileSystemWatcher("**/*.sf") },
  };
  const started = new LanguageClient("aloft", "aloft", server, options);
  client = started;
  try {
    await started.start();
  } catch (error) {
    client = undefined;
    await explain(program, error);
  }
}

async function stop(): Promise<void> {
  const running = client;
  client = undefined;
  if (running?.isRunning()) {
    await running.stop();
  }
}

async function restart(): Promise<void> {
  await stop();
  await start();
}

/** Says why there is no server, and offers to set the path. */
async function explain(program: string, error: unknown): Promise<void> {
  const settings = "Open settings";
  const choice = await vscode.window.showErrorMessage(
    `aloft: "${program} lsp" could not be started: ${error instanceof Error ? error.message : String(error)}`,
    settings,
  );
  if (choice === settings) {
    await vscode.commands.executeCommand("workbench.action.openSettings", "aloft.path");
  }
}

/** Asks the server to plan, deploy or terminate a file, once it is saved. */
async function run(action: (typeof actions)[number], file?: vscode.Uri): Promise<void> {
  const document = file
    ? await vscode.workspace.openTextDocument(file)
    : vscode.window.activeTextEditor?.document;
  if (document?.languageId !== "aloft") {
    await vscode.window.showErrorMessage(`aloft: open a description to ${action} it`);
    return;
  }
  if (!client?.isRunning()) {
    await vscode.window.showErrorMessage('aloft: the language server is not running; see the output "aloft"');
    return;
  }
  if (document.isDirty && !(await document.save())) {
    return; // the user did not want it written, and what is acted on is the file
  }
  await client.sendRequest("workspace/executeCommand", {
    command: `aloft.${action}`,
    arguments: [client.code2ProtocolConverter.asUri(document.uri)],
  });
}
