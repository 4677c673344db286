-- What the editor shows beside and over the text.
return function(editor)
  editor.serve()
  editor.open('guestbook.sf')
  local this = { textDocument = vim.lsp.util.make_text_document_params() }

  -- One line for a symbol, indented by its depth.
  local symbols = {}
  local function list(inside, depth)
    for _, s in ipairs(inside) do
      local kind = vim.lsp.protocol.SymbolKind[s.kind]
      table.insert(symbols, ('  '):rep(depth) .. ('%s %s'):format(kind, editor.covered(s.selectionRange)))
      list(s.children or {}, depth + 1)
    end
  end
  list(editor.ask('textDocument/documentSymbol', this), 0)

  local folds = {}
  for _, f in ipairs(editor.ask('textDocument/foldingRange', this)) do
    table.insert(folds, ('%d-%d %s'):format(f.startLine + 1, f.endLine + 1, f.kind))
  end

  -- One line for a line of the text, with the kind behind each word.
  local legend = editor.server().server_capabilities.semanticTokensProvider.legend
  local tokens = {}
  local data = editor.ask('textDocument/semanticTokens/full', this).data
  local line, from = 0, 0
  for i = 1, #data, 5 do
    if data[i] > 0 then
      line, from = line + data[i], 0
    end
    from = from + data[i + 1]
    local word = editor.covered {
      start = { line = line, character = from },
      ['end'] = { line = line, character = from + data[i + 2] },
    }
    local key = tostring(line + 1)
    tokens[key] = (tokens[key] and tokens[key] .. ' ' or '') .. word .. '/' .. legend.tokenTypes[data[i + 3] + 1]
  end

  local lenses = {}
  vim.lsp.codelens.refresh()
  editor.wait('lenses', function()
    return #vim.lsp.codelens.get(0) > 0
  end)
  for _, l in ipairs(vim.lsp.codelens.get(0)) do
    table.insert(lenses, ('%d %s: %s'):format(l.range.start.line + 1, l.command.title, l.command.command))
  end
  return { symbols = symbols, folds = folds, tokens = tokens, lenses = lenses }
end
