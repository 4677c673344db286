package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
	"aloft/internal/blob"
	"aloft/internal/identity"
	"aloft/internal/member"
	"aloft/internal/peer"
	"aloft/internal/store"
)

// Times of a join.
const (
	askTime  = 20 * time.Second // for an answer to a request to be let in
	voteTime = 10 * time.Minute // for all content to come, and the store to catch up, before it votes
	askAgain = time.Second      // between two tries
)

// joiner is a daemon that becomes a member.
type joiner struct {
	dir string // state folder
	id  string // UUID
	is  settings
	log *slog.Logger
}

// seat returns what the daemon wants to be.
func (j joiner) seat(build string) (*peerpb.Seat, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	seat := &peerpb.Seat{
		Name: j.is.Name, Roles: j.is.Roles, Address: j.is.Listen, Hostname: hostname, Build: build, Pid: int64(os.Getpid()),
	}
	if j.is.is(member.Manage) {
		seat.Store = storePeer(j.is.Listen)
	}
	return seat, nil
}

// role is what the daemon needs a token for.
func (j joiner) role() identity.MemberRole {
	if j.is.is(member.Manage) {
		return identity.RoleManage
	}
	return identity.RoleHost
}

// ask has a manager let this daemon in. It returns the name it has as a member,
// and what makes its folder that of one. It may be repeated.
func (j joiner) ask(ctx context.Context, folder, build string) (name string, install func() error, err error) {
	who, err := identity.OpenJoining(folder, j.id, j.role(), j.is.Join.Token)
	if err != nil {
		return "", nil, err
	}
	request, err := who.Request()
	if err != nil {
		return "", nil, err
	}
	seat, err := j.seat(build)
	if err != nil {
		return "", nil, err
	}
	var reply *peerpb.JoinReply
	err = calling(ctx, peer.Config{Identity: who, Log: j.log, Build: build}, []string{j.is.Join.Address}, askTime, func(ctx context.Context, manager peer.Session) error {
		var err error
		reply, err = peerpb.NewClusterClient(manager).Join(ctx, &peerpb.JoinRequest{Token: j.is.Join.Token, Id: j.id, Seat: seat, Request: request})
		return err
	})
	if err != nil {
		return "", nil, err
	}
	return reply.Name, func() error { return who.Install(reply.Reply) }, nil
}

// calling makes a node, and calls the first manager of those at addresses that
// answers, each for a time. A refusal ends it.
func calling(ctx context.Context, cfg peer.Config, addresses []string, limit time.Duration, call func(context.Context, peer.Session) error) error {
	node := peer.NewNode(cfg)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = node.Run(ctx)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	var failed error
	for _, address := range addresses {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			session, err := node.Dial(ctx, address)
			if err != nil {
				return err
			}
			defer session.Close()
			return call(ctx, session)
		}()
		if err == nil || status.Code(err) == codes.PermissionDenied {
			return err
		}
		failed = errors.Join(failed, fmt.Errorf("%s: %w", address, err))
	}
	return failed
}

// attach has this manager's store made a learner, or returns nil where it votes
// already. It tries every manager it knows until one answers.
func (j joiner) attach(ctx context.Context, build string, told func(reason string)) (*store.Join, error) {
	who, err := identity.OpenManager(identity.ManagerConfig{Dir: filepath.Join(j.dir, "identity"), ID: j.id, Log: j.log})
	if err != nil {
		return nil, err
	}
	var reply *peerpb.AttachReply
	err = j.insist(ctx, who, build, askTime, told, func(ctx context.Context, manager peer.Session) (err error) {
		reply, err = peerpb.NewClusterClient(manager).Attach(ctx, &peerpb.AttachRequest{Store: storePeer(j.is.Listen)})
		return err
	})
	if err != nil || reply.Votes {
		return nil, err
	}
	return &store.Join{Cluster: reply.Cluster, Member: store.MemberID(reply.Member), Members: reply.Members}, nil
}

// vote waits until this manager's store has its vote. Before, it takes what
// content the others hold: content is on a majority of those who vote, and one
// more who has none would make that less than one.
func (j joiner) vote(ctx context.Context, build string, id store.MemberID, told func(reason string)) error {
	who, err := identity.OpenManager(identity.ManagerConfig{Dir: filepath.Join(j.dir, "identity"), ID: j.id, Log: j.log})
	if err != nil {
		return err
	}
	blobs, err := blob.Open(blob.Config{Dir: filepath.Join(j.dir, "blobs"), Blob: managerBlob, Total: managerBlobs})
	if err != nil {
		return fmt.Errorf("open the blobs: %w", err)
	}
	return j.insist(ctx, who, build, voteTime, told, func(ctx context.Context, manager peer.Session) error {
		if err := takeOver(ctx, manager, blobs); err != nil {
			return err
		}
		_, err := peerpb.NewClusterClient(manager).Vote(ctx, &peerpb.VoteRequest{Member: string(id)})
		return err
	})
}

// insist calls managers until one answers, or refuses for good.
func (j joiner) insist(ctx context.Context, who *identity.Manager, build string, limit time.Duration, told func(reason string), call func(context.Context, peer.Session) error) error {
	for {
		addresses := []string{j.is.Join.Address}
		for _, m := range who.Roster().Managers {
			addresses = append(addresses, m.Addresses...)
		}
		err := calling(ctx, peer.Config{Identity: who, Log: j.log, Build: build}, addresses, limit, call)
		if err == nil || ctx.Err() != nil || status.Code(err) == codes.PermissionDenied {
			return err
		}
		told(err.Error())
		j.log.Warn("joining the cluster", "error", err)
		pause(ctx, askAgain)
	}
}
