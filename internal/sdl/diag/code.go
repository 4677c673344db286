package diag

// Code names a kind of diagnostic, such as "SDL201".
type Code string

// The codes of the language reference (sdl.md section 17).
const (
	BadText            Code = "SDL101"
	NumberRange        Code = "SDL102"
	BadBytes           Code = "SDL103"
	PhaseNoEffect      Code = "SDL106"
	AttributeNoEffect  Code = "SDL107"
	Unexpected         Code = "SDL201"
	MixedOperators     Code = "SDL202"
	BadName            Code = "SDL203"
	ReferenceInVector  Code = "SDL204"
	TooDeep            Code = "SDL205"
	IncludeNotFound    Code = "SDL301"
	IncludeCycle       Code = "SDL302"
	IncludeURL         Code = "SDL303"
	IncludeOutside     Code = "SDL304"
	PrototypeNotFound  Code = "SDL401"
	PrototypeKind      Code = "SDL402"
	ExtendsCycle       Code = "SDL403"
	FinalOverridden    Code = "SDL404"
	NothingToOverride  Code = "SDL405"
	PlaceNotFound      Code = "SDL501"
	PlaceNotComponent  Code = "SDL502"
	PlaceFinal         Code = "SDL503"
	NoFunctionClass    Code = "SDL601"
	UnknownFunction    Code = "SDL602"
	OperandType        Code = "SDL603"
	ParameterMissing   Code = "SDL604"
	Constraint         Code = "SDL605"
	DivisionByZero     Code = "SDL606"
	OperandIgnored     Code = "SDL609"
	ConfigMissing      Code = "SDL701"
	ConfigNotComponent Code = "SDL702"
	ReferenceNotFound  Code = "SDL801"
	PathThroughValue   Code = "SDL802"
	ReferenceCycle     Code = "SDL803"
	StillTBD           Code = "SDL804"
	NeedsDaemon        Code = "SDL805"
	PropertyUnknown    Code = "SDL806"
	LazyUnresolvable   Code = "SDL811"
	OptionalLazy       Code = "SDL812"
	OperatorParameter  Code = "SDL813"
	AssertionFailed    Code = "SDL901"
	SchemaFailed       Code = "SDL902"
	AttributeUnknown   Code = "SDL903"
	NotInResult        Code = "SDL911"
)

// The codes of planning: what is wrong with a description that the language
// accepts, given the components and machines there are.
const (
	UnknownClass     Code = "PLN101"
	AttributeMissing Code = "PLN102"
	AttributeKind    Code = "PLN103"
	AttributeWrong   Code = "PLN104"
	NoHost           Code = "PLN105"
	NeedsIsolation   Code = "PLN106"
	DeployCycle      Code = "PLN107"
	NoOffer          Code = "PLN108"
	CopyNumber       Code = "PLN109"
	CopyName         Code = "PLN110"
)

// NotCarriedOver is something in a file of another system that the description
// made from it does not do.
const NotCarriedOver Code = "CNV101"

// Info is what the table of codes says of one code.
type Info struct {
	Severity     Severity
	Phase        string
	Class, Cause string // the original's exception names, or ""
	Meaning      string // a few words, the same for every diagnostic of the code
}

const (
	parseClass   = "SmartFrogParseException"
	typeClass    = "SmartFrogTypeResolutionException"
	placeClass   = "SmartFrogPlaceResolutionException"
	funcClass    = "SmartFrogFunctionResolutionException"
	linkClass    = "SmartFrogLinkResolutionException"
	resolveClass = "SmartFrogResolutionException"
	assertClass  = "SmartFrogAssertionResolutionException"
	compileClass = "SmartFrogCompilationException"
)

