package main

import (
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ageHistogram shows how old the newest good copy of each service is. Unlike a plain histogram it doesn't add up
// over time: each look replaces the one before. A service without any good copy stands beyond every bucket.
type ageHistogram struct {
	desc *prometheus.Desc

	mu      sync.Mutex
	count   uint64
	sum     float64
	buckets map[float64]uint64
}

var ageBuckets = []float64{6 * 3600, 12 * 3600, 26 * 3600, 50 * 3600, 4 * 86400, 8 * 86400, 15 * 86400, 32 * 86400}

func newAgeHistogram() *ageHistogram {
	h := &ageHistogram{desc: prometheus.NewDesc("stowage_backups_good_age_seconds", "Age of the newest good copy, over services.", nil, nil)}
	h.set(nil)
	return h
}

// set replaces the ages; those below 0 stand for services without a good copy.
func (h *ageHistogram) set(ages []time.Duration) {
	buckets := make(map[float64]uint64, len(ageBuckets))
	for _, b := range ageBuckets {
		buckets[b] = 0
	}
	sum := 0.0
	for _, age := range ages {
		seconds := age.Seconds()
		if age < 0 {
			seconds = math.Inf(1)
		} else {
			sum += seconds
		}
		for _, b := range ageBuckets {
			if seconds <= b {
				buckets[b]++
			}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count, h.sum, h.buckets = uint64(len(ages)), sum, buckets
}

// Describe implements prometheus.Collector.
func (h *ageHistogram) Describe(out chan<- *prometheus.Desc) { out <- h.desc }

// Collect implements prometheus.Collector.
func (h *ageHistogram) Collect(out chan<- prometheus.Metric) {
	h.mu.Lock()
	defer h.mu.Unlock()
	out <- prometheus.MustNewConstHistogram(h.desc, h.count, h.sum, h.buckets)
}
