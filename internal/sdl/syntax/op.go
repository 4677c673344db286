package syntax

import "aloft/value"

// Op says which piece of operator notation a component was written as.
type Op uint8

// The operators. NotOp marks a component written with extends.
const (
	NotOp     Op = iota
	OpAppend     // <>
	OpConcat     // ++
	OpSum        // +
	OpProduct    // *
	OpAnd        // &&
	OpOr         // ||
	OpXor        // x|
	OpImplies    // ->
	OpEQ         // ==
	OpNE         // !=
	OpLT         // <
	OpLE         // <=
	OpGT         // >
	OpGE         // >=
	OpMinus      // -
	OpDivide     // /
	OpMod        // %
	OpNot        // ! x
	OpIf         // IF c THEN a ELSE b FI
	OpSwitch     // SWITCH {…} IF c THEN a … ENDSWITCH
	OpVector     // [ a, b ]
	numOps
)

var ops = [numOps]struct{ sign, class string }{
	OpAppend:  {"<>", "Append"},
	OpConcat:  {"++", "Concatenate"},
	OpSum:     {"+", "Sum"},
	OpProduct: {"*", "Product"},
	OpAnd:     {"&&", "And"},
	OpOr:      {"||", "Or"},
	OpXor:     {"x|", "Xor"},
	OpImplies: {"->", "Implies"},
	OpEQ:      {"==", "EQ"},
	OpNE:      {"!=", "NE"},
	OpLT:      {"<", "LT"},
	OpLE:      {"<=", "LE"},
	OpGT:      {">", "GT"},
	OpGE:      {">=", "GE"},
	OpMinus:   {"-", "Minus"},
	OpDivide:  {"/", "Divide"},
	OpMod:     {"%", "Mod"},
	OpNot:     {"!", "Not"},
	OpIf:      {"IF", "IfThenElse"},
	OpSwitch:  {"SWITCH", "Switch"},
	OpVector:  {"[", "Vector"},
}

// String returns the sign or keyword that o is written with.
func (o Op) String() string { return ops[o].sign }

// Class returns the native class name of o's function, such as "Sum".
func (o Op) Class() string { return ops[o].class }

// Many reports whether o takes two or more operands, under generated names.
func (o Op) Many() bool { return o >= OpAppend && o <= OpImplies }

// Binary reports whether o takes exactly two operands, left and right.
func (o Op) Binary() bool { return o >= OpEQ && o <= OpMod }

// What an operator component begins with.
const (
	PhaseFunction     = "phase.function"
	FunctionClass     = "sfFunctionClass"
	ConstructFunction = "org.smartfrog.sfcore.languages.sf.ConstructFunction"
	FunctionPackage   = "org.smartfrog.sfcore.languages.sf.functions."
)

// opHeads holds, for each operator, the two attributes its component begins
// with. All components of an operator share them; having been written nowhere,
// they have no position.
var opHeads = func() (heads [numOps][2]*Attribute) {
	phase := &Attribute{Name: PhaseFunction, Value: &Literal{Value: value.String(ConstructFunction)}}
	for o := range numOps {
		class := &Literal{Value: value.String(FunctionPackage + o.Class())}
		heads[o] = [2]*Attribute{phase, {Name: FunctionClass, Value: class}}
	}
	return heads
}()
