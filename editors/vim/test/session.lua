-- Runs one script of this folder in an editor without a screen and writes what
-- it found as JSON; ../../neovim_test.go starts it and compares:
--
--   SESSION='{"script": …, "findings": …, "program": …, "home": …}' nvim --clean --headless -S session.lua
--
-- A script returns a function, which gets what is below and returns findings.
local given = vim.json.decode(vim.env.SESSION)
local session = {
  want = given.want,
  limit = 20000, -- milliseconds that the server may take
}

--- Starts the server for descriptions, with more options for the client.
function session.serve(options)
  require('aloft').setup(vim.tbl_extend('force', { cmd = { given.program, '--home', given.home, 'lsp' } }, options or {}))
end

--- Waits until ok() and returns what it returned.
function session.wait(what, ok)
  local got
  local done = vim.wait(session.limit, function()
    got = ok()
    return got
  end, 5)
  if not done then
    error('waited in vain: ' .. what, 2)
  end
  return got
end

local function clients(buffer)
  if vim.lsp.get_clients then
    return vim.lsp.get_clients { bufnr = buffer }
  end
  return vim.tbl_values(vim.lsp.buf_get_clients(buffer))
end

--- The client of the current text's server, once that has answered.
function session.server()
  return session.wait('server of ' .. vim.fn.expand('%'), function()
    return clients(vim.api.nvim_get_current_buf())[1]
  end)
end

--- Shows a file and waits until its server has answered.
function session.open(file)
  vim.cmd('edit ' .. vim.fn.fnameescape(file))
  session.server()
end

-- The cursor can stand behind the last character, where one types.
vim.o.virtualedit = 'onemore'

--- Presses keys; <> names are understood.
function session.press(keys)
  vim.api.nvim_feedkeys(vim.api.nvim_replace_termcodes(keys, true, false, true), 'tx', false)
end

--- Puts the cursor where ‸ is in the first occurrence of text.
function session.at(text)
  local before, after = unpack(vim.split(text, '‸'))
  vim.fn.cursor(1, 1)
  local found = vim.fn.search('\\V\\C' .. vim.fn.escape(before, '\\') .. '\\zs' .. vim.fn.escape(after, '\\'), 'cW')
  if found == 0 then
    error('not in the text: ' .. text, 2)
  end
end

--- The place of the cursor as the protocol has it, with more parameters.
function session.here(more)
  local params = vim.lsp.util.make_position_params(0, session.server().offset_encoding)
  return vim.tbl_extend('force', params, more or {})
end

--- Asks the server and returns its answer, or nil and its error's message.
function session.ask(method, params)
  local answers, err = vim.lsp.buf_request_sync(0, method, params, session.limit)
  if not answers then
    error(method .. ': ' .. tostring(err), 2)
  end
  local _, answer = next(answers)
  local refused = answer.err or answer.error
  if refused then
    return nil, refused.message
  end
  return answer.result
end

--- All that is said to the user.
session.heard = {}
local function hear(message)
  table.insert(session.heard, message)
end
vim.notify = hear

--- What is said to be wrong with the current text, once ok(list), as JSON that
--- all versions of Neovim agree on.
function session.mistakes(what, ok)
  return session.wait(what, function()
    local list = {}
    for _, d in ipairs(vim.diagnostic.get(0)) do
      table.insert(list, {
        code = d.code or d.user_data.lsp.code,
        message = d.message,
        from = { d.lnum, d.col },
        to = { d.end_lnum, d.end_col },
      })
    end
    return ok(list) and (list[1] and list or vim.empty_dict())
  end)
end

--- The current text.
function session.text()
  return table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), '\n') .. '\n'
end

--- The text at a range of the protocol, within a line.
function session.covered(range)
  local line = vim.api.nvim_buf_get_lines(0, range.start.line, range.start.line + 1, true)[1]
  local function byte(character)
    local encoding = session.server().offset_encoding
    return encoding == 'utf-8' and character or vim.str_byteindex(line, character, encoding == 'utf-16')
  end
  return line:sub(byte(range.start.character) + 1, byte(range['end'].character))
end

local done, findings = xpcall(function()
  return dofile(given.script)(session)
end, debug.traceback)
if done then
  vim.fn.writefile({ vim.json.encode(findings) }, given.findings)
  vim.cmd('qall!')
else
  io.stderr:write(findings, '\n')
  vim.cmd('cquit')
end
