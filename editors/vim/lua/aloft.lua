-- Starts aloft's language server for every description that is opened:
--
--   require('aloft').setup {}            -- or { cmd = { '/path/to/aloft', 'lsp' } }
--
-- and gives it the commands :AloftPlan, :AloftDeploy, :AloftTerminate. Works
-- from Neovim 0.7 on.
local M = {}

local clients = {} -- by root folder, where vim.lsp.start is not there to share them

local function start(config, buffer)
  if vim.lsp.start then
    return vim.lsp.start(config, { bufnr = buffer })
  end
  local id = clients[config.root_dir]
  if not id or vim.lsp.client_is_stopped(id) then
    id = vim.lsp.start_client(config)
    clients[config.root_dir] = id
  end
  if id then
    vim.lsp.buf_attach_client(buffer, id)
  end
  return id
end

local function execute(command)
  return function()
    if vim.bo.modified then
      vim.cmd('write')
    end
    vim.lsp.buf.execute_command { command = command, arguments = { vim.uri_from_bufnr(0) } }
  end
end

--- options.cmd: the program and its arguments; on_attach, capabilities,
--- settings and all else go to the client as they are.
function M.setup(options)
  options = options or {}
  vim.api.nvim_create_autocmd('FileType', {
    pattern = 'aloft',
    group = vim.api.nvim_create_augroup('aloft', {}),
    callback = function(event)
      local file = vim.api.nvim_buf_get_name(event.buf)
      start(vim.tbl_extend('force', {
        name = 'aloft',
        cmd = { 'aloft', 'lsp' },
        root_dir = vim.fn.fnamemodify(file, ':p:h'),
      }, options), event.buf)
      for name, command in pairs { AloftPlan = 'aloft.plan', AloftDeploy = 'aloft.deploy', AloftTerminate = 'aloft.terminate' } do
        vim.api.nvim_buf_create_user_command(event.buf, name, execute(command), {})
      end
    end,
  })
end

return M
