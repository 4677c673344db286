-- Starts aloft's language server for every description that is opened:
--
--   require('aloft').setup {}            -- or { cmd = { '/path/to/aloft', 'lsp' } }
--
-- and gives it the commands :AloftPlan, :AloftDeploy, :AloftTerminate. Works
-- from Neovim 0.7 on.
local M = {}

local clients = {} -- ids by root folder
local last -- the id that was used last

-- Says once what to do when the program is not there; Neovim's own words would
-- come for every file, and name neither aloft nor the option.
local function missing(program)
  if vim.fn.executable(program) == 1 then
    return false
  end
  vim.notify_once(
    ("aloft: there is no program %s; install aloft, or say where it is: require('aloft').setup { cmd = { '/path/to/aloft', 'lsp' } }"):format(program),
    vim.log.levels.ERROR
  )
  return true
end

-- The folder of the repository that a file is in, or else its own.
local function root(file)
  local own = vim.fn.fnamemodify(file, ':p:h')
  local dir, above = own, nil
  while dir ~= above do
    if vim.loop.fs_stat(dir .. '/.git') then
      return dir
    end
    dir, above = vim.fn.fnamemodify(dir, ':h'), dir
  end
  return own
end

-- Whether a file is the copy of the built-in library that definitions lead to.
local function inLibrary(file)
  local cache = vim.env.XDG_CACHE_HOME or ''
  if not vim.startswith(cache, '/') then
    cache = (vim.env.HOME or '') .. '/.cache'
  end
  return vim.startswith(file, cache .. '/aloft/library/')
end

-- Starts a server and returns its client's id.
local function start(config, buffer)
  if vim.lsp.start then
    return vim.lsp.start(config, {
      bufnr = buffer,
      reuse_client = function()
        return false
      end,
    })
  end
  return vim.lsp.start_client(config)
end

-- Gives a buffer its server, which it shares with others, and returns the
-- client's id; or nil if there cannot be one.
local function attach(buffer, options)
  local file = vim.api.nvim_buf_get_name(buffer)
  local config = vim.tbl_extend('force', { name = 'aloft', cmd = { 'aloft', 'lsp' }, root_dir = root(file) }, options)
  local id = clients[config.root_dir]
  if inLibrary(file) and last and vim.lsp.get_client_by_id(last) then
    id = last -- it led there
  elseif not id or not vim.lsp.get_client_by_id(id) then
    if type(config.cmd) == 'table' and missing(config.cmd[1]) then
      return nil
    end
    id = start(config, buffer)
    clients[config.root_dir] = id
  end
  if not id then
    return nil
  end
  last = id
  vim.lsp.buf_attach_client(buffer, id)
  if not vim.lsp.start then
    -- As later versions do: CTRL-X CTRL-O completes, CTRL-] goes to where a
    -- name is defined, gq formats.
    vim.bo[buffer].omnifunc = 'v:lua.vim.lsp.omnifunc'
    vim.bo[buffer].tagfunc = 'v:lua.vim.lsp.tagfunc'
    vim.bo[buffer].formatexpr = 'v:lua.vim.lsp.formatexpr()'
  end
  return id
end

-- What is acted on is the file, so that it is written first.
local function execute(id, command)
  return function()
    if vim.bo.modified then
      vim.cmd('write')
    end
    local client = vim.lsp.get_client_by_id(id)
    if not client then
      vim.notify('aloft: the language server has ended; :edit starts it again', vim.log.levels.ERROR)
      return
    end
    local params = { title = command, command = command, arguments = { vim.uri_from_bufnr(0) } }
    if client.exec_cmd then
      client:exec_cmd(params, { bufnr = vim.api.nvim_get_current_buf() })
    else
      client.request('workspace/executeCommand', params)
    end
  end
end

local commands = { AloftPlan = 'aloft.plan', AloftDeploy = 'aloft.deploy', AloftTerminate = 'aloft.terminate' }

--- options.cmd: the program and its arguments; on_attach, capabilities,
--- settings and all else go to the client as they are.
function M.setup(options)
  vim.api.nvim_create_autocmd('FileType', {
    pattern = 'aloft',
    group = vim.api.nvim_create_augroup('aloft', {}),
    callback = function(event)
      local id = attach(event.buf, options or {})
      if not id then
        return -- why has been said
      end
      for name, command in pairs(commands) do
        vim.api.nvim_buf_create_user_command(event.buf, name, execute(id, command), {})
      end
    end,
  })
end

return M
