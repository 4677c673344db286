" Indents as `aloft fmt` does, by the innermost bracket that is open.
if exists('b:did_indent')
  finish
endif
let b:did_indent = 1

setlocal indentexpr=AloftIndent()
setlocal indentkeys=0{,0},0),0],0=\|],0=THEN,0=ELSE,0=FI,0=IF,0=ENDSWITCH,!^F,o,O
let b:undo_indent = 'setlocal indentexpr< indentkeys<'

if exists('*AloftIndent')
  finish
endif

" How far in the words of IF go on new lines, and whatever else goes on.
let s:arm = 2
let s:continued = 4
" The last column under which other elements may stand.
let s:hang = 60

" Whether what is at a place belongs to a comment or string.
function s:Apart(lnum, col) abort
  return synIDattr(synID(a:lnum, a:col, 1), 'name') =~# 'Comment\|String\|Escape\|Bytes\|Todo'
endfunction

" Where the innermost bracket is that is open at the cursor; [0, 0] for none.
function s:Open() abort
  return searchpairpos('[[{(]', '', '[]})]', 'bnW', 's:Apart(line("."), col("."))')
endfunction

" The column of the first element behind an opening bracket, or -1 if its line
" ends there.
function s:Hang(lnum, col) abort
  let text = getline(a:lnum)
  let first = match(text, '\S', a:col + (text[a:col] ==# '|'))
  if first < 0 || text[first :] =~# '^\%(//\|/\*\)'
    return -1
  endif
  return virtcol([a:lnum, first + 1]) - 1
endfunction

" The indentation of the item that an opening bracket is in.
function s:Base(lnum, col) abort
  call cursor(a:lnum, a:col)
  let [lnum, col] = s:Open()
  if lnum == a:lnum && getline(lnum)[col - 1] !=# '{'
    if getline(lnum)[col - 1 :] =~# '^(\s*extends\>'
      return s:Base(lnum, col)
    elseif s:Hang(lnum, col) >= 0
      return s:Hang(lnum, col)
    endif
  endif
  " The line may go on with what the ones above began to extend.
  let first = a:lnum
  while getline(prevnonblank(first - 1)) =~# ',\s*$' && (lnum == 0 || getline(lnum)[col - 1] ==# '{')
    let first = prevnonblank(first - 1)
  endwhile
  return indent(first)
endfunction

" The indentation of items behind an opening bracket.
function s:Inside(lnum, col) abort
  let base = s:Base(a:lnum, a:col)
  let hang = getline(a:lnum)[a:col - 1] ==# '{' ? -1 : s:Hang(a:lnum, a:col)
  if hang > s:hang
    return base + s:continued
  endif
  return hang >= 0 ? hang : base + shiftwidth()
endfunction

" The last line above that does not begin with a comment.
function s:Above(lnum) abort
  let above = prevnonblank(a:lnum - 1)
  while above > 0 && synIDattr(synID(above, match(getline(above), '\S') + 1, 1), 'name') =~# 'Comment\|Todo'
    let above = prevnonblank(above - 1)
  endwhile
  return above
endfunction

" A line without the comment at its end. Two slashes within a string are none.
function s:Code(lnum) abort
  let text = getline(a:lnum)
  let at = match(text, '//')
  while at >= 0 && synIDattr(synID(a:lnum, at + 1, 1), 'name') !~# 'Comment\|Todo'
    let at = match(text, '//', at + 2)
  endwhile
  return substitute(at < 0 ? text : strpart(text, 0, at), '\s*$', '', '')
endfunction

function AloftIndent() abort
  let text = getline(v:lnum)
  let above = s:Above(v:lnum)
  call cursor(v:lnum, 1)
  let [lnum, col] = s:Open()
  if lnum > 0 && text =~# '^\s*\%(|\]\|[]})]\)'
    return s:Base(lnum, col)
  endif
  let inside = lnum > 0 ? s:Inside(lnum, col) : 0
  if above <= lnum
    return inside " the first behind the bracket
  endif
  let word = matchstr(text, '^\s*\zs\%(IF\|THEN\|ELSE\|FI\|ENDSWITCH\)\>')
  let first = matchstr(getline(above), '^\s*\zs\%(IF\|THEN\|ELSE\)\>')
  if word ==# 'FI' || word ==# 'ENDSWITCH'
    return inside
  elseif word ==# 'THEN'
    return (first ==# 'IF' ? indent(above) : inside) + s:arm
  elseif word ==# 'ELSE'
    return first ==# 'THEN' ? indent(above) : inside + s:arm
  elseif word ==# 'IF' && first !=# ''
    return indent(above) - (first ==# 'IF' ? 0 : s:arm)
  elseif word ==# 'IF'
    return inside + s:arm
  endif
  " Where a line ends, only those of bodies end their items.
  let code = s:Code(above)
  if (lnum == 0 || getline(lnum)[col - 1] ==# '{') && code !~# '[;{}]\s*$' && code !~# '^\s*#' && text !~# '^\s*\%(//\|/\*\)'
    return inside + s:continued
  endif
  return inside
endfunction
