// Package journal is the only record of step intents and results: an intent is
// on disk before its effect begins, and its result before anybody is told. A
// crash between any two instructions leaves an intent without a result, which
// Steps shows and whose effect can be repeated with the same token.
//
// Journal gives rows their types; File keeps them, in one bbolt file of the
// daemon whose steps they are. The package refuses to decide anything: it
// neither retries nor orders steps, and holds no events.
//
// The package starts no goroutine.
package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/api/peerpb"
	"aloft/internal/crash"
	"aloft/internal/journal/journalpb"
	"aloft/value"
)

// Any is the revision of a row that is written whatever it holds.
const Any int64 = -1

// Rows is where a journal's rows are kept: a File, or a disk that is simulated.
type Rows interface {
	// Load returns a row and its revision; revision 0 means that there is none.
	Load(ctx context.Context, key string) (value []byte, revision int64, err error)
	// Save writes all rows or none, durably, each only if it is at its
	// revision (0: there is none; Any: whatever it is). A nil value deletes.
	// saved is false when a row is at another revision.
	Save(ctx context.Context, keys []string, values [][]byte, revisions []int64) (saved bool, err error)
	// Scan visits the rows whose keys begin with prefix, sorted by key, and
	// stops at the first error.
	Scan(ctx context.Context, prefix string, visit func(key string, value []byte, revision int64) error) error
}

// ErrSettled says that a step has a result already: it must not be run again.
// The error is a *SettledError.
var ErrSettled = errors.New("step is settled already")

// SettledError tells the result that a step has.
type SettledError struct {
	Step   Step
	Result Result
}

func (e *SettledError) Error() string {
	return fmt.Sprintf("step %s is settled already: %s", e.Step, e.Result.Outcome)
}

// Is makes errors.Is(err, ErrSettled) true.
func (e *SettledError) Is(target error) bool { return target == ErrSettled }

// Step is an effect that is about to happen. System, Plan and ID name it.
type Step struct {
	System   string
	Plan     string
	ID       string
	Revision int64
	Path     value.Path
	Action   peerpb.Action
	Token    string // idempotency token of the effect
}

func (s Step) String() string { return s.System + "/" + s.Plan + "/" + s.ID }

// Result is how a step settled.
type Result struct {
	Outcome   peerpb.Outcome
	Record    *peerpb.Record // why it failed or was skipped; nil when it is done
	Component []byte         // wire form of the component afterwards, as in a Fact; may be nil
	Time      time.Time      // set by End when it is zero
}

// Entry is a step as it was recorded.
type Entry struct {
	Step
	Intent  time.Time // of the first attempt
	Attempt int       // how often it was begun
	Result  *Result   // nil: the effect may or may not have happened
}

// Journal reads and writes typed rows. Its methods may be called concurrently.
type Journal struct {
	Parts      Table[*journalpb.Part]      // by system
	Components Table[*journalpb.Component] // by system and path
	Facts      Table[*peerpb.Fact]         // by system, plan and step
	Fences     Table[*journalpb.Fence]     // by shard
	Tenures    Table[*journalpb.Tenure]    // by system
	steps      Table[*journalpb.Step]      // by system, plan and id
	sequences  Table[*journalpb.Sequence]  // by what is counted
	rows       Rows
}

// New returns the journal kept in rows.
func New(rows Rows) *Journal {
	return &Journal{
		rows: rows,
		Parts: table(rows, "part", func(p *journalpb.Part) []string {
			return []string{p.GetSystem()}
		}),
		Components: table(rows, "component", func(c *journalpb.Component) []string {
			return []string{c.GetSystem(), c.GetPath()}
		}),
		Facts: table(rows, "fact", func(f *peerpb.Fact) []string {
			return []string{f.GetSystem(), f.GetPlan(), f.GetStep()}
		}),
		Fences: table(rows, "fence", func(f *journalpb.Fence) []string {
			return []string{f.GetShard()}
		}),
		Tenures: table(rows, "tenure", func(t *journalpb.Tenure) []string {
			return []string{t.GetSystem()}
		}),
		steps: table(rows, "step", func(s *journalpb.Step) []string {
			return []string{s.GetSystem(), s.GetPlan(), s.GetId()}
		}),
		sequences: table(rows, "sequence", func(s *journalpb.Sequence) []string {
			return []string{s.GetOf()}
		}),
	}
}

// Save carries out writes of the journal's tables, all or none, and returns
// when they are on disk.
func (j *Journal) Save(ctx context.Context, writes ...Write) error {
	_, err := j.save(ctx, writes)
	return err
}

func (j *Journal) save(ctx context.Context, writes []Write) (bool, error) {
	keys := make([]string, len(writes))
	values := make([][]byte, len(writes))
	revisions := make([]int64, len(writes))
	for i, w := range writes {
		if w.err != nil {
			return false, w.err
		}
		keys[i], values[i], revisions[i] = w.key, w.value, w.revision
	}
	return j.rows.Save(ctx, keys, values, revisions)
}

// errRaced says that two goroutines worked on one row.
var errRaced = errors.New("its row was changed by another meanwhile")