// codes lists every code, in order.
var codes = []struct {
	Code
	Info
}{
	{BadText, Info{Error, "raw", parseClass, "", "illegal character or escape, unterminated string or comment"}},
	{NumberRange, Info{Error, "raw", parseClass, "", "number out of range"}},
	{BadBytes, Info{Error, "raw", parseClass, "", "malformed byte array"}},
	{PhaseNoEffect, Info{Warning, "raw", "", "", "phase name without effect"}},
	{AttributeNoEffect, Info{Warning, "raw", "", "", "attribute without effect"}},
	{Unexpected, Info{Error, "raw", parseClass, "", "unexpected token"}},
	{MixedOperators, Info{Error, "raw", parseClass, "", "operators mixed, or too many operands"}},
	{BadName, Info{Error, "raw", parseClass, "", "keyword as a name, or name without value"}},
	{ReferenceInVector, Info{Error, "raw", parseClass, "", "reference inside [| |]"}},
	{TooDeep, Info{Error, "raw", parseClass, "", "nested too deeply"}},
	{IncludeNotFound, Info{Error, "raw", parseClass, "", "include not found"}},
	{IncludeCycle, Info{Error, "raw", "", "", "cyclic include"}},
	{IncludeURL, Info{Error, "raw", "", "", "URL include refused"}},
	{IncludeOutside, Info{Error, "raw", "", "", "include outside the allowed folders"}},
	{PrototypeNotFound, Info{Error, "type", typeClass, "", "prototype not found"}},
	{PrototypeKind, Info{Error, "type", typeClass, "", "prototype not a component, or LAZY"}},
	{ExtendsCycle, Info{Error, "type", typeClass, "", "cyclic extends"}},
	{FinalOverridden, Info{Error, "type", typeClass, "", "sfFinal overridden"}},
	{NothingToOverride, Info{Error, "type", typeClass, "", "sfOverride without anything to override"}},
	{PlaceNotFound, Info{Error, "place", placeClass, "", "target of a path name not found"}},
	{PlaceNotComponent, Info{Error, "place", placeClass, "", "target of a path name not a component"}},
	{PlaceFinal, Info{Error, "place", placeClass, "", "target of a path name final"}},
	{NoFunctionClass, Info{Error, "function", funcClass, "", "no sfFunctionClass"}},
	{UnknownFunction, Info{Error, "link", linkClass, funcClass, "unknown function class"}},
	{OperandType, Info{Error, "link", linkClass, funcClass, "operand of the wrong type"}},
	{ParameterMissing, Info{Error, "link", linkClass, funcClass, "parameter missing"}},
	{Constraint, Info{Error, "link", linkClass, funcClass, "constraint extension not supported"}},
	{DivisionByZero, Info{Error, "link", linkClass, funcClass, "division by zero"}},
	{OperandIgnored, Info{Warning, "link", "", "", "operand ignored"}},
	{ConfigMissing, Info{Error, "sfConfig", resolveClass, "", "sfConfig missing"}},
	{ConfigNotComponent, Info{Error, "sfConfig", resolveClass, "", "sfConfig not a component"}},
	{ReferenceNotFound, Info{Error, "link", linkClass, resolveClass, "reference not found"}},
	{PathThroughValue, Info{Error, "link", linkClass, resolveClass, "path through something that is not a component"}},
	{ReferenceCycle, Info{Error, "link", linkClass, resolveClass, "cyclic reference"}},
	{StillTBD, Info{Error, "link", linkClass, resolveClass, "still to be defined"}},
	{NeedsDaemon, Info{Error, "link", linkClass, resolveClass, "needs a running daemon"}},
	{PropertyUnknown, Info{Error, "link", linkClass, resolveClass, "PROPERTY, ENVPROPERTY or CONSTANT unknown"}},
	{LazyUnresolvable, Info{Warning, "link", "", "", "LAZY reference that cannot resolve"}},
	{OptionalLazy, Info{Warning, "link", "", "", "OPTIONAL took its default because the target is LAZY"}},
	{OperatorParameter, Info{Warning, "link", "", "", "operand word found the operator's own parameter"}},
	{AssertionFailed, Info{Error, "link", linkClass, assertClass, "assertion false or not boolean"}},
	{SchemaFailed, Info{Error, "link", linkClass, assertClass, "schema: missing, wrong type or wrong binding"}},
	{AttributeUnknown, Info{Warning, "link", "", "", "attribute that no schema knows, much like one that it does"}},
	{NotInResult, Info{Error, "conversion", compileClass, "", "value that cannot be in a result"}},
	{UnknownClass, Info{Error, "plan", "", "", "no manager of that class"}},
	{AttributeMissing, Info{Error, "plan", "", "", "mandatory attribute missing"}},
	{AttributeKind, Info{Error, "plan", "", "", "attribute of the wrong type"}},
	{AttributeWrong, Info{Error, "plan", "", "", "attribute that the component cannot use"}},
	{NoHost, Info{Error, "plan", "", "", "no machine to process the component"}},
	{NeedsIsolation, Info{Error, "plan", "", "", "the machine has no root file system of its own"}},
	{DeployCycle, Info{Error, "plan", "", "", "components wait for each other's deploy"}},
	{NoOffer, Info{Error, "plan", "", "", "nobody offers such a machine"}},
	{CopyNumber, Info{Error, "plan", "", "", "no such number of copies"}},
	{CopyName, Info{Error, "plan", "", "", "name of a copy is taken"}},
	{NotCarriedOver, Info{Warning, "compose", "", "", "not carried over"}},
}

var infos = func() map[Code]Info {
	m := make(map[Code]Info, len(codes))
	for _, c := range codes {
		m[c.Code] = c.Info
	}
	return m
}()

// Info returns what the table says of c; of a code that is not in the table,
// that it is an error.
func (c Code) Info() Info { return infos[c] }

// Codes returns every code, in order.
func Codes() []Code {
	list := make([]Code, len(codes))
	for i, c := range codes {
		list[i] = c.Code
	}
	return list
}
