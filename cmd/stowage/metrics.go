package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"stowage/pve"
	"stowage/store"
)

// metrics are what Prometheus sees of the work. What happens is counted from the database, so that the numbers
// are the ones that pages show; requests to Proxmox are counted as they are made.
type metrics struct {
	registry *prometheus.Registry

	tick       prometheus.Histogram
	slots      *prometheus.CounterVec
	lateness   prometheus.Histogram
	operations *prometheus.GaugeVec
	took       *prometheus.HistogramVec
	requests   *prometheus.CounterVec
	request    *prometheus.HistogramVec
	queue      *prometheus.GaugeVec
	outbox     *prometheus.GaugeVec
	stale      prometheus.Gauge
	ages       *ageHistogram
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		tick: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "stowage_tick_seconds", Help: "Time that one tick of the scheduler takes.",
			Buckets: []float64{.005, .02, .1, .5, 1, 5, 15, 60}}),
		slots: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "stowage_slots_total", Help: "Scheduled backups that ended, by how."}, []string{"state"}),
		lateness: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "stowage_slot_lateness_seconds", Help: "From the time asked for to the start of the backup.",
			Buckets: []float64{1, 15, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 24 * 3600}}),
		operations: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "stowage_operations", Help: "Unfinished operations."}, []string{"kind", "state"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "stowage_operation_seconds", Help: "From the start of an operation to its end.",
			Buckets: []float64{1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 12 * 3600}}, []string{"kind"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "stowage_pve_requests_total", Help: "Requests to Proxmox VE, by what came of them."},
			[]string{"server", "method", "class"}),
		request: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "stowage_pve_request_seconds", Help: "Time that Proxmox VE takes to answer.",
			Buckets: []float64{.005, .02, .05, .1, .25, 1, 5, 15, 60, 120}}, []string{"server"}),
		queue:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "stowage_queue_depth", Help: "Operations that wait for their turn."}, []string{"node"}),
		outbox: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "stowage_outbox_depth", Help: "Messages that wait to be sent."}, []string{"channel"}),
		stale:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "stowage_locks_stale", Help: "Machines that Proxmox VE has kept locked for hours without work of ours."}),
		ages:   newAgeHistogram(),
	}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.tick, m.slots, m.lateness, m.operations, m.took, m.requests, m.request, m.queue, m.outbox, m.stale, m.ages)
	for _, state := range []string{"done", "late", "skipped", "failed", "missed"} {
		m.slots.WithLabelValues(state) // so that the first one counts as a change
	}
	return m
}

// called counts one request to Proxmox VE.
func (m *metrics) called(server string, c pve.Call) {
	class := string(c.Class)
	if class == "" {
		class = "ok"
	}
	m.requests.WithLabelValues(server, c.Method, class).Inc()
	m.request.WithLabelValues(server).Observe(c.Duration.Seconds())
}

// ticked keeps how long one tick of the scheduler took.
func (m *metrics) ticked(took time.Duration) { m.tick.Observe(took.Seconds()) }

// How often the database is looked at for metrics.
const (
	lookEvery = 15 * time.Second
	agesEvery = 5 * time.Minute
)

// watch keeps the metrics in step with the database until ctx ends.
func (m *metrics) watch(ctx context.Context, db *store.DB, log *slog.Logger) {
	last, agesAt := db.Now(), time.Time{}
	for {
		now := db.Now()
		err := m.look(ctx, db, last, now)
		if err == nil {
			last = now
			if now.Sub(agesAt) >= agesEvery {
				agesAt = now
				err = m.lookAtAges(ctx, db)
			}
		}
		if err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "metrics can't be gathered", "error", err)
		}
		sleep(ctx, lookEvery)
		if ctx.Err() != nil {
			return
		}
	}
}

// look counts what ended between two instants, and what is unfinished now.
func (m *metrics) look(ctx context.Context, db *store.DB, from, to time.Time) error {
	slots, err := db.EndedSlots(ctx, from, to)
	if err != nil {
		return err
	}
	operations, err := db.EndedOperations(ctx, from, to)
	if err != nil {
		return err
	}
	f, err := db.Figures(ctx)
	if err != nil {
		return err
	}
	for _, s := range slots {
		m.slots.WithLabelValues(s.State).Inc()
		if s.Lateness >= 0 {
			m.lateness.Observe(s.Lateness.Seconds())
		}
	}
	for _, o := range operations {
		m.took.WithLabelValues(o.Kind).Observe(o.Took.Seconds())
	}
	m.operations.Reset()
	for _, c := range f.Operations {
		m.operations.WithLabelValues(c.Kind, c.State).Set(float64(c.Count))
	}
	m.queue.Reset()
	for node, n := range f.Queue {
		m.queue.WithLabelValues(node).Set(float64(n))
	}
	m.outbox.Reset()
	for channel, n := range f.Outbox {
		m.outbox.WithLabelValues(channel).Set(float64(n))
	}
	m.stale.Set(float64(f.StaleLocks))
	return nil
}

func (m *metrics) lookAtAges(ctx context.Context, db *store.DB) error {
	ages, err := db.GoodAges(ctx)
	if err == nil {
		m.ages.set(ages)
	}
	return err
}
