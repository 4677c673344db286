" Editing of aloft's descriptions.
if exists('b:did_ftplugin')
  finish
endif
let b:did_ftplugin = 1

setlocal comments=s1:/*,mb:*,ex:*/,://
setlocal commentstring=//\ %s
setlocal expandtab shiftwidth=2 softtabstop=2
setlocal suffixesadd=.sf
setlocal include=^\\s*#include?\\?
setlocal formatoptions-=t formatoptions+=croql
" What `aloft check` prints.
setlocal makeprg=aloft\ check\ %:S
setlocal errorformat=%f:%l:%c:\ %trror\ %m,%f:%l:%c:\ %tarning\ %m,%-G%.%#

let b:undo_ftplugin = 'setlocal comments< commentstring< expandtab< shiftwidth< softtabstop<'
      \ . ' suffixesadd< include< formatoptions< makeprg< errorformat<'
