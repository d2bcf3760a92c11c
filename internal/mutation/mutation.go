// Package mutation holds rules that tests break on purpose, to see that other tests notice. Nothing else sets them.
package mutation

import "sync/atomic"

// KindLast has the kind of the top-level targetRef compared after origin and role in place of before them.
var KindLast atomic.Bool

// SendConsumer has policies that are not a producer's sent to other zones.
var SendConsumer atomic.Bool

// PlanLooksBack has a plan look only at the proxies that policies select before their change.
var PlanLooksBack atomic.Bool
