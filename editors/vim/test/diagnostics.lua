-- A mistake is typed into a description and mended.
return function(editor)
  editor.serve()
  editor.open('guestbook.sf')
  editor.at('readyPort ‸8000')
  editor.press('cwweb:nginx:prot<Esc>')
  local found = editor.mistakes('a mistake', function(list)
    return #list > 0
  end)
  local typed = vim.api.nvim_get_current_line()
  editor.press('bcwport<Esc>')
  editor.mistakes('no mistake', function(list)
    return #list == 0
  end)
  return { found = found, typed = typed, mended = vim.api.nvim_get_current_line() }
end
