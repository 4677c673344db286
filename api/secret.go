package api

import "time"

// Secret is what may be told of a secret: all but its content.
type Secret struct {
	Name    string    `json:"name"`
	Version int64     `json:"version" doc:"raised with every other content"`
	Changed time.Time `json:"changed"`
	By      string    `json:"by" doc:"who set it; 'aloft' where its content was made up"`
	Systems []string  `json:"systems" doc:"those that refer to it, by name"`
}

// SecretContent is what a secret is set to.
type SecretContent struct {
	Content []byte `json:"content" doc:"base64, at most 64 KiB"`
}