// Begin records the intent of s: when it returns nil, the intent is durable
// and the effect may begin. A step that was begun before and has no result is
// begun once more, with its first intent's time; its token must be the same.
// For a step with a result the error is a *SettledError. Writes are made
// together with the intent.
func (j *Journal) Begin(ctx context.Context, s Step, writes ...Write) error {
	crash.Here("before the intent of " + s.ID)
	row, revision, err := j.steps.load(ctx, s.System, s.Plan, s.ID)
	if err != nil {
		return err
	}
	switch {
	case revision == 0:
		row = stepRow(s)
		row.Intent = timestamppb.Now()
	case row.GetResult() != nil:
		return &SettledError{Step: s, Result: *entryOf(row).Result}
	case row.GetToken() != s.Token:
		return fmt.Errorf("step %s: begun with token %s, and now with %s", s, row.GetToken(), s.Token)
	}
	row.Attempt++
	err = j.settle(ctx, s, row, revision, writes)
	crash.Here("between intent and act of " + s.ID)
	return err
}

// End records the result of s. Writes, which say what follows from it, are
// made together with it. Ending a step again with the same outcome does
// nothing; with another one it is a *SettledError. Only a skipped step may end
// without having begun.
func (j *Journal) End(ctx context.Context, s Step, r Result, writes ...Write) error {
	crash.Here("between act and result of " + s.ID)
	row, revision, err := j.steps.load(ctx, s.System, s.Plan, s.ID)
	if err != nil {
		return err
	}
	switch {
	case revision == 0 && r.Outcome != peerpb.Outcome_OUTCOME_SKIPPED:
		return fmt.Errorf("step %s: ended before it was begun", s)
	case revision == 0:
		row = stepRow(s)
	case row.GetResult().GetOutcome() == r.Outcome && row.GetResult() != nil:
		return nil
	case row.GetResult() != nil:
		return &SettledError{Step: s, Result: *entryOf(row).Result}
	}
	if r.Time.IsZero() {
		r.Time = time.Now()
	}
	row.Result = &journalpb.Result{
		Outcome: r.Outcome, Record: r.Record, Component: r.Component, Time: timestamppb.New(r.Time),
	}
	err = j.settle(ctx, s, row, revision, writes)
	crash.Here("after the result of " + s.ID)
	return err
}

func (j *Journal) settle(ctx context.Context, s Step, row *journalpb.Step, revision int64, writes []Write) error {
	w := j.steps.Set(row)
	w.revision = revision
	saved, err := j.save(ctx, append([]Write{w}, writes...))
	if err == nil && !saved {
		err = errRaced
	}
	if err != nil {
		return fmt.Errorf("step %s: %w", s, err)
	}
	return nil
}

// Steps returns the recorded steps of one plan of a system, sorted by id; with
// an empty plan those of all its plans.
func (j *Journal) Steps(ctx context.Context, system, plan string) ([]Entry, error) {
	names := []string{system}
	if plan != "" {
		names = append(names, plan)
	}
	rows, err := j.steps.List(ctx, names...)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(rows))
	for i, row := range rows {
		entries[i] = entryOf(row)
	}
	return entries, nil
}

// Forget deletes the steps and facts of one plan of a system, or of all its
// plans with an empty plan. What the system holds stays recorded.
func (j *Journal) Forget(ctx context.Context, system, plan string) error {
	steps, err := j.Steps(ctx, system, plan)
	if err != nil {
		return err
	}
	var writes []Write
	for _, s := range steps {
		writes = append(writes, j.steps.Drop(s.System, s.Plan, s.ID))
	}
	names := []string{system}
	if plan != "" {
		names = append(names, plan)
	}
	facts, err := j.Facts.List(ctx, names...)
	if err != nil {
		return err
	}
	for _, f := range facts {
		writes = append(writes, j.Facts.Drop(f.GetSystem(), f.GetPlan(), f.GetStep()))
	}
	// A plan may have any number of steps, and others wait while rows are
	// written. Nothing is lost if a crash comes between two writes.
	const most = 200
	for len(writes) > 0 {
		n := min(most, len(writes))
		if err := j.Save(ctx, writes[:n]...); err != nil {
			return fmt.Errorf("forget the steps of %s: %w", system, err)
		}
		writes = writes[n:]
	}
	return nil
}

func stepRow(s Step) *journalpb.Step {
	return &journalpb.Step{
		System: s.System, Plan: s.Plan, Id: s.ID, Revision: s.Revision,
		Path: string(s.Path), Action: s.Action, Token: s.Token,
	}
}

func entryOf(row *journalpb.Step) Entry {
	e := Entry{
		Step: Step{
			System: row.GetSystem(), Plan: row.GetPlan(), ID: row.GetId(), Revision: row.GetRevision(),
			Path: value.Path(row.GetPath()), Action: row.GetAction(), Token: row.GetToken(),
		},
		Attempt: int(row.GetAttempt()),
	}
	if row.GetIntent() != nil {
		e.Intent = row.GetIntent().AsTime()
	}
	if r := row.GetResult(); r != nil {
		e.Result = &Result{
			Outcome: r.GetOutcome(), Record: r.GetRecord(), Component: r.GetComponent(), Time: r.GetTime().AsTime(),
		}
	}
	return e
}
