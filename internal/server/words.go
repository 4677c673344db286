package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"aloft/api"

	"github.com/danielgtaylor/huma/v2"
)

// ownProblems makes huma write what it finds itself (a malformed body, say) in
// our form and words. The library has one variable for the whole process.
var ownProblems = sync.OnceFunc(func() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		if status >= 500 {
			return &problem{Problem: *api.ProblemOf(&api.Error{Kind: api.KindInternal, Message: msg})}
		}
		e := &api.Error{Kind: api.KindInvalid, Message: said(msg), Remedy: "GET /openapi.json describes what every operation takes"}
		for _, err := range errs {
			e.Diagnostics = append(e.Diagnostics, wrong(err))
		}
		if n := len(e.Diagnostics); n > 0 {
			first := e.Diagnostics[0]
			e.Message = "the request is not as this operation wants it: " + strings.TrimPrefix(first.Attribute+": "+first.Message, ": ")
			if n > 1 {
				e.Message += fmt.Sprintf(" (and %d more)", n-1)
			}
		}
		p := &problem{Problem: *api.ProblemOf(e)}
		if status != 0 {
			p.Status = status
			p.Title = http.StatusText(status)
		}
		return p
	}
})

// said is what huma says of a whole request.
func said(msg string) string {
	switch {
	case msg == "request body is required":
		return "this operation wants a body, and none came"
	case strings.HasPrefix(msg, "unknown content type"):
		return "the body is of a type that is not known here: send application/json"
	}
	return msg
}

// maxFound bounds what is told back of a wrong value, in bytes.
const maxFound = 100

// wrong says what is wrong with one value of a request, and where.
func wrong(err error) api.Diagnostic {
	d := api.Diagnostic{Severity: "error", Message: err.Error()}
	detailer, ok := err.(huma.ErrorDetailer)
	if !ok {
		return d
	}
	detail := detailer.ErrorDetail()
	d.Message, d.Attribute = detail.Message, detail.Location
	if name, is := strings.CutSuffix(d.Message, " to be present"); is {
		if name, is = strings.CutPrefix(name, "expected required property "); is {
			d.Message, d.Attribute = "it is missing", detail.Location+"."+name
			return d
		}
	}
	switch wants, is := strings.CutPrefix(d.Message, "expected "); {
	case d.Message == "unexpected property":
		d.Message = "nothing of this name belongs here"
	case d.Message == "invalid integer":
		d.Expected = "a whole number"
	case d.Message == "invalid boolean":
		d.Expected = "true or false"
	case is && strings.HasPrefix(wants, "value to be one of "):
		d.Expected = "one of " + strings.Trim(strings.TrimPrefix(wants, "value to be one of "), `"`)
	case is && strings.HasPrefix(wants, "string to "):
		d.Expected = "a text, " + strings.Replace(strings.TrimPrefix(wants, "string "), "to match pattern", "of the form", 1)
	case is:
		d.Expected = named(wants)
	case detail.Location == "body":
		d.Message = "it is no JSON: " + d.Message
	}
	if d.Expected == "" {
		return d
	}
	d.Message = "want " + d.Expected
	// Bodies may hold what is to be told to nobody; queries are in every log.
	if strings.HasPrefix(d.Attribute, "query.") && detail.Value != nil {
		if text, err := json.Marshal(detail.Value); err == nil && len(text) <= maxFound {
			d.Found = string(text)
			d.Message += ", found " + d.Found
		}
	}
	return d
}

// named gives the types of JSON their words.
func named(wants string) string {
	for from, to := range map[string]string{
		"string": "a text", "object": "an object", "array": "a list", "boolean": "true or false", "integer": "a whole number", "number": "a number",
	} {
		if wants == from {
			return to
		}
	}
	for from, to := range map[string]string{"number >= ": "at least ", "number <= ": "at most ", "number > ": "more than ", "number < ": "less than "} {
		if n, is := strings.CutPrefix(wants, from); is {
			return to + n
		}
	}
	return wants
}
