package syntax

import (
	"strconv"

	"aloft/value"
)

// kind is the kind of a token.
type kind uint8

const (
	tEOF kind = iota
	tWord
	tString // "…"
	tMulti  // ##…#
	tNumber
	tBytes

	tLBrace
	tRBrace
	tLBracket
	tRBracket
	tLParen
	tRParen
	tLVector // [|
	tRVector // |]
	tComma
	tColon
	tSemicolon

	tAppend // the operators, in the order of Op
	tConcat
	tPlus
	tTimes
	tAnd
	tOr
	tXor
	tImplies
	tEQ
	tNE
	tLT
	tLE
	tGT
	tGE
	tMinus
	tDivide
	tMod
	tNot

	tFresh // --
	tInclude
	tMaybeInclude
	tCodebase

	tLineComment // never seen by the parser
	tBlockComment

	tApply // the keywords
	tAssert
	tAttrib
	tConstant
	tData
	tElse
	tEndSwitch
	tEnvProperty
	tFi
	tHere
	tHost
	tIEnvProperty
	tIf
	tIProperty
	tLazy
	tNull
	tOptional
	tParent
	tProcess
	tProperty
	tRoot
	tSwitch
	tTBD
	tThen
	tThis
	tVar
	tExtends
	tFalse
	tTrue
	numKinds
)

// spelling holds the tokens that are always written the same.
var spelling = [numKinds]string{
	tLBrace: "{", tRBrace: "}", tLBracket: "[", tRBracket: "]", tLParen: "(", tRParen: ")",
	tLVector: "[|", tRVector: "|]", tComma: ",", tColon: ":", tSemicolon: ";",
	tAppend: "<>", tConcat: "++", tPlus: "+", tTimes: "*", tAnd: "&&", tOr: "||", tXor: "x|", tImplies: "->",
	tEQ: "==", tNE: "!=", tLT: "<", tLE: "<=", tGT: ">", tGE: ">=", tMinus: "-", tDivide: "/", tMod: "%", tNot: "!",
	tFresh: "--", tInclude: "#include", tMaybeInclude: "#include?", tCodebase: "#codebase",
	tApply: "APPLY", tAssert: "ASSERT", tAttrib: "ATTRIB", tConstant: "CONSTANT", tData: "DATA", tElse: "ELSE",
	tEndSwitch: "ENDSWITCH", tEnvProperty: "ENVPROPERTY", tFi: "FI", tHere: "HERE", tHost: "HOST",
	tIEnvProperty: "IENVPROPERTY", tIf: "IF", tIProperty: "IPROPERTY", tLazy: "LAZY", tNull: "NULL",
	tOptional: "OPTIONAL", tParent: "PARENT", tProcess: "PROCESS", tProperty: "PROPERTY", tRoot: "ROOT",
	tSwitch: "SWITCH", tTBD: "TBD", tThen: "THEN", tThis: "THIS", tVar: "VAR", tExtends: "extends",
	tFalse: "false", tTrue: "true",
}

var keywords = func() map[string]kind {
	m := map[string]kind{}
	for k := tApply; k < numKinds; k++ {
		m[spelling[k]] = k
	}
	return m
}()

func (k kind) keyword() bool { return k >= tApply }

// op returns the operator that k is the sign of.
func (k kind) op() Op {
	if k < tAppend || k > tNot {
		return NotOp
	}
	return OpAppend + Op(k-tAppend)
}

// part returns the kind of reference part that the keyword k begins.
func (k kind) part() (value.PartKind, bool) {
	switch k {
	case tAttrib:
		return value.PartAttrib, true
	case tHere:
		return value.PartHere, true
	case tParent:
		return value.PartParent, true
	case tRoot:
		return value.PartRoot, true
	case tThis:
		return value.PartThis, true
	case tProcess:
		return value.PartProcess, true
	case tHost:
		return value.PartHost, true
	case tProperty:
		return value.PartProperty, true
	case tIProperty:
		return value.PartIProperty, true
	case tEnvProperty:
		return value.PartEnvProperty, true
	case tIEnvProperty:
		return value.PartIEnvProperty, true
	case tConstant:
		return value.PartConstant, true
	default:
		return 0, false
	}
}

// place is a line and a column, of which there are too many for each to name
// its file.
type place struct{ line, col int32 }

// token is one token of the text.
type token struct {
	kind  kind
	text  string      // of a word, or the content of a string
	value value.Value // of a number or byte array
	start place
	end   place // behind the last character
	from  int   // start and end as offsets in the written text
	to    int
	first bool // nothing but blanks and comments before it on its line
	// tainted means that something illegal was skipped just before: a syntax
	// error at this token only follows from that.
	tainted bool
}

// String describes the token for people.
func (t token) String() string {
	switch t.kind {
	case tEOF:
		return "end of the file"
	case tWord:
		return "word " + abbreviated(t.text)
	case tString, tMulti:
		return "string " + strconv.Quote(abbreviated(t.text))
	case tNumber:
		return "number " + value.Source(t.value)
	case tBytes:
		return "byte array"
	}
	if t.kind.keyword() {
		return "keyword " + spelling[t.kind]
	}
	return spelling[t.kind]
}

// abbreviated shortens a text for a message.
func abbreviated(s string) string {
	const limit = 40
	n := 0
	for i := range s {
		if n++; n > limit {
			return s[:i] + "…"
		}
	}
	return s
}
