-- What is offered while a description is written.
return function(editor)
  editor.serve()
  vim.fn.mkdir('parts')
  vim.fn.writefile({ '#include "aloft/components.sf"', 'Cache extends Redis { appendOnly false; }' }, 'parts/cache.sf')
  editor.open('guestbook.sf')

  -- What is offered behind a text that is typed under the line which ends
  -- with above.
  local function offered(above, typed)
    editor.at(above)
    editor.press('o' .. typed)
    vim.fn.cursor('.', vim.fn.col('$'))
    local found = {}
    for _, item in ipairs(editor.ask('textDocument/completion', editor.here()).items) do
      local also = {}
      for _, edit in ipairs(item.additionalTextEdits or {}) do
        table.insert(also, edit.range.start.line .. ' ' .. edit.newText)
      end
      found[item.label] = { detail = item.detail, text = item.textEdit.newText, also = table.concat(also) }
    end
    vim.cmd('silent undo')
    return found
  end

  local findings = {
    attributes = offered('app2 extends AppMachine;‸', 'app3 extends AppMachine {<CR>'),
    parts = offered('app2 extends AppMachine;‸', 'store LAZY db:redis:'),
    prototypes = offered('app2 extends AppMachine;‸', 'log extends '),
    files = offered('#include "aloft/components.sf"‸', '#include "'),
    inFolder = offered('#include "aloft/components.sf"‸', '#include "parts/'),
    classes = offered('app2 extends AppMachine;‸', 'log extends { sfClass "'),
  }

  -- The same as it is done by hand: a word is begun, and the only completion
  -- is inserted when the server has answered.
  editor.at('app2 extends AppMachine;‸')
  vim.o.completeopt = 'menuone'
  vim.api.nvim_create_autocmd('CompleteChanged', {
    once = true,
    callback = function()
      vim.api.nvim_input('<C-y><Esc>')
    end,
  })
  local keys = vim.api.nvim_replace_termcodes('oapp3 extends AppM<C-x><C-o>', true, false, true)
  vim.api.nvim_feedkeys(keys, 'tx!', false)
  findings.inserted = vim.api.nvim_get_current_line()
  vim.cmd('silent undo')

  -- A prototype of the library that the description does not include yet.
  vim.cmd('update')
  vim.fn.writefile({ '// A description of our own.', '', 'sfConfig extends {', '}' }, 'own.sf')
  editor.open('own.sf')
  findings.library = offered('sfConfig extends {‸', 'clock extends Pro')
  return findings
end
