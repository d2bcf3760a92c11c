package planes

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage/bolt"
)

// disk is what a plane's store is on, with the faults that disks have.
type disk struct {
	mu      sync.Mutex // guards what follows
	full    bool
	commits int       // until the plane is killed in one; 0: it is not
	how     bolt.Fate // it is killed then
	killed  bool

	unknown []batch // what the plane was asked to write around its death; for the goroutine of the federation only
}

// batch is a write of a plane that was killed before anybody looked what it had made of it: all of it or nothing.
type batch struct {
	docs         []resource.Document
	deleted      bool // they are what was to be deleted
	acknowledged bool // so it is all of it
}

func (d *disk) fate() bolt.Fate {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return bolt.DiskFull
	}
	if d.commits > 0 {
		if d.commits--; d.commits == 0 {
			d.killed = true
			return d.how
		}
	}
	return bolt.Written
}

// FillDisk has the plane's disk take no more writes, until Heal.
func (p *Plane) FillDisk() { p.disk.set(func(d *disk) { d.full = true }) }

// KillInWrite kills the plane in the n-th write from now, whoever writes. If whole, all of that write has reached the file
// by then; otherwise pages of it have, but not the record that makes them count. What runs on in the process can neither
// read nor write any more; Stop ends it.
func (p *Plane) KillInWrite(n int, whole bool) {
	p.disk.set(func(d *disk) {
		d.commits, d.how = n, bolt.KilledMid
		if whole {
			d.how = bolt.KilledEnd
		}
	})
}

// Heal undoes FillDisk, and KillInWrite if it has not come to that.
func (p *Plane) Heal() { p.disk.set(func(d *disk) { d.full, d.commits = false, 0 }) }

func (d *disk) set(change func(*disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

// Full says whether the plane's disk takes no more writes.
func (p *Plane) Full() (full bool) {
	p.disk.set(func(d *disk) { full = d.full })
	return full
}

// Killed says whether the plane was killed in a write since it was started.
func (p *Plane) Killed() (killed bool) {
	p.disk.set(func(d *disk) { killed = d.killed })
	return killed
}

// learn finds out, in a plane that was opened again, what became of what it was asked to write around its death.
func (p *Plane) learn() error {
	p.disk.set(func(d *disk) { d.killed = false })
	batches := p.disk.unknown
	p.disk.unknown = nil
	for _, b := range batches {
		before, after := 0, 0
		for _, d := range b.docs {
			was := p.written[d.Resource.Key]
			is, err := p.node.Store().Get(context.Background(), d.Resource.Key)
			missing := errors.Is(err, resource.ErrNotFound)
			if err != nil && !missing {
				return err
			}
			if b.acknowledged {
				// as before is not good enough
			} else if missing && was == nil || !missing && was != nil && is.SameContent(*was) {
				before++
			}
			if missing && b.deleted || !missing && !b.deleted && bytes.Equal(is.Spec, d.Resource.Spec) { // labels it adds itself
				after++
			}
		}
		if before < len(b.docs) && after < len(b.docs) {
			return p.broken(NoLostWrite, "of a batch of %d that it was killed over %d are as before and %d as after it", len(b.docs), before, after)
		}
		if after == len(b.docs) {
			for _, d := range b.docs {
				if err := p.acknowledged(d.Resource.Key); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
