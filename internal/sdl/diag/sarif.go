package diag

import (
	"encoding/json"
	"io"
	"net/url"
	"path/filepath"
	"strings"
)

// The part of SARIF 2.1.0 that diagnostics need.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name  string      `json:"name"`
		Rules []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               Code         `json:"id"`
		ShortDescription sarifMessage `json:"shortDescription"`
	}
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID           Code            `json:"ruleId"`
		Level            string          `json:"level"`
		Message          sarifMessage    `json:"message"`
		Locations        []sarifLocation `json:"locations,omitempty"`
		RelatedLocations []sarifLocation `json:"relatedLocations,omitempty"`
		Properties       map[string]any  `json:"properties,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
		Message  *sarifMessage  `json:"message,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn"`
		EndLine     int `json:"endLine,omitempty"`
		EndColumn   int `json:"endColumn,omitempty"`
	}
	sarifLogical struct {
		FullyQualifiedName string `json:"fullyQualifiedName"`
	}
)

// WriteSARIF writes the diagnostics of l as one SARIF 2.1.0 log.
func WriteSARIF(w io.Writer, l *List) error {
	run := sarifRun{
		Tool:       sarifTool{sarifDriver{Name: "aloft"}},
		ColumnKind: "unicodeCodePoints",
		Results:    []sarifResult{},
	}
	used := map[Code]bool{}
	for _, d := range l.All() {
		used[d.Code] = true
		run.Results = append(run.Results, sarifOf(d))
	}
	run.Tool.Driver.Rules = []sarifRule{}
	for _, c := range Codes() {
		if used[c] {
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{c, sarifMessage{c.Info().Meaning}})
		}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(sarifLog{
		Schema:  "https://json.schemastore.org/sarif-2.1.0.json",
		Version: "2.1.0",
		Runs:    []sarifRun{run},
	})
}

func sarifOf(d Diagnostic) sarifResult {
	text := []string{d.Message}
	if d.Expected != "" {
		text = append(text, "expected "+d.Expected)
	}
	if d.Found != "" {
		text = append(text, "found "+d.Found)
	}
	for _, h := range d.Hints {
		text = append(text, "hint: "+h)
	}
	r := sarifResult{
		RuleID:     d.Code,
		Level:      d.Severity.String(),
		Message:    sarifMessage{strings.Join(text, "\n")},
		Properties: map[string]any{"phase": d.Phase},
	}
	if d.Span.Pos.File != "" {
		at := sarifPlace(d.Span, "")
		if name := strings.Trim(d.Path+":"+d.Attribute, ":"); name != "" {
			at.Logical = []sarifLogical{{name}}
		}
		r.Locations = []sarifLocation{at}
	}
	for _, p := range d.IncludedFrom {
		r.RelatedLocations = append(r.RelatedLocations, sarifPlace(At(p), "included from here"))
	}
	for _, rel := range d.Related {
		r.RelatedLocations = append(r.RelatedLocations, sarifPlace(rel.Span, rel.Message))
	}
	return r
}

func sarifPlace(s Span, message string) sarifLocation {
	at := sarifLocation{Physical: sarifPhysical{Artifact: sarifArtifact{fileURI(s.Pos.File)}}}
	if s.Pos.IsValid() {
		at.Physical.Region = &sarifRegion{s.Pos.Line, s.Pos.Col, int(s.EndLine), int(s.EndCol)}
	}
	if message != "" {
		at.Message = &sarifMessage{message}
	}
	return at
}

// fileURI writes a file name as a URI reference: relative as it is, absolute
// with the file scheme.
func fileURI(name string) string {
	u := url.URL{Path: filepath.ToSlash(name)}
	if filepath.IsAbs(name) {
		u.Scheme = "file"
	}
	return u.String()
}
