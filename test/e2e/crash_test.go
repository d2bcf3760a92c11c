package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// write is one policy that a control plane has acknowledged.
type write struct{ name, namespace, value string }

// writer writes policies on p until ctx ends, each under a name of its own, and returns those that were answered with
// 2xx. A request that dies with its process has promised nothing; the next goes to the process that comes after. Every
// acknowledged write also counts in progress.
func writer(ctx context.Context, p *plane, id int, namespace string, progress chan<- struct{}) (acked []write, err error) {
	for i := 0; ctx.Err() == nil; i++ {
		w := write{fmt.Sprintf("%s-%d-%d", p.name, id, i), namespace, (time.Duration(i+1) * time.Millisecond).String()}
		code, _, body, err := p.request(ctx, http.MethodPut, timeoutPath(w.name, namespace), timeoutDoc(w.name, namespace, w.value))
		switch {
		case err != nil:
		case code/100 == 2:
			acked = append(acked, w)
			select {
			case progress <- struct{}{}:
			case <-ctx.Done():
			}
		default:
			return acked, fmt.Errorf("PUT %s on %s: %d %s", w.name, p.name, code, body)
		}
	}
	return acked, nil
}

func TestNoAcknowledgedWriteIsLostWhenAProcessIsKilled(t *testing.T) {
	t.Parallel()
	for _, victim := range []string{"global", "east"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			global, planes := federation(t, "east", "west")
			planes["global"] = global

			const kills, writers = 3, 2
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			progress := make(chan struct{})
			var wg sync.WaitGroup
			var mu sync.Mutex
			acked := map[string][]write{} // by the plane that acknowledged it; guarded by mu
			failed := make(chan error, 2*writers)
			for on, namespace := range map[string]string{"global": "", "east": "shop"} {
				for id := range writers {
					wg.Go(func() {
						writes, err := writer(ctx, planes[on], id, namespace, progress)
						if err != nil {
							failed <- err
							stop()
						}
						mu.Lock()
						defer mu.Unlock()
						acked[on] = append(acked[on], writes...)
					})
				}
			}
			for range kills {
				for range 20 + rand.IntN(40) { // the moment is random; the writers are in the middle of something
					select {
					case <-progress:
					case <-ctx.Done():
					}
				}
				planes[victim].kill()
				planes[victim].start()
			}
			stop()
			wg.Wait()
			close(failed)
			for err := range failed {
				require.NoError(t, err)
			}

			for on, writes := range acked {
				require.NotEmpty(t, writes)
				for name, p := range planes {
					for _, w := range writes {
						path := timeoutPath(w.name, w.namespace)
						if name != on {
							path = wirePath(w.name, w.namespace, zoneName(on))
						}
						assert.Contains(t, p.await(path), `"connectionTimeout": "`+w.value+`"`, "%s of %s on %s", w.name, on, name)
					}
				}
			}
			t.Logf("%d writes acknowledged on global and %d on east, over %d kills of %s", len(acked["global"]), len(acked["east"]), kills, victim)
		})
	}
}

// zoneName returns the zone of a plane, "" for the global.
func zoneName(plane string) string {
	if plane == "global" {
		return ""
	}
	return plane
}
