-- Where names are defined and used, and what is said of them.
return function(editor)
  editor.serve()

  -- Where CTRL-] leads from a place.
  local function followed(file, place)
    editor.open(file)
    editor.at(place)
    editor.ask('textDocument/definition', editor.here()) -- CTRL-] waits for a second only
    editor.press('<C-]>')
    return {
      server = editor.server().id,
      file = vim.fn.expand('%:p'),
      line = vim.api.nvim_get_current_line(),
      col = vim.fn.col('.'),
    }
  end

  local findings = {
    prototype = followed('guestbook.sf', 'app2 extends AppMa‸chine'),
    reference = followed('guestbook.sf', 'LAZY db:re‸dis:host'),
    include = followed('guestbook.sf', '#include "aloft/comp‸onents.sf"'),
    library = followed('guestbook.sf', 'Machine extends V‸M'),
  }

  editor.open('guestbook.sf')
  editor.at('re‸dis extends')
  findings.references = {}
  for _, place in ipairs(editor.ask('textDocument/references', editor.here { context = { includeDeclaration = true } })) do
    table.insert(findings.references, ('%d %s'):format(place.range.start.line + 1, editor.covered(place.range)))
  end

  local function said(place)
    editor.at(place)
    return editor.ask('textDocument/hover', editor.here()).contents.value
  end
  findings.hover = {
    attribute = said('app‸endOnly'),
    prototype = said('extends Ngi‸nx'),
    reference = said('LAZY db:redis:ho‸st'),
  }
  return findings
end
