package diag

import (
	"encoding/json"
	"io"

	"aloft/value"
)

type place struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

type jsonRelated struct {
	place
	Message string `json:"message"`
}

// jsonDiagnostic has the members in the order the language reference lists.
type jsonDiagnostic struct {
	Severity string `json:"severity"`
	Code     Code   `json:"code"`
	Phase    string `json:"phase"`
	Class    string `json:"class"`
	Cause    string `json:"cause"`
	place
	IncludedFrom []place       `json:"includedFrom"`
	Path         string        `json:"path"`
	Attribute    string        `json:"attribute"`
	Message      string        `json:"message"`
	Expected     string        `json:"expected"`
	Found        string        `json:"found"`
	Hints        []string      `json:"hints"`
	Related      []jsonRelated `json:"related"`
}

// WriteJSON writes one JSON object a line for each diagnostic of l. Members
// without content are empty, never left out.
func WriteJSON(w io.Writer, l *List) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, d := range l.All() {
		j := jsonDiagnostic{
			Severity: d.Severity.String(), Code: d.Code, Phase: d.Phase, Class: d.Class, Cause: d.Cause,
			place: placeOf(d.Span.Pos), IncludedFrom: []place{}, Path: d.Path, Attribute: d.Attribute,
			Message: d.Message, Expected: d.Expected, Found: d.Found,
			Hints: append([]string{}, d.Hints...), Related: []jsonRelated{},
		}
		for _, at := range d.IncludedFrom {
			j.IncludedFrom = append(j.IncludedFrom, placeOf(at))
		}
		for _, r := range d.Related {
			j.Related = append(j.Related, jsonRelated{placeOf(r.Span.Pos), r.Message})
		}
		if err := enc.Encode(j); err != nil {
			return err
		}
	}
	return nil
}

func placeOf(p value.Pos) place { return place{p.File, p.Line, p.Col} }
