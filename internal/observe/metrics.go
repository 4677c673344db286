package observe

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics is what a daemon counts. It has a registry of its own: those of the
// libraries within are not the product's.
type Metrics struct {
	registry *prometheus.Registry
	steps    *prometheus.HistogramVec
	sessions prometheus.Gauge
	machines *prometheus.GaugeVec
	events   *prometheus.CounterVec
}

// NewMetrics returns the metrics of a daemon of that version.
func NewMetrics(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "aloft_step_seconds", Help: "Steps that were settled, by action and outcome.",
			Buckets: []float64{.001, .01, .05, .1, .5, 1, 5, 15, 60, 300},
		}, []string{"action", "outcome"}),
		sessions: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "aloft_sessions", Help: "Sessions with other daemons.",
		}),
		machines: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "aloft_machines", Help: "Machines of this manager, by state.",
		}, []string{"state"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aloft_events_total", Help: "Events recorded, by kind.",
		}, []string{"kind"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "aloft_build", Help: "One, with the version.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(
		build, m.steps, m.sessions, m.machines, m.events,
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector(),
	)
	return m
}

// Step counts a step that was settled after took.
func (m *Metrics) Step(action, outcome string, took time.Duration) {
	m.steps.WithLabelValues(action, outcome).Observe(took.Seconds())
}

// Event counts an event.
func (m *Metrics) Event(kind string) { m.events.WithLabelValues(kind).Inc() }

// Session counts a session that began (1) or ended (-1).
func (m *Metrics) Session(change int) { m.sessions.Add(float64(change)) }

// Machines sets how many machines there are in each state.
func (m *Metrics) Machines(byState map[string]int) {
	m.machines.Reset()
	for state, n := range byState {
		m.machines.WithLabelValues(state).Set(float64(n))
	}
}

// Handler answers GET /metrics in the form of Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
