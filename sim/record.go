package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim/planes"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

// Record makes a scenario of a federation that runs, asking its global control plane alone: its zones, what was written on global and in
// each of them, and, with expect, what it answers now as expectations. Secrets, and what control planes write by themselves, are left
// out; so is that a zone is disabled. Of what a zone does not announce it has the features for which something is kept back from it.
//
// Cost: a request for each policy and each service, and with expect one for each policy and one for each proxy more.
// Errors: that it does not answer, that it is a zone, or what it has cannot be written.
func Record(ctx context.Context, name string, global Ask, expect bool) (*Scenario, error) {
	var index struct{ Mode string }
	if err := get(ctx, global, "/", &index); err != nil {
		return nil, err
	}
	if index.Mode == "zone" {
		return nil, errors.New("it is the control plane of a zone; global knows all of them")
	}
	all, err := contents(ctx, global)
	if err != nil {
		return nil, err
	}
	s := FromResources(name, slices.DeleteFunc(slices.Clone(all), func(r resource.Resource) bool {
		d, _ := resource.LookupKind(r.Kind)
		return d.AdminOnly || r.Kind == "Secret" || r.Kind == "Config"
	}))
	s.Invariants = planes.Invariants()
	var zones []string
	for _, z := range s.Zones {
		zones = append(zones, z.Name)
	}
	for i := range s.Documents {
		if s.Documents[i].Resource, err = asRead(s.Documents[i].Resource); err != nil {
			return nil, err
		}
	}
	state, lacking, err := seenFrom(ctx, global, all, zones)
	if err != nil {
		return nil, err
	}
	for i, z := range s.Zones {
		s.Zones[i].Without = sortedWords(lacking[z.Name])
	}
	if !expect {
		return s, nil
	}
	s.Expect, err = (&Result{state: state}).Observed(ctx)
	return s, err
}

// asRead returns a resource as it is read from a file that says the same.
func asRead(r resource.Resource) (resource.Resource, error) {
	text, err := resource.ToJSON(r)
	if err != nil {
		return r, fmt.Errorf("%s: %w", r.Identity(), err)
	}
	read, err := policy.Schemas().Read(r.Key.String(), text, resource.ReadOptions{Lenient: true})
	if err != nil {
		return r, err
	}
	return read[0].Resource, nil
}

// seenFrom returns the state of a federation as its global control plane knows it: a zone has what it has sent, and what it has
// applied. Questions about its proxies are answered by global, as the zone would. lacking are, by zone, the features for whose lack
// something is kept back from it.
func seenFrom(ctx context.Context, global Ask, all []resource.Resource, zones []string) (_ *state, lacking map[string]map[string]bool, _ error) {
	s := &state{home: resource.DefaultMesh, names: append([]string{""}, zones...), planes: map[string]*plane{}}
	lacking = map[string]map[string]bool{}
	has := map[string][]resource.Resource{"": all}
	verdicts := map[resource.Identity][]kds.Verdict{}
	ask := func(zone, path string) (int, []byte, error) { return global(ctx, path) }
	for _, r := range all {
		d, _ := resource.LookupKind(r.Kind)
		own := ""
		if !writtenOn(r, "") {
			own = r.Zone()
		}
		if own != "" {
			has[own] = append(has[own], r)
		}
		if r.Kind == "Mesh" { // without which nothing is there
			for _, zone := range zones {
				has[zone] = append(has[zone], asSynced(r))
			}
		}
		if !d.Policy && !slices.Contains(destinationKinds, r.Kind) {
			continue
		}
		of, err := verdictsOf(r, "", ask)
		if err != nil {
			return nil, nil, err
		}
		verdicts[r.Identity()] = of
		for _, v := range of {
			if v.Zone != own && v.Outcome == kds.Applied {
				has[v.Zone] = append(has[v.Zone], asSynced(r))
			}
			if feature, ok := strings.CutPrefix(string(v.Rule), "lacks-"); ok && slices.Contains(planes.Features(), feature) {
				if lacking[v.Zone] == nil {
					lacking[v.Zone] = map[string]bool{}
				}
				lacking[v.Zone][feature] = true
			}
		}
	}
	for _, name := range s.names {
		s.planes[name] = &plane{all: has[name], res: remote{global, resolver.New(resolver.Config{Source: frozen(has[name])})}}
	}
	s.synced = func(id resource.Identity) ([]SyncRow, error) { return s.syncRows(id, verdicts[id]), nil }
	return s, lacking, nil
}

// asSynced returns a resource of global with the label that says on other planes that it is not theirs.
func asSynced(r resource.Resource) resource.Resource {
	if r.Origin() == "" {
		r.Labels = maps.Clone(r.Labels)
		if r.Labels == nil {
			r.Labels = map[string]string{}
		}
		r.Labels[resource.LabelOrigin] = resource.OriginGlobal
	}
	return r
}

// Overlay returns live with the change from base to head made to it: what head has is written over what is there, and what base has and
// head has not is deleted. base nil: nothing is. Zones of head that are not there yet are added. Neither argument is modified.
func Overlay(live, base, head *Scenario) *Scenario {
	out := *live
	out.Name, out.File, out.Expect, out.Steps = head.Name, head.File, nil, nil
	out.Zones = slices.Clone(live.Zones)
	for _, z := range head.Zones {
		if !slices.ContainsFunc(out.Zones, func(there Zone) bool { return there.Name == z.Name }) {
			out.Zones = append(out.Zones, z)
		}
	}
	at := func(d Document) placed { return placed{d.Plane, d.Resource.Key} }
	written, removed := map[placed]Document{}, map[placed]bool{}
	if base != nil {
		for _, d := range base.Documents {
			removed[at(d)] = true
		}
	}
	for _, d := range head.Documents {
		written[at(d)] = d
		delete(removed, at(d))
	}
	out.Documents = nil
	for _, d := range live.Documents {
		now, change := written[at(d)]
		delete(written, at(d))
		switch {
		case removed[at(d)]:
		case change:
			out.Documents = append(out.Documents, now)
		default:
			out.Documents = append(out.Documents, d)
		}
	}
	for _, d := range head.Documents {
		if _, missing := written[at(d)]; missing {
			out.Documents = append(out.Documents, d)
			delete(written, at(d))
		}
	}
	return &out
}
