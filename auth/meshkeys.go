package auth

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/meridian-mesh/meridian/resource"
)

const (
	meshKeyPause = time.Second // meshes come in one document after the other: look once
	meshKeyRetry = time.Minute // after a failed write, which is a full disk
)

// MakeMeshKeys gives every mesh of a store that has none the key that tokens of its data planes are signed with: serial 1,
// in a Secret of the mesh. Nobody asks a proxy for a token here. Kuma's zones do, and they have the key from global alone.
//
// It goes on until ctx ends; a new mesh has its key about a second later. What cannot be written is logged and tried again.
// nil: it was asked to stop. Other errors are those of reading.
func MakeMeshKeys(ctx context.Context, st Store, log hclog.Logger) error {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	var seen resource.Revision // the meshes have been looked at as of then
	for look := true; ; {
		rev := st.Revision()
		err := error(nil)
		if !look {
			look, err = meshesChanged(ctx, st, seen)
		}
		pause := meshKeyPause
		if err == nil && look {
			err = makeMeshKeys(ctx, st)
			if look = err != nil; look {
				log.Warn("the key of a mesh was not made, trying again", "err", err)
				pause, err = meshKeyRetry, nil
			}
		}
		if ctx.Err() != nil || errors.Is(err, resource.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("follow the meshes: %w", err)
		}
		seen = rev
		advanced := st.Advanced(rev)
		if look {
			advanced = alreadyClosed
		}
		select {
		case <-ctx.Done():
			return nil
		case <-advanced:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

var alreadyClosed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func meshesChanged(ctx context.Context, st Store, since resource.Revision) (bool, error) {
	list, _, err := st.Since(ctx, "Mesh", since)
	if errors.Is(err, resource.ErrCompacted) {
		return true, nil
	}
	return len(list) > 0, err
}

// makeMeshKeys makes the keys that are missing now.
func makeMeshKeys(ctx context.Context, st Store) error {
	without := map[string]resource.Resource{}
	err := st.View(ctx, "Mesh", func(_ resource.Revision, list iter.Seq2[resource.Resource, error]) error {
		for r, err := range list {
			if err != nil {
				return err
			}
			without[r.Name] = r
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = st.View(ctx, "Secret", func(_ resource.Revision, list iter.Seq2[resource.Resource, error]) error {
		for r, err := range list {
			if err != nil {
				return err
			}
			if strings.HasPrefix(r.Name, meshKeyPrefix(r.Mesh)) {
				delete(without, r.Mesh)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(without)) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		key, err := NewSigningKey()
		if err != nil {
			return err
		}
		secret := resource.Resource{Key: resource.Key{Kind: "Secret", Mesh: name, Name: meshKeyPrefix(name) + "-1"}, Spec: secretSpec(key)}
		_, err = st.Apply(ctx, resource.Check(without[name].Key, without[name].Version), resource.Put(secret).If(0))
		if err != nil && !errors.Is(err, resource.ErrConflict) { // of a mesh that has changed meanwhile, the next look takes care
			return err
		}
	}
	return nil
}

func meshKeyPrefix(mesh string) string { return "dataplane-token-signing-key-" + mesh }
