package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"aloft/api"

	tea "charm.land/bubbletea/v2"
)

// refresh is how often the times of the live view move on.
const refresh = 100 * time.Millisecond

// live shows the state of each component of a plan in place, on a terminal.
type live struct {
	program *tea.Program
	ended   chan struct{}
	once    sync.Once
}

func newLive(w io.Writer, p *api.Plan, d *api.Deployment, pal palette) *live {
	v := &view{title: d.System, down: d.Down, since: d.Since, now: time.Now(), rows: map[string]*row{}, palette: pal, width: 80, height: 24}
	for _, c := range changes(p) {
		v.row(c.Path).machine = c.Machine
	}
	if f, ok := w.(*os.File); ok {
		w = screen{f}
	}
	// No input and no signal handler: the terminal stays as it is, and Ctrl-C
	// reaches the command as a signal.
	l := &live{
		program: tea.NewProgram(v, tea.WithInput(nil), tea.WithOutput(w), tea.WithoutSignalHandler()),
		ended:   make(chan struct{}),
	}
	go func() {
		defer close(l.ended)
		_, _ = l.program.Run() // a view that cannot be drawn must not stop a deployment
	}()
	return l
}

func (l *live) event(e api.Event) { l.program.Send(e) }

func (l *live) end() {
	l.once.Do(func() {
		l.program.Send(done{})
		<-l.ended
	})
}

// screen is a terminal that is only drawn on. The library assumes that it reads
// the keyboard too: it asks the terminal what it can do, and the answers would
// end up in the user's shell; and it has keys sent in another code, in which
// Ctrl-C is no signal any more. So that much of its output is left out.
type screen struct{ *os.File }

var unasked = strings.NewReplacer(
	"\x1b[?2026$p", "", "\x1b[?2027$p", "", "\x1b[?u", "", // questions
	"\x1b[>4;2m", "", "\x1b[>4m", "", "\x1b[=1;1u", "", "\x1b[=0;1u", "", // keys
	"\x1b[?2004h", "", "\x1b[?2004l", "", // pasting
)

// Write draws p.
func (s screen) Write(p []byte) (int, error) {
	if _, err := unasked.WriteString(s.File, string(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// done ends the view, tick moves its times on.
type (
	done struct{}
	tick time.Time
)

// row is one component in the view.
type row struct {
	path, machine, state, text string
	fraction                   float64
	since                      time.Time
}

// view is the state of the live view; Update is its only writer.
type view struct {
	title   string
	down    bool
	since   time.Time
	now     time.Time
	order   []*row
	rows    map[string]*row
	palette palette
	width   int
	height  int
	over    bool
}

func (v *view) row(path string) *row {
	r := v.rows[path]
	if r == nil {
		r = &row{path: path, since: v.now}
		v.rows[path] = r
		v.order = append(v.order, r)
	}
	return r
}

func next() tea.Cmd {
	return tea.Tick(refresh, func(t time.Time) tea.Msg { return tick(t) })
}

// Init starts the clock.
func (v *view) Init() tea.Cmd { return next() }

// Update takes in one message.
func (v *view) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch m := msg.(type) {
	case done:
		v.over = true
		return v, tea.Quit
	case tick:
		v.now = time.Time(m)
		return v, next()
	case tea.WindowSizeMsg:
		if m.Width > 0 && m.Height > 0 { // some terminals do not know theirs
			v.width, v.height = m.Width, m.Height
		}
	case api.Event:
		v.event(m)
	}
	return v, nil
}

func (v *view) event(e api.Event) {
	if e.Path == "" {
		return
	}
	switch e.Kind {
	case api.EventComponent:
		r := v.row(e.Path)
		r.state, r.text, r.fraction, r.since = e.State, e.Reason, 0, v.now
		if e.Machine != "" {
			r.machine = e.Machine
		}
	case api.EventProgress:
		r := v.row(e.Path)
		r.text, r.fraction = e.Reason, e.Fraction
	case api.EventSystem:
		v.row(e.Path).text = strings.TrimSpace(e.State + ": " + e.Reason)
	case api.EventMachine:
		v.row(e.Path).text = strings.TrimSpace("machine " + e.State + " " + e.Reason)
	}
}

// View draws what is under way and what failed first; what is done is counted,
// and shown as far as there is room.
func (v *view) View() tea.View {
	if v.over {
		return tea.NewView("") // the table of results takes its place
	}
	var active, settled []*row
	finished, failed := 0, 0
	for _, r := range v.order {
		switch r.state {
		case "", api.ComponentInstantiated:
		case api.ComponentRunning, api.ComponentTerminated:
			finished++
			settled = append(settled, r)
		case api.ComponentFailed:
			failed++
			active = append(active, r)
		case api.ComponentDeployed:
			settled = append(settled, r)
		default:
			active = append(active, r)
		}
	}
	word := "running"
	if v.down {
		word = "ended"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %d of %d %s", v.palette.bold(v.title), finished, len(v.order), word)
	if failed > 0 {
		b.WriteString(", " + v.palette.red(fmt.Sprintf("%d failed", failed)))
	}
	b.WriteString("  " + v.palette.faint(seconds(v.now.Sub(v.since))) + "\n")

	room := max(3, v.height-3)
	shown := active
	if len(shown) > room {
		shown = shown[:room]
	} else if free := room - len(shown); len(settled) > free {
		shown = append(settled[len(settled)-free:], shown...)
	} else {
		shown = append(settled, shown...)
	}
	width := 0
	for _, r := range shown {
		width = max(width, utf8.RuneCountInString(r.path))
	}
	for _, r := range shown {
		b.WriteString(v.line(r, width) + "\n")
	}
	return tea.NewView(b.String())
}

func (v *view) line(r *row, width int) string {
	text := r.text
	if r.fraction > 0 {
		text = strings.TrimSpace(fmt.Sprintf("%.0f %% %s", r.fraction*100, text))
	}
	elapsed := ""
	switch r.state {
	case api.ComponentRunning, api.ComponentDeployed, api.ComponentTerminated, api.ComponentFailed:
	default:
		elapsed = seconds(v.now.Sub(r.since))
	}
	// Cut before painting, so that escape sequences stay whole.
	head := fmt.Sprintf("  %-*s  ", width, r.path)
	pad := strings.Repeat(" ", max(0, stateWidth-len(r.state))+2)
	tail := []rune(strings.TrimSpace(elapsed + "  " + oneLine(text)))
	free := v.width - utf8.RuneCountInString(head) - len(r.state) - len(pad) - 1
	tail = tail[:min(len(tail), max(0, free))]
	return strings.TrimRight(head+v.palette.state(r.state)+pad+v.palette.faint(string(tail)), " ")
}

// stateWidth is the length of the longest name of a state.
const stateWidth = len(api.ComponentReconfiguring)

func seconds(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%.1fs", d.Seconds())
}
