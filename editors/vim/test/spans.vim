" Prints what the syntax file takes each character of the files for, one letter
" per character; see vscode/test/spans.mjs for the letters.
"
"   nvim --clean --headless -u NONE --cmd 'set rtp^=editors/vim' -S spans.vim FILE...
let s:letters = {
      \ 'Comment': 'c', 'Todo': 'c', 'String': 's', 'MultiString': 's', 'Escape': 's', 'MultiEscape': 's',
      \ 'Number': 'n', 'Bytes': 'n', 'Directive': 'd', 'Extends': 'k', 'Modifier': 'k', 'Conditional': 'k',
      \ 'Part': 'k', 'Constant': 'k', 'Word': 'w', 'Name': 'w', 'Operator': 'o', 'Fresh': 'o', 'Vector': 'p',
      \ }
let s:result = {}
for s:file in argv()
  execute 'edit' fnameescape(s:file)
  set filetype=aloft
  syntax on
  let s:lines = []
  for s:lnum in range(1, line('$'))
    let s:text = getline(s:lnum)
    let s:line = ''
    let s:col = 0
    for s:char in split(s:text, '\zs')
      let s:name = synIDattr(synID(s:lnum, s:col + 1, 1), 'name')
      let s:line ..= get(s:letters, substitute(s:name, '^aloft', '', ''), ' ')
      let s:col += strlen(s:char)
    endfor
    call add(s:lines, s:line)
  endfor
  let s:result[s:file] = s:lines
endfor
call writefile([json_encode(s:result)], '/dev/stdout', 'b')
qall!
