package component

import "errors"

// Failure is an error that carries what a person needs to act on it beyond its
// text. Managers return it; a daemon copies Output and Remedy to the record of
// the failed operation.
type Failure struct {
	Err    error
	Output []string // the last lines of what the component printed, at most ten
	Remedy string   // what to do about it, or ""
}

func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns Err.
func (f *Failure) Unwrap() error { return f.Err }

// Detail returns the output and the remedy that the first Failure in err's
// chain carries.
func Detail(err error) (output []string, remedy string) {
	var f *Failure
	if errors.As(err, &f) {
		return f.Output, f.Remedy
	}
	return nil, ""
}
