-- A command on hello.sf: want says which, how it is given, and what is
-- answered when the server asks.
return function(editor)
  local findings = { asked = {}, shown = {} }
  vim.lsp.handlers['window/showMessageRequest'] = function(_, request)
    table.insert(findings.asked, request.message)
    for _, action in ipairs(request.actions) do
      if action.title == editor.want.answer then
        return action
      end
    end
    return vim.NIL
  end
  vim.lsp.handlers['window/showMessage'] = function(_, said)
    table.insert(findings.shown, said.message)
  end
  vim.lsp.handlers['workspace/executeCommand'] = function(err, result)
    findings.ended = true
    findings.result = result
    findings.err = err and err.message
  end
  editor.serve()
  editor.open('hello.sf')

  if editor.want.lens then
    vim.lsp.codelens.refresh()
    editor.wait('lenses', function()
      return #vim.lsp.codelens.get(0) > 0
    end)
    vim.ui.select = function(options, ask, chosen)
      for _, option in ipairs(options) do
        if ask.format_item(option):find(editor.want.lens, 1, true) then
          chosen(option)
        end
      end
    end
    editor.at('sf‸Config extends')
    vim.lsp.codelens.run()
  else
    vim.cmd(editor.want.command)
  end
  editor.wait('an end', function()
    return findings.ended
  end)
  return findings
end
