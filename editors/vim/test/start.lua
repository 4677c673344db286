-- Which files share a server, and what is said when there is none to start.
return function(editor)
  editor.serve { cmd = { '/nowhere/aloft', 'lsp' } }
  vim.cmd('edit hello.sf')
  vim.cmd('edit guestbook.sf')
  local findings = { missing = vim.deepcopy(editor.heard), commands = vim.fn.exists(':AloftPlan') }

  editor.serve()
  vim.cmd('silent %bwipeout')
  vim.fn.mkdir('repository/.git', 'p')
  vim.fn.mkdir('repository/parts', 'p')
  for _, file in ipairs { 'hello.sf', 'guestbook.sf', 'repository/a.sf', 'repository/parts/b.sf' } do
    editor.open(file)
    findings[file] = editor.server().id
  end
  findings.commandsThen = vim.fn.exists(':AloftPlan')

  -- A server that has ended is started again.
  local server = editor.server()
  vim.lsp.stop_client(server.id)
  editor.wait('the end of the server', function()
    return not vim.lsp.get_client_by_id(server.id)
  end)
  vim.cmd('AloftPlan')
  findings.ended = editor.heard[#editor.heard]
  vim.cmd('edit')
  findings.again = editor.server().id
  return findings
end
