package mariadb

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"aloft/component"
	"aloft/internal/host"
)

// spareFile notes that the primary has confirmed to have all that this replica
// had, when it was about to end: it is not asked again when that is repeated.
const spareFile = "spare.json"

type spareRecord struct {
	Confirmed bool `json:"confirmed"`
}

// spare fails unless the primary of a replica that ends has confirmed to have
// all that it has (runtime.md UP9).
func (m *Manager) spare(ctx context.Context, c *component.Call) error {
	var r spareRecord
	if _, err := host.ReadRecord(c.WorkDir, spareFile, &r); err != nil || r.Confirmed {
		return err
	}
	if err := confirmed(ctx, c); err != nil {
		return &component.Failure{Err: fmt.Errorf("not ended, since its data would be lost: %w", err), Remedy: "have it catch up with its primary, or give leave with --allow-data-loss " + c.Path.String()}
	}
	return host.WriteRecord(c.WorkDir, spareFile, spareRecord{Confirmed: true})
}

// stays takes back what the primary of a replica has confirmed: its end has
// failed, or was given up, and it is to have new data.
func stays(workDir string) error { return host.RemoveFile(filepath.Join(workDir, spareFile)) }

// catchUpTime is what a replica has to be where its primary is when it is asked:
// one that follows is there in a moment.
const catchUpTime = 5 * time.Second

// confirmed returns why not all that a replica has is known to be on its primary,
// which is asked.
func confirmed(ctx context.Context, c *component.Call) error {
	s, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	if s.primary == nil {
		return errors.New("it is no replica: nobody else has its data")
	}
	db, err := access{network: "unix", address: s.socket, user: "root"}.open(ctx, "", false)
	if err != nil {
		return err
	}
	defer db.close()
	state, err := db.replication(ctx)
	if err != nil {
		return err
	}
	if err := broken(state); err != nil {
		return err
	}
	if at := state["Master_Host"] + ":" + state["Master_Port"]; state["Master_Host"] != s.primary.host || state["Master_Port"] != strconv.Itoa(s.primary.port) {
		return fmt.Errorf("it follows %s, and not %s", at, s.primary)
	}
	p, err := s.primary.access().open(ctx, "", false)
	if err != nil {
		return fmt.Errorf("its primary cannot confirm that it has the data: %w", err)
	}
	defer p.close()
	position, err := p.text(ctx, "SELECT @@GLOBAL.gtid_binlog_pos")
	if err != nil {
		return err
	}
	there, err := db.text(ctx, fmt.Sprintf("SELECT MASTER_GTID_WAIT(%s, %d)", literal(position), catchUpTime/time.Second))
	if err != nil {
		return err
	}
	if there != "0" {
		return fmt.Errorf("it has not caught up with its primary at %s", s.primary)
	}
	// Asked in this order: what it gets in between is its primary's.
	own, err := db.text(ctx, "SELECT @@GLOBAL.gtid_binlog_state")
	if err != nil {
		return err
	}
	primary, err := p.text(ctx, "SELECT @@GLOBAL.gtid_binlog_state")
	if err != nil {
		return err
	}
	more, err := beyond(own, primary)
	if err == nil && more != "" {
		err = fmt.Errorf("it has changes that its primary at %s does not have: %s", s.primary, more)
	}
	return err
}

// beyond returns which of the changes that lead to one state are not among those
// that lead to another; "" if all are. A state is a list of the last change of
// each server in each domain, "0-1-100,0-2-5".
func beyond(state, other string) (string, error) {
	has, err := lastChanges(other)
	if err != nil {
		return "", err
	}
	is, err := lastChanges(state)
	if err != nil {
		return "", err
	}
	var more []string
	for of, n := range is {
		if n > has[of] {
			more = append(more, fmt.Sprintf("%s-%d", of, n))
		}
	}
	slices.Sort(more)
	return strings.Join(more, ","), nil
}

// lastChanges reads a state: the number of the last change by "domain-server".
func lastChanges(state string) (map[string]uint64, error) {
	last := map[string]uint64{}
	for id := range strings.SplitSeq(state, ",") {
		if id = strings.TrimSpace(id); id == "" {
			continue
		}
		parts := strings.Split(id, "-")
		var numbers [3]uint64
		for i := range numbers {
			if len(parts) != len(numbers) {
				return nil, fmt.Errorf("%.80q is no state of a server", state)
			}
			n, err := strconv.ParseUint(parts[i], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%.80q is no state of a server", state)
			}
			numbers[i] = n
		}
		of := fmt.Sprintf("%d-%d", numbers[0], numbers[1])
		last[of] = max(last[of], numbers[2])
	}
	return last, nil
}
