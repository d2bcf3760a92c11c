package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/kds/metrics"
	"github.com/meridian-mesh/meridian/resource"
)

type store struct{}

func (store) Revision() resource.Revision { return 42 }

// everything is a source in which every metric has a value.
func everything(context.Context) ([]kds.PeerStatus, error) {
	delays := &kds.Delay{Sum: 3 * time.Second}
	delays.Counts[0], delays.Counts[2], delays.Counts[len(delays.Counts)-1] = 1, 4, 2
	return []kds.PeerStatus{
		{
			Zone: "east", State: kds.Stalled, Heard: time.UnixMilli(1500),
			Kinds: []kds.KindStatus{
				{Kind: "MeshTimeout", Sent: true, Lag: 3, LagSeconds: 1.5, Messages: 7, Bytes: 700, Rejected: 2, Delays: delays},
				{Kind: "Dataplane", Messages: 1, Bytes: 10, Held: &kds.Held{Deletes: 40, Of: 50}},
			},
			Ends: map[string]uint64{"stalled": 2}, Refusals: []kds.Refusals{{Code: "invalid", Sent: true, Count: 5}},
		},
		{Zone: "", State: kds.Unknown},
	}, nil
}

func scrape(t *testing.T, s metrics.Source) (code int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	metrics.Handler(s).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Code, w.Body.String()
}

func TestTheStatusOfEveryPeerIsShown(t *testing.T) {
	t.Parallel()
	code, body := scrape(t, metrics.Source{Store: store{}, Status: everything, Stats: func() kds.Stats { return kds.Stats{Refused: 3, Forged: 4} }, Mode: "global", Version: "v1"})
	require.Equal(t, http.StatusOK, code, body)
	for _, line := range []string{
		`meridian_build_info{mode="global",version="v1"} 1`,
		`meridian_store_revision 42`,
		`meridian_sync_refused_calls_total 3`,
		`meridian_sync_forged_total 4`,
		`meridian_sync_peer_state{state="stalled",zone="east"} 1`,
		`meridian_sync_peer_state{state="online",zone="east"} 0`,
		`meridian_sync_peer_state{state="unknown",zone="global"} 1`,
		`meridian_sync_last_heard_timestamp_seconds{zone="east"} 1.5`,
		`meridian_sync_lag_revisions{type="MeshTimeout",zone="east"} 3`,
		`meridian_sync_lag_seconds{type="MeshTimeout",zone="east"} 1.5`,
		`meridian_sync_bytes_total{direction="sent",type="MeshTimeout",zone="east"} 700`,
		`meridian_sync_bytes_total{direction="received",type="Dataplane",zone="east"} 10`,
		`meridian_sync_rejected_resources{direction="sent",type="MeshTimeout",zone="east"} 2`,
		`meridian_sync_held_deletes{direction="received",type="Dataplane",zone="east"} 40`,
		`meridian_sync_rejections_total{code="invalid",direction="sent",zone="east"} 5`,
		`meridian_sync_connections_ended_total{cause="stalled",zone="east"} 2`,
		`meridian_sync_commit_to_applied_seconds_bucket{type="MeshTimeout",zone="east",le="0.001"} 1`,
		`meridian_sync_commit_to_applied_seconds_bucket{type="MeshTimeout",zone="east",le="0.025"} 5`,
		`meridian_sync_commit_to_applied_seconds_bucket{type="MeshTimeout",zone="east",le="600"} 5`,
		`meridian_sync_commit_to_applied_seconds_bucket{type="MeshTimeout",zone="east",le="+Inf"} 7`,
		`meridian_sync_commit_to_applied_seconds_sum{type="MeshTimeout",zone="east"} 3`,
	} {
		assert.Contains(t, body, line+"\n")
	}
	assert.Contains(t, body, "go_goroutines ")
}

func TestWithoutPeersOnlyTheStoreIsShown(t *testing.T) {
	t.Parallel()
	code, body := scrape(t, metrics.Source{Store: store{}, Mode: "zone"})
	require.Equal(t, http.StatusOK, code)
	assert.Contains(t, body, "meridian_store_revision 42\n")
	assert.NotContains(t, body, "meridian_sync_")
}

