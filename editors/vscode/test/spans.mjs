// Highlights files as the editor does and prints, for each, one letter per
// character: what the grammar takes it for. The Go test beside compares them
// with the scanner's own tokens.
//
//   node test/spans.mjs FILE...   ->  {"FILE": ["cccc", "aaa s", ...], ...}
//
// c comment  s string  n number, bytes  k keyword  d directive  w word
// o operator  p punctuation  ! illegal  blank: nothing
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import oniguruma from "vscode-oniguruma";
import textmate from "vscode-textmate";

const require = createRequire(import.meta.url);
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const letters = [
  [/^invalid\./, "!"],
  [/^comment\./, "c"],
  [/^string\.|^constant\.character/, "s"],
  [/^constant\.numeric/, "n"],
  [/^keyword\.control\.directive/, "d"],
  [/^storage\.|^keyword\.control|^variable\.language|^constant\.language/, "k"],
  [/^keyword\.operator/, "o"],
  [/^entity\.|^variable\./, "w"],
  [/^punctuation\./, "p"],
];

function letter(scopes) {
  for (const scope of [...scopes].reverse()) {
    const known = letters.find(([pattern]) => pattern.test(scope));
    if (known) {
      return known[1];
    }
  }
  return " ";
}

await oniguruma.loadWASM(readFileSync(require.resolve("vscode-oniguruma/release/onig.wasm")));
const registry = new textmate.Registry({
  onigLib: Promise.resolve({
    createOnigScanner: (patterns) => new oniguruma.OnigScanner(patterns),
    createOnigString: (text) => new oniguruma.OnigString(text),
  }),
  loadGrammar: async () => {
    const file = here("../syntaxes/aloft.tmLanguage.json");
    return textmate.parseRawGrammar(readFileSync(file, "utf8"), file);
  },
});
const grammar = await registry.loadGrammar("source.aloft");

const result = {};
for (const file of process.argv.slice(2)) {
  let state = textmate.INITIAL;
  result[file] = readFileSync(file, "utf8").split("\n").map((line) => {
    const { tokens, ruleStack } = grammar.tokenizeLine(line, state);
    state = ruleStack;
    return tokens
      .map((t) => letter(t.scopes).repeat([...line.slice(t.startIndex, t.endIndex)].length))
      .join("");
  });
}
process.stdout.write(JSON.stringify(result));
