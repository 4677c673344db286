-- A description without any indentation gets the usual form, and so does a
-- part of it.
return function(editor)
  editor.serve()
  editor.open('guestbook.sf')
  local before = editor.text()
  vim.cmd([[silent %substitute/^\s\+//]])
  vim.cmd('silent write')
  if vim.lsp.buf.format then
    vim.lsp.buf.format { timeout_ms = editor.limit }
  else
    vim.lsp.buf.formatting_sync(nil, editor.limit)
  end
  local all = editor.text()

  editor.at('‸app1 extends')
  vim.cmd([[silent .,+1substitute/^\s\+//]])
  vim.bo.formatexpr = ('v:lua.vim.lsp.formatexpr(#{timeout_ms: %d})'):format(editor.limit)
  editor.press('kgq2j') -- Neovim 0.7 leaves the last line out
  return { before = before, all = all, part = editor.text() }
end