func TestAScrapeThatFailsSaysSo(t *testing.T) {
	t.Parallel()
	code, body := scrape(t, metrics.Source{Store: store{}, Status: func(context.Context) ([]kds.PeerStatus, error) {
		return nil, errors.New("store is closed")
	}})
	assert.Equal(t, http.StatusInternalServerError, code)
	assert.Contains(t, body, "store is closed")
}

// The reference lists every metric with its type and labels, and nothing else.
func TestTheReferenceListsEveryMetric(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.New(metrics.Source{Store: store{}, Status: everything, Stats: func() kds.Stats { return kds.Stats{Refused: 3, Forged: 4} }, Mode: "global", Version: "v1"}))
	families, err := registry.Gather()
	require.NoError(t, err)
	described := make(chan *prometheus.Desc, 100)
	metrics.New(metrics.Source{}).Describe(described)
	require.Len(t, described, len(families), "a metric that this test gives no value")

	exported := map[string]string{}
	for _, f := range families {
		var labels []string
		for _, pair := range f.Metric[0].Label {
			labels = append(labels, "`"+pair.GetName()+"`")
		}
		exported[f.GetName()] = strings.ToLower(dto.MetricType_name[int32(f.GetType())]) + "; " + strings.Join(labels, ", ")
	}
	page, err := os.ReadFile("../../docs/reference/metrics.md")
	require.NoError(t, err)
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(meridian_[a-z_]+)` \\| ([a-z]+) \\| [^|]+ \\|([^|]*)\\|").FindAllStringSubmatch(string(page), -1) {
		documented[row[1]] = row[2] + "; " + strings.TrimSpace(row[3])
	}
	require.NotEmpty(t, documented)
	assert.Equal(t, exported, documented)
	for _, word := range append(kds.Causes(), kds.Codes()...) {
		assert.Contains(t, string(page), "`"+word+"`")
	}
}

func TestOfATypeThatNobodyUsesThereIsNoSeries(t *testing.T) {
	t.Parallel()
	_, body := scrape(t, metrics.Source{Store: store{}, Mode: "global", Status: func(context.Context) ([]kds.PeerStatus, error) {
		return []kds.PeerStatus{{Zone: "east", State: kds.Online, Kinds: []kds.KindStatus{
			{Kind: "MeshRetry", Sent: true, Messages: 3, Bytes: 1200}, {Kind: "MeshTimeout", Sent: true, Messages: 1, Bytes: 900, Moved: true}, {Kind: "Secret", Sent: true, Lag: 1},
		}}}, nil
	}})
	assert.NotContains(t, body, "MeshRetry")
	assert.Contains(t, body, `meridian_sync_lag_revisions{type="MeshTimeout",zone="east"} 0`)
	assert.Contains(t, body, `meridian_sync_lag_revisions{type="Secret",zone="east"} 1`)
}

// BenchmarkScrape is of 1,000 zones that use ten types each way; of the others the first, empty response has travelled.
func BenchmarkScrape(b *testing.B) {
	var peers []kds.PeerStatus
	for i := range 1000 {
		p := kds.PeerStatus{Zone: fmt.Sprint("z", i), State: kds.Online, Heard: time.Now()}
		for k := range 67 {
			ks := kds.KindStatus{Kind: fmt.Sprint("Kind", k), Sent: k < 41, Messages: 1, Bytes: 60}
			if k%41 < 10 {
				ks.Messages, ks.Bytes, ks.Moved = 7, 10_000, true
				if ks.Sent {
					ks.Delays = &kds.Delay{}
				}
			}
			p.Kinds = append(p.Kinds, ks)
		}
		peers = append(peers, p)
	}
	handler := metrics.Handler(metrics.Source{Store: store{}, Mode: "global", Status: func(context.Context) ([]kds.PeerStatus, error) { return peers, nil }})
	for b.Loop() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		b.ReportMetric(float64(w.Body.Len())/1e6, "MB")
	}
}
