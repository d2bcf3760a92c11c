package storage

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"github.com/meridian-mesh/meridian/resource"
)

// Trim forgets deletes that are more than keep revisions old, at once and after every further keep revisions, until
// ctx ends: the log then holds at most 2 x keep deletes. A reader that is further behind gets resource.ErrCompacted.
// A compaction that fails is logged and tried again later. Trim returns nil when ctx has ended, and why when the store
// works no more.
func Trim(ctx context.Context, st Store, keep resource.Revision, log hclog.Logger) error {
	var last resource.Revision
	for {
		rev := st.Revision()
		if rev > keep && rev-last >= keep {
			if err := st.Compact(ctx, rev-keep); err != nil && ctx.Err() == nil {
				log.Warn("compaction failed", "rev", rev-keep, "err", err)
			}
			last = rev
		}
		select {
		case <-ctx.Done():
			return nil
		case <-st.Advanced(rev):
		}
		if st.Revision() == rev { // woken by nothing, or the store has stopped: one that works forgets nothing up to 0
			if err := st.Compact(ctx, 0); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}
