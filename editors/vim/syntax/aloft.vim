" Highlighting of aloft's descriptions (the SmartFrog language).
if exists('b:current_syntax')
  finish
endif

syntax case match
syntax iskeyword @,48-57,_,$,.,43,45,@-@,#,~,%,94,38,192-255

" A word begins with a letter, $ or _; the lowest items here win over those
" above them.
syntax match aloftOperator /<>\|++\|->\|==\|!=\|>=\|<=\|&&\|||\]\@!\|[-+*\/%<>!]/
syntax match aloftVector /\[|\||\]/
syntax match aloftWord /[$_A-Za-z\u00a2-\u00a5\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u00ff][-$.+@#~%^&0-9_A-Za-z\u00a2-\u00a5\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u00ff]*/
syntax match aloftName /\%(^\|[{;]\)\@1<=\s*\zs[$_A-Za-z][-$.+@#~%^&0-9_A-Za-z]*\ze\%(\s\|;\|$\)/
syntax match aloftOperator /x|/
syntax match aloftNumber /-\=\%(\d\+[lL]\|\%(\d\+\.\=\d*\|\.\d\+\)\%([eE][-+]\=\d\+\)\=[fFdD]\=\)/
syntax match aloftFresh /--/

syntax keyword aloftExtends extends
syntax keyword aloftModifier DATA LAZY OPTIONAL VAR
syntax keyword aloftConditional APPLY ASSERT ELSE ENDSWITCH FI IF SWITCH THEN
syntax keyword aloftPart ATTRIB CONSTANT ENVPROPERTY HERE HOST IENVPROPERTY IPROPERTY PARENT PROCESS PROPERTY ROOT THIS
syntax keyword aloftConstant NULL TBD false true
syntax match aloftDirective /#\%(include?\|include\|codebase\)/

syntax match aloftEscape contained /\\\%([ntbrf\\'"]\|[0-3]\o\{2}\|u\+\x\{4}\)/
syntax match aloftMultiEscape contained /\\\%([ntbrf\\'#]\|[0-3]\o\{2}\|u\+\x\{4}\)/
syntax region aloftString start=/"/ skip=/\\./ end=/"\|$/ contains=aloftEscape
syntax region aloftMultiString start=/##/ skip=/\\./ end=/#/ contains=aloftMultiEscape
syntax region aloftBytes start=/#\%(HEX\|DEC\|OCT\|BIN\|B64\)#/ end=/#/

syntax keyword aloftTodo contained TODO FIXME XXX
syntax match aloftComment +//.*$+ contains=aloftTodo,@Spell
syntax region aloftComment start=+/\*+ end=+\*/+ contains=aloftTodo,@Spell
syntax match aloftComment +/\*\*/+

syntax sync fromstart

highlight default link aloftBytes Number
highlight default link aloftComment Comment
highlight default link aloftConditional Conditional
highlight default link aloftConstant Constant
highlight default link aloftDirective Include
highlight default link aloftEscape SpecialChar
highlight default link aloftExtends StorageClass
highlight default link aloftFresh Special
highlight default link aloftModifier StorageClass
highlight default link aloftMultiEscape SpecialChar
highlight default link aloftMultiString String
highlight default link aloftName Identifier
highlight default link aloftNumber Number
highlight default link aloftOperator Operator
highlight default link aloftPart Special
highlight default link aloftString String
highlight default link aloftTodo Todo
highlight default link aloftVector Delimiter

let b:current_syntax = 'aloft'
