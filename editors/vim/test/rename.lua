-- A component is renamed in the two files that speak of it.
return function(editor)
  editor.serve()
  editor.open('shop.sf')

  local function refused(place, method, more)
    editor.at(place)
    local _, reason = editor.ask('textDocument/' .. method, editor.here(more))
    return reason
  end
  local findings = {
    clash = refused('d‸b:memory', 'rename', { newName = 'web' }),
    captured = refused('d‸b:memory', 'rename', { newName = 'app' }),
    library = refused('extends V‸M', 'prepareRename'),
  }

  editor.at('d‸b:memory')
  vim.lsp.buf.rename('store')
  editor.wait('the new name', function()
    return editor.text():find('store:memory', 1, true)
  end)
  vim.cmd('silent wall')
  findings.heard = editor.heard
  return findings
end
