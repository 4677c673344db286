-- Descriptions are typed without any indentation; comments are left out, since
-- the editor begins the lines after the first by itself.
return function(editor)
  local findings = {}
  for _, file in ipairs(vim.fn.glob('*.sf', false, true)) do
    local lines = {}
    for _, line in ipairs(vim.fn.readfile(file)) do
      line = line:gsub('^//.*', ''):gsub('%s//.*', ''):gsub('^%s+', ''):gsub('%s+$', '')
      if line ~= '' then
        table.insert(lines, (line:gsub('<', '<lt>')))
      end
    end
    vim.cmd('edit typed-' .. file)
    editor.press('i' .. table.concat(lines, '<CR>') .. '<Esc>')
    findings[file] = editor.text()
  end
  return findings
end
