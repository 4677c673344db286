package api

import "time"

// The roles of a member of a cluster.
const (
	RoleManage = "manage" // holds the store and serves the Service API
	RoleHost   = "host"   // makes machines out of its own host
)

// The states of a member, as the manager that answers sees them.
const (
	MemberReady   = "ready"   // in reach; a manager: its store votes
	MemberJoining = "joining" // a manager whose store does not vote yet
	MemberSilent  = "silent"  // not in reach of the manager that answers
)

// Member is a daemon of the cluster.
type Member struct {
	ID      string   `json:"id"` // UUID
	Name    string   `json:"name"`
	Roles   []string `json:"roles" enum:"manage,host"`
	Address string   `json:"address"` // host:port of its daemon; "" of one that is alone and listens nowhere
	State   string   `json:"state" enum:"ready,joining,silent"`
	PID     int      `json:"pid,omitempty"`
	Version string   `json:"version,omitempty"`
	Self    bool     `json:"self,omitempty" doc:"it is the one that answers"`
	Store   string   `json:"store,omitempty" doc:"of a manager: leader, voter or learner" enum:",leader,voter,learner"`
}

// Cluster is the members and what there is to say about them.
type Cluster struct {
	ID       string   `json:"id"`
	Epoch    int64    `json:"epoch"`
	Quorum   bool     `json:"quorum" doc:"changes can be accepted: a majority of the managers is in reach"`
	Members  []Member `json:"members"`
	Warnings []string `json:"warnings,omitempty"`
}

// Issuer is what the certificates of services are verified with.
type Issuer struct {
	Certificate string    `json:"certificate" doc:"PEM"`
	Expires     time.Time `json:"expires"`
	Digest      string    `json:"digest" doc:"SHA-256 of the certificate, as other programs show it: 64 hexadecimal digits"`
}

// TokenRequest asks for a token with which one daemon may join.
type TokenRequest struct {
	Role string `json:"role" enum:"manage,host" doc:"what the daemon that joins with it may be; one that manages may be a host too"`
	TTL  int64  `json:"ttl" minimum:"1" doc:"seconds that it can be used within"`
}

// JoinToken lets one daemon join, once.
type JoinToken struct {
	Token   string    `json:"token"`
	Role    string    `json:"role"`
	Expires time.Time `json:"expires"`
	Address string    `json:"address" doc:"of the manager that made it, to join at"`
}

// MemberChange is what became of a member that was promoted, demoted or
// removed.
type MemberChange struct {
	Member   Member   `json:"member"`
	Warnings []string `json:"warnings,omitempty"`
}
