-- :make finds the mistakes of a file that is not right.
return function(editor)
  vim.cmd('edit guestbook.sf')
  vim.cmd([[silent %substitute/readyPort 8000/readyPort web:nginx:prot/]])
  vim.cmd([[silent %substitute/user "nobody"/user web:nginx:usr/]])
  vim.cmd('silent write')
  vim.cmd('silent make')
  local findings = {}
  for _, entry in ipairs(vim.fn.getqflist()) do
    if entry.valid == 1 then
      local file = vim.fn.fnamemodify(vim.api.nvim_buf_get_name(entry.bufnr), ':t')
      table.insert(findings, ('%s:%d:%d %s %s'):format(file, entry.lnum, entry.col, entry.type, entry.text))
    end
  end
  return findings
end
