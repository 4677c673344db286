package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"aloft/component"
	"aloft/internal/host"
)

// admin is the administration socket of a running HAProxy.
type admin string

// Bounds of one answer.
const (
	answerTime = 5 * time.Second
	maxAnswer  = 8 << 20
)

// ask sends a command and returns the answer.
func (a admin) ask(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", string(a))
	if err != nil {
		return "", fmt.Errorf("administration socket of haproxy: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return "", fmt.Errorf("haproxy, %s: %w", command, err)
	}
	b, err := io.ReadAll(io.LimitReader(conn, maxAnswer))
	if err != nil {
		return "", fmt.Errorf("haproxy, %s: %w", command, errors.Join(ctx.Err(), err))
	}
	return string(b), nil
}

// say sends a command that is answered only if it is refused, or with a remark
// on what was changed.
func (a admin) say(ctx context.Context, command string) error {
	answer, err := a.ask(ctx, command)
	answer = strings.TrimSpace(answer)
	if err != nil || answer == "" || strings.Contains(answer, "changed") || strings.Contains(answer, "no need to change") {
		return err
	}
	return fmt.Errorf("haproxy refuses %q: %s", command, answer)
}

// about is what a running HAProxy says of itself.
type about struct {
	pid    int    // of the worker that answers
	digest string // of its frame
}

func (a admin) about(ctx context.Context) (about, error) {
	answer, err := a.ask(ctx, "show info")
	if err != nil {
		return about{}, err
	}
	return parseAbout(answer)
}

func parseAbout(answer string) (about, error) {
	var x about
	for line := range strings.Lines(answer) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch text = strings.TrimSpace(text); strings.ToLower(name) {
		case "pid":
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				return x, fmt.Errorf("haproxy says its pid is %q", text)
			}
			x.pid = n
		case "description":
			x.digest = text
		}
	}
	if x.pid == 0 {
		return x, fmt.Errorf("haproxy does not say its pid: %.100q", answer)
	}
	return x, nil
}

// state is that of one slot.
type state struct {
	address netip.AddrPort // invalid while it is out of use, or being drained
	up      bool
}

// Bits of srv_admin_state: kept out of use by command, by another server, and
// by resolution; and drained by command.
const outOfUse = 0x01 | 0x02 | 0x20 | 0x08 | 0x10

func (a admin) slots(ctx context.Context) ([]state, error) {
	answer, err := a.ask(ctx, "show servers state "+backend)
	if err != nil {
		return nil, err
	}
	return parseSlots(answer)
}

// parseSlots reads the table of "show servers state": a version, the names of
// the columns, and a line for each slot, in order.
func parseSlots(answer string) ([]state, error) {
	bad := func() ([]state, error) {
		return nil, fmt.Errorf("haproxy tells the state of its servers in a way that is not known: %.200q", answer)
	}
	lines := strings.Split(strings.TrimSpace(answer), "\n")
	if len(lines) < 2 || strings.TrimSpace(lines[0]) != "1" {
		return bad()
	}
	column := map[string]int{}
	for i, name := range strings.Fields(strings.TrimPrefix(lines[1], "#")) {
		column[name] = i
	}
	var slots []state
	for _, line := range lines[2:] {
		f := strings.Fields(line)
		get := func(name string) string {
			if i, ok := column[name]; ok && i < len(f) {
				return f[i]
			}
			return ""
		}
		admin, err1 := strconv.Atoi(get("srv_admin_state"))
		op, err2 := strconv.Atoi(get("srv_op_state"))
		at, err3 := netip.ParseAddrPort(net.JoinHostPort(get("srv_addr"), get("srv_port")))
		if get("srv_name") == reserveName(len(slots)-1) {
			continue // it is as the slot before it
		}
		if get("srv_name") != slotName(len(slots)) || errors.Join(err1, err2, err3) != nil {
			return bad()
		}
		s := state{}
		if admin&outOfUse == 0 {
			s = state{address: at, up: op > 0}
		}
		slots = append(slots, s)
	}
	return slots, nil
}

// set changes a slot, and its reserve before it: the slot is what is read, so what
// it says of itself is true of its reserve as well, also where this was cut off.
func (a admin) set(ctx context.Context, slot int, to string) error {
	for _, name := range []string{reserveName(slot), slotName(slot)} {
		if err := a.say(ctx, "set server "+backend+"/"+name+" "+to); err != nil {
			return err
		}
	}
	return nil
}

// use puts a server into a slot.
func (a admin) use(ctx context.Context, slot int, at netip.AddrPort) error {
	if err := a.set(ctx, slot, "state maint"); err != nil { // as after a drain that was cut off
		return err
	}
	if err := a.set(ctx, slot, fmt.Sprintf("addr %s port %d", at.Addr(), at.Port())); err != nil {
		return err
	}
	return a.set(ctx, slot, "state ready")
}

// upTime is how long a new server may take to be found up before others go all
// the same.
const upTime = 5 * time.Second

// awaitUp waits until checks have found the servers in slots up.
func (a admin) awaitUp(ctx context.Context, slots []int) error {
	patience, cancel := context.WithTimeout(ctx, upTime)
	defer cancel()
	for {
		states, err := a.slots(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(slots, func(i int) bool { return i < len(states) && !states[i].up }) {
			return nil
		}
		if host.Sleep(patience, 20*time.Millisecond) != nil {
			return ctx.Err()
		}
	}
}

// release takes servers out of their slots: they get nothing new, and have some
// time to end what they have begun.
func (a admin) release(ctx context.Context, slots []int) error {
	for _, i := range slots {
		if err := a.set(ctx, i, "state drain"); err != nil {
			return err
		}
	}
	patience, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	for _, i := range slots {
		for {
			busy, err := a.busy(ctx, i)
			if err != nil {
				return err
			}
			if !busy {
				break
			}
			if host.Sleep(patience, 20*time.Millisecond) != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				for _, name := range []string{slotName(i), reserveName(i)} {
					if err := a.say(ctx, "shutdown sessions server "+backend+"/"+name); err != nil {
						return err
					}
				}
				break
			}
		}
		if err := a.set(ctx, i, "state maint"); err != nil {
			return err
		}
	}
	return nil
}

// busy reports whether a slot's server has requests or connections under way.
func (a admin) busy(ctx context.Context, slot int) (bool, error) {
	answer, err := a.ask(ctx, "show stat "+backend+" 4 -1") // 4: servers
	if err != nil {
		return false, err
	}
	for _, name := range []string{slotName(slot), reserveName(slot)} {
		if n, err := sessions(answer, name); n > 0 || err != nil {
			return n > 0, err
		}
	}
	return false, nil
}

// sessions reads from the table of "show stat" how many a server has now.
func sessions(table, server string) (int, error) {
	name, current := -1, -1
	for line := range strings.Lines(table) {
		f := strings.Split(strings.TrimSpace(line), ",")
		if strings.HasPrefix(line, "#") {
			for i, column := range f {
				switch strings.TrimPrefix(column, "# ") {
				case "svname":
					name = i
				case "scur":
					current = i
				}
			}
			continue
		}
		if name < 0 || current < 0 || max(name, current) >= len(f) || f[name] != server {
			continue
		}
		n, err := strconv.Atoi(f[current])
		if err != nil {
			return 0, fmt.Errorf("haproxy says that server %s has %q sessions", server, f[current])
		}
		return n, nil
	}
	return 0, &component.Failure{Err: fmt.Errorf("haproxy has no server %s", server)}
}
