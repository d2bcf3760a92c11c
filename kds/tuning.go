package kds

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

const (
	// kumaMessageBytes is what a Kuma peer takes in one message, and what a peer takes that says nothing else.
	kumaMessageBytes = 10 << 20
	// messageOverhead is what a message needs besides its resources, at most.
	messageOverhead = 64 << 10

	leastMessageBytes = 1 << 20
)

// Tuning is what people may set on either end of KDS. The zero value stands for the defaults.
type Tuning struct {
	StallTime  time.Duration // after which a peer without progress is Stalled, and after twice that recycled; 0: 30 s, below 0: never
	Guard      Guard         // keeps back what looks like an accident at the peer
	ChunkBytes int           // size of the parts of a long list to a Meridian peer, roughly; 0: 1 MiB

	// MaxMessageBytes is the largest message that is sent; 0: 10 MiB, Kuma's. Messages of that size, and of 10 MiB in any
	// case, are accepted: so it can be lowered on one side, and has to be raised on the receiver first.
	MaxMessageBytes int
}

// Check says everything that is wrong with t; name calls a setting as people do.
func (t Tuning) Check(name func(setting string) string) error {
	var errs []error
	if t.Guard.Share < 0 || t.Guard.Share > 1 {
		errs = append(errs, fmt.Errorf("%s %v: want a share from 0 to 1 (0: 0.5)", name("guard-share"), t.Guard.Share))
	}
	if t.Guard.AtLeast < 0 {
		errs = append(errs, fmt.Errorf("%s %d: want 0 (20) or more", name("guard-at-least"), t.Guard.AtLeast))
	}
	if t.MaxMessageBytes != 0 && t.MaxMessageBytes < leastMessageBytes {
		errs = append(errs, fmt.Errorf("%s %d: want 0 (10 MiB) or at least 1 MiB", name("max-message-bytes"), t.MaxMessageBytes))
	}
	if limit := t.MaxResourceBytes(); t.ChunkBytes < 0 || t.ChunkBytes > limit {
		errs = append(errs, fmt.Errorf("%s %d: want 0 (1 MiB) to %d, what fits into a message", name("chunk-bytes"), t.ChunkBytes, limit))
	}
	return errors.Join(errs...)
}

// withDefaults returns t with a value for everything.
func (t Tuning) withDefaults() Tuning {
	t.StallTime = cmp.Or(t.StallTime, defaultStall)
	t.MaxMessageBytes = cmp.Or(t.MaxMessageBytes, kumaMessageBytes)
	t.ChunkBytes = cmp.Or(t.ChunkBytes, min(defaultChunkBytes, t.MaxResourceBytes()))
	return t
}

// MaxResourceBytes is what one resource may weigh, encoded, to fit into a message.
func (t Tuning) MaxResourceBytes() int {
	return cmp.Or(t.MaxMessageBytes, kumaMessageBytes) - messageOverhead
}

// MaxStoredBytes is what a resource may weigh as it is stored, its names and labels included, so that whatever is added on its
// way it fits into a message.
func (t Tuning) MaxStoredBytes() int { return t.MaxResourceBytes() - 4<<10 }

// acceptBytes is the largest message that is received.
func (t Tuning) acceptBytes() int { return max(t.MaxMessageBytes, kumaMessageBytes) }
