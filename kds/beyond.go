package kds

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/meridian-mesh/meridian/kds/scope"
	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
	"github.com/meridian-mesh/meridian/resource"
)

const (
	longestAsk = 5 * time.Minute // that global lets a zone wait
	askMargin  = 5 * time.Second // that the answer may take beyond the wait
)

// knowledgeService tells zones what has become of their resources in the other zones.
type knowledgeService struct {
	syncv1.UnimplementedKnowledgeServiceServer
	server *Server
}

// Fates answers about resources of the calling zone. It says nothing of what is not the zone's.
func (k knowledgeService) Fates(ctx context.Context, m *syncv1.FatesRequest) (*syncv1.FatesResponse, error) {
	s := k.server
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	zone, _, release, err := s.caller(ctx, end)
	if err != nil {
		return nil, toStatus(err)
	}
	defer release()
	defer s.enter(&session{zone: zone, conn: connectionOf(ctx), end: end})()
	answer, err := s.fatesFor(ctx, zone, m)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, toStatus(err)
	}
	return answer, nil
}

// enter makes a call one of those that end with their zone and with the server, until the returned function is called.
func (s *Server) enter(open *session) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		open.end(errStopping)
	}
	s.add(open)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.remove(open)
	}
}

func (s *Server) fatesFor(ctx context.Context, zone string, m *syncv1.FatesRequest) (*syncv1.FatesResponse, error) {
	zones, _, _, err := s.zones.current(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range m.Zones {
		if _, known := zones[name]; !known {
			return nil, fmt.Errorf("zone %q: %w", name, resource.ErrNotFound)
		}
	}
	var list []resource.Resource
	answer := &syncv1.FatesResponse{Fates: make([]*syncv1.Fate, len(m.Resources))}
	var at []int
	for i, name := range m.Resources {
		answer.Fates[i] = &syncv1.Fate{}
		r, err := s.cfg.Store.Get(ctx, resource.Key{Kind: name.Kind, Mesh: name.Mesh, Name: name.Name})
		if err != nil && !errors.Is(err, resource.ErrNotFound) {
			return nil, err
		}
		if err == nil && r.Zone() == zone && !(resource.Plane{}).Local(r.Labels) {
			list, at = append(list, r), append(at, i)
		}
	}
	fates, err := s.Await(ctx, list, m.Zones, min(m.Wait.AsDuration(), longestAsk))
	if err != nil {
		return nil, err
	}
	for n, fate := range fates {
		told := answer.Fates[at[n]]
		for _, v := range fate.Peers {
			if v.Zone != zone {
				told.Verdicts = append(told.Verdicts, v.wire())
			}
		}
		if !m.Hops {
			continue
		}
		way, err := s.Trace(ctx, list[n])
		if err != nil {
			return nil, err
		}
		for _, h := range way {
			if h.Plane != zone { // which knows that better
				told.Hops = append(told.Hops, h.wire())
			}
		}
	}
	return answer, nil
}

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func moment(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func (v Verdict) wire() *syncv1.Verdict {
	return &syncv1.Verdict{
		Zone: v.Zone, Outcome: string(v.Outcome), Revision: uint64(v.Revision), Since: stamp(v.Since), Code: v.Code, Reason: v.Reason,
		Rule: string(v.Rule), State: string(v.State), StateSince: stamp(v.StateSince),
	}
}

func readVerdict(m *syncv1.Verdict) Verdict {
	return Verdict{
		Zone: m.Zone, Outcome: Outcome(m.Outcome), Revision: resource.Revision(m.Revision), Since: moment(m.Since), Code: m.Code, Reason: m.Reason,
		Rule: scope.RuleID(m.Rule), State: State(m.State), StateSince: moment(m.StateSince),
	}
}

func (h Hop) wire() *syncv1.Hop {
	return &syncv1.Hop{
		Event: h.Event, Plane: h.Plane, Peer: h.Peer, Revision: uint64(h.Revision), Time: stamp(h.Time), Latest: h.Latest, Code: h.Code,
		Reason: h.Reason, Rule: string(h.Rule),
	}
}

func readHop(m *syncv1.Hop) Hop {
	return Hop{
		Event: m.Event, Plane: m.Plane, Peer: m.Peer, Revision: resource.Revision(m.Revision), Time: moment(m.Time), Latest: m.Latest, Code: m.Code,
		Reason: m.Reason, Rule: scope.RuleID(m.Rule),
	}
}

// oracle is a global control plane that can be asked about other zones.
type oracle struct {
	client syncv1.KnowledgeServiceClient
	md     metadata.MD // of calls
}

// goesOn says whether global may pass r, a resource of this zone, on to other zones.
func goesOn(r resource.Resource) bool {
	d, _ := resource.LookupKind(r.Kind)
	return d.Flow.Has(resource.AcrossZones) && (!d.TargetRef || r.Role() == resource.RoleProducer)
}

// ask asks global about resources of this zone.
func (c *Client) ask(ctx context.Context, o *oracle, list []resource.Resource, zones []string, wait time.Duration, hops bool) ([]*syncv1.Fate, error) {
	m := &syncv1.FatesRequest{Wait: durationpb.New(wait), Zones: zones, Hops: hops}
	for _, r := range list {
		sent, err := mapped(r, toGlobal, c.cfg.Zone)
		if err != nil {
			return nil, err
		}
		m.Resources = append(m.Resources, &syncv1.FatesRequest_Name{Kind: sent.Kind, Mesh: sent.Mesh, Name: sent.Name})
	}
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(ctx, o.md), wait+askMargin)
	defer cancel()
	answer, err := o.client.Fates(ctx, m)
	if err != nil {
		return nil, err
	}
	if len(answer.Fates) != len(list) {
		return nil, fmt.Errorf("%w: %d fates for %d resources", errProtocol, len(answer.Fates), len(list))
	}
	return answer.Fates, nil
}

// beyond adds to the fates of resources that global has applied what has become of them in the other zones, if global can
// tell. It waits until that is settled, or end has come; while global is not connected nothing is.
func (c *Client) beyond(ctx context.Context, list []resource.Resource, fates []Fate, zones []string, end time.Time) error {
	var asked []resource.Resource
	var at []int
	for i, r := range list {
		if goesOn(r) && fates[i].Settled && fates[i].Peers[0].Outcome == Applied {
			asked, at = append(asked, r), append(at, i)
		}
	}
	if len(asked) == 0 && (len(list) > 0 || len(zones) == 0) { // asked about nothing, global says whether there are such zones
		return nil
	}
	waiting, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	for {
		known, o := c.ledger.bell.wait(), c.oracle.Load()
		if o == nil && !c.account.isExtended() {
			return nil // a Kuma global: it does not tell
		}
		if o != nil {
			told, err := c.ask(ctx, o, asked, zones, max(time.Until(end), 0), false)
			switch status.Code(err) {
			case codes.OK:
				for n, i := range at {
					for _, v := range told[n].Verdicts {
						fates[i].Peers = append(fates[i].Peers, readVerdict(v))
					}
					fates[i].Settled = settled(fates[i].Peers)
				}
				return nil
			case codes.Unimplemented:
				return nil // an earlier version
			case codes.NotFound:
				return fmt.Errorf("%s: %w", status.Convert(err).Message(), resource.ErrNotFound)
			}
			c.log.Debug("global does not say what has become of resources in other zones", "err", err)
		}
		for _, i := range at {
			fates[i].Settled = false
		}
		select {
		case <-waiting.Done():
			return context.Cause(ctx) // nil when the wait is over
		case <-known:
		}
	}
}

// Await returns what has become of each of list, resources of this store, on global ("" among peers, which is implied) and
// in other zones (those among peers; none: all), as far as global passes it on and can tell: as soon as all of that is
// settled, or else after wait. resource.ErrNotFound: there is no such zone.
func (c *Client) Await(ctx context.Context, list []resource.Resource, peers []string, wait time.Duration) ([]Fate, error) {
	end := time.Now().Add(wait)
	fates, err := await(ctx, &c.ledger.bell, len(list), wait, func(i int, _ []string) ([]Verdict, error) { return c.SyncOf(ctx, list[i]) })
	if err != nil {
		return nil, err
	}
	zones := slices.DeleteFunc(slices.Clone(peers), func(zone string) bool { return zone == "" || zone == c.cfg.Zone })
	if len(peers) > 0 && len(zones) == 0 { // global alone
		return fates, nil
	}
	return fates, c.beyond(ctx, list, fates, zones, end)
}

// Trace returns the way of r, a resource of this store: as far as this control plane knows it, and from global on as far
// as global does.
func (c *Client) Trace(ctx context.Context, r resource.Resource) ([]Hop, error) {
	way := arrival(r, c.cfg.Zone)
	if way[len(way)-1].Event == Received {
		return way, nil
	}
	list, err := c.SyncOf(ctx, r)
	if err != nil {
		return nil, err
	}
	way = append(way, c.account.hops(r, c.cfg.Zone, list[0])...)
	o := c.oracle.Load()
	if o == nil || list[0].Outcome != Applied {
		return way, nil
	}
	told, err := c.ask(ctx, o, []resource.Resource{r}, nil, 0, true)
	if err != nil {
		c.log.Debug("global does not say where a resource went", "err", err)
		return way, nil
	}
	for _, h := range told[0].Hops {
		way = append(way, readHop(h))
	}
	return way, nil
}

func (a *account) isExtended() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.extended
}
