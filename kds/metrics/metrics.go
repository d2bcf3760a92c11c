// Package metrics shows Prometheus what a control plane knows of its store and its peers.
//
//	api.Config{Metrics: metrics.Handler(metrics.Source{Store: st, Status: server.Status, Mode: "global", Version: version})}
//
// Nothing is counted here: package kds counts for itself, under locks that it holds anyway, and does not know this
// package. A scrape reads Status once and costs what that costs; between scrapes nothing happens.
//
// Labels are bounded: zone is a Zone of global or a peer that was heard of since the start ("global" on a zone), type is
// one of resource.Kinds of which something has travelled in that direction, code one of kds.Codes, cause one of kds.Causes. A series appears
// with its first event. docs/reference/metrics.md lists all; a test compares.
package metrics

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/resource"
)

// scrapeTime is how long one scrape may take.
const scrapeTime = 10 * time.Second

// Source is what is shown.
type Source struct {
	Store   interface{ Revision() resource.Revision }
	Status  func(ctx context.Context) ([]kds.PeerStatus, error) // nil: there are no peers
	Stats   func() kds.Stats                                    // nil: there are no peers
	Mode    string                                              // global or zone
	Version string                                              // of the program
}

// Handler returns the answer to GET /metrics.
func Handler(s Source) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(New(s), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// New returns the collector behind Handler.
func New(s Source) prometheus.Collector { return collector{s} }

type collector struct{ Source }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("meridian_"+name, help, labels, nil)
}

var (
	buildInfo     = describe("build_info", "1; the labels say which program this is.", "mode", "version")
	storeRevision = describe("store_revision", "Revision of the store.")
	peerState     = describe("sync_peer_state", "1 for the state that the sync with the peer is in, 0 for the others.", "zone", "state")
	lastHeard     = describe("sync_last_heard_timestamp_seconds", "When anything came from the peer last, a keepalive ping included.", "zone")
	toApplied     = describe("sync_commit_to_applied_seconds", "From the commit of the oldest change in a response here to the peer's answer.", "zone", "type")
	lagRevisions  = describe("sync_lag_revisions", "Revisions from what the peer has applied to the latest change of the type.", "zone", "type")
	lagSeconds    = describe("sync_lag_seconds", "How long ago the first change was committed that the peer has not applied.", "zone", "type")
	sentBytes     = describe("sync_bytes_total", "Size of the responses, before compression.", "zone", "type", "direction")
	responses     = describe("sync_responses_total", "Responses.", "zone", "type", "direction")
	rejected      = describe("sync_rejected_resources", "Resources that the receiver does not take as they are now.", "zone", "type", "direction")
	held          = describe("sync_held_deletes", "Deletes that the receiver holds back until somebody confirms them.", "zone", "type", "direction")
	refusals      = describe("sync_rejections_total", "How often resources were refused.", "zone", "direction", "code")
	strangers     = describe("sync_refused_calls_total", "Calls without a credential of the zone that they were for.")
	forged        = describe("sync_forged_total", "Resources and removals that claimed what is not their sender's: corrected, or ignored.")
	ended         = describe("sync_connections_ended_total", "How often the connection to the peer ended, or did not come about.", "zone", "cause")
)

// descs are all of them.
var descs = []*prometheus.Desc{
	buildInfo, storeRevision, peerState, lastHeard, toApplied, lagRevisions, lagSeconds, sentBytes, responses, rejected, held, refusals, strangers, forged, ended,
}

var states = []kds.State{kds.Online, kds.Stalled, kds.Offline, kds.Unknown}

func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descs {
		ch <- d
	}
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge(buildInfo, 1, c.Mode, c.Version)
	gauge(storeRevision, float64(c.Store.Revision()))
	if c.Stats != nil {
		stats := c.Stats()
		count(strangers, stats.Refused)
		count(forged, stats.Forged)
	}
	if c.Status == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	peers, err := c.Status(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(peerState, err)
		return
	}
	var rows []row
	for _, p := range peers {
		zone := cmp.Or(p.Zone, "global")
		for _, state := range states {
			gauge(peerState, oneIf(p.State == state), zone, string(state))
		}
		if !p.Heard.IsZero() {
			gauge(lastHeard, float64(p.Heard.UnixMilli())/1000, zone)
		}
		for i := range p.Kinds {
			if k := &p.Kinds[i]; !k.Idle() { // of 1,000 zones these would be some 300,000 series
				rows = append(rows, row{zone, k})
			}
		}
		for _, r := range p.Refusals {
			count(refusals, r.Count, zone, direction(r.Sent), r.Code)
		}
		for cause, n := range p.Ends {
			count(ended, n, zone, cause)
		}
	}
	// In the order of the answer: the registry sorts what it gets, which is a quarter of the work if it has to.
	slices.SortFunc(rows, row.compare)
	for _, r := range rows {
		zone, k, way := r.zone, r.of, direction(r.of.Sent)
		if k.Sent {
			gauge(lagRevisions, float64(k.Lag), zone, k.Kind)
			gauge(lagSeconds, k.LagSeconds, zone, k.Kind)
		}
		if k.Messages > 0 {
			count(sentBytes, k.Bytes, zone, k.Kind, way)
			count(responses, k.Messages, zone, k.Kind, way)
			gauge(rejected, float64(k.Rejected), zone, k.Kind, way)
			deletes := 0
			if k.Held != nil {
				deletes = k.Held.Deletes
			}
			gauge(held, float64(deletes), zone, k.Kind, way)
		}
		if k.Delays != nil {
			ch <- histogram(k.Delays, zone, k.Kind)
		}
	}
}

// row is one kind of one peer in one direction.
type row struct {
	zone string
	of   *kds.KindStatus
}

// compare is by direction, type and zone: the values of the labels in the order of their names.
func (r row) compare(other row) int {
	return cmp.Or(cmp.Compare(direction(r.of.Sent), direction(other.of.Sent)), cmp.Compare(r.of.Kind, other.of.Kind), cmp.Compare(r.zone, other.zone))
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func direction(sent bool) string {
	if sent {
		return "sent"
	}
	return "received"
}

func histogram(d *kds.Delay, labels ...string) prometheus.Metric {
	buckets, total := map[float64]uint64{}, uint64(0)
	for i, bound := range kds.DelayBounds {
		total += d.Counts[i]
		buckets[bound.Seconds()] = total
	}
	total += d.Counts[len(kds.DelayBounds)]
	return prometheus.MustNewConstHistogram(toApplied, total, d.Sum.Seconds(), buckets, labels...)
}
