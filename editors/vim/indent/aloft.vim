" Indents by what is open at the end of the line above.
if exists('b:did_indent')
  finish
endif
let b:did_indent = 1

setlocal indentexpr=AloftIndent()
setlocal indentkeys=0{,0},0),0],0<Bar>,!^F,o,O
let b:undo_indent = 'setlocal indentexpr< indentkeys<'

if exists('*AloftIndent')
  finish
endif

" Brackets of a line that its comments and strings do not hold.
function s:Balance(lnum) abort
  let balance = 0
  let text = getline(a:lnum)
  for col in range(1, strlen(text))
    let c = text[col - 1]
    if c =~# '[][{}()]' && synIDattr(synID(a:lnum, col, 1), 'name') !~# 'Comment\|String\|Bytes'
      let balance += c =~# '[[{(]' ? 1 : -1
    endif
  endfor
  return balance
endfunction

function AloftIndent() abort
  let above = prevnonblank(v:lnum - 1)
  if above == 0
    return 0
  endif
  let indent = indent(above)
  let balance = s:Balance(above)
  " A line that begins by closing stands where what it closes began.
  if getline(above) =~# '^\s*\%(|\]\|[]})]\)'
    let balance += 1
  endif
  if balance > 0
    let indent += shiftwidth()
  elseif balance < 0
    let indent -= shiftwidth()
  endif
  if getline(v:lnum) =~# '^\s*\%(|\]\|[]})]\)'
    let indent -= shiftwidth()
  endif
  return max([indent, 0])
endfunction
