package api

import "time"

// UserRequest asks for a certificate for a user. A user that is there already
// gets another one, with the role asked for.
type UserRequest struct {
	Name string `json:"name" pattern:"^[a-z0-9][a-z0-9._-]{0,62}$"`
	Role Role   `json:"role" enum:"viewer,operator"`
	// Request is a certificate request (PKCS#10, DER) for the user's own key,
	// which stays with the user.
	Request []byte `json:"request" maxLength:"16384"`
}

// RenewRequest asks for a new certificate for the caller.
type RenewRequest struct {
	Request []byte `json:"request" maxLength:"16384"` // as in a UserRequest
}

// Credential is what a user needs, besides the key, to call a cluster's
// managers.
type Credential struct {
	Name         string    `json:"name"`
	Role         Role      `json:"role"`
	Cluster      string    `json:"cluster"`  // id
	Managers     []string  `json:"managers"` // host:port
	Expires      time.Time `json:"expires"`
	Certificates string    `json:"certificates" doc:"PEM: the user's, its chain, and the roots to trust, which sign themselves"`
}

// User is somebody who may call.
type User struct {
	Name    string    `json:"name"`
	Role    Role      `json:"role"`
	By      string    `json:"by"` // who gave the role
	Since   time.Time `json:"since"`
	Expires time.Time `json:"expires"` // of the newest certificate
}
