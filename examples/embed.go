// Package examples holds the descriptions that show what aloft does. The
// program carries them: the catalogue copies them for who wants to begin with
// one. It holds text only.
package examples

import "embed"

// FS holds the examples, and the files beside them that they need.
//
//go:embed *.sf database guestbook tomcat toolbox wiki
var FS embed.FS
