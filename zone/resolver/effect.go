package resolver

import (
	"context"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// EffectAnswer is what one policy comes to. No list is nil. For example:
//
//	{"revision": 12,
//	 "policy": {"kri": "kri_mt_default_east_shop_producer-timeout_", "name": "producer-timeout", "namespace": "shop", "zone": "east"},
//	 "shadow": false, "total": 1,
//	 "effects": [{"dataplanes": [{"kri": "kri_dp_default_east_first_web_", "name": "web", "namespace": "first", "zone": "east"}],
//	   "places": [{"list": "to", "kind": "MeshService", "kri": "kri_msvc_default_east_shop_cart_",
//	     "wins": [{"item": 0, "path": "idleTimeout", "value": "1s"}], "masked": []}]}],
//	 "unresolved": []}
//
// A policy that selects no proxy has no effects, and unresolved says so.
type EffectAnswer struct {
	Revision resource.Revision `json:"revision"` // of the zone's store
	Policy   Dataplane         `json:"policy"`
	Shadow   bool              `json:"shadow"` // it is a trial: the effects are those that it would have
	Total    int               `json:"total"`  // of the proxies that it configures
	// Effects are the proxies of the page that was asked for, ascending by storage name of the first; those with the same
	// places are together. Places is empty where none of its items applies to anything.
	Effects []Effect `json:"effects"`
	// Unresolved says which references of the policy find nothing (policy.Dangling); in JSON by their texts.
	Unresolved []resource.Warning `json:"unresolved"`
	Next       string             `json:"next,omitempty"` // where the next page is; "" after the last
}

// Zones returns the zones of the proxies in the answer, ascending, each once.
func (a EffectAnswer) Zones() []string {
	var zones []string
	for _, e := range a.Effects {
		for _, dp := range e.Dataplanes {
			zones = append(zones, dp.Zone)
		}
	}
	slices.Sort(zones)
	return slices.Compact(zones)
}

// Effect is what a policy comes to on some proxies.
type Effect struct {
	Dataplanes []Dataplane          `json:"dataplanes"` // ascending by storage name
	Places     []policy.PlaceEffect `json:"places"`
}

// Effect returns where a policy wins a field, where it is masked, by whom and why, on one page of the proxies that it
// configures; and what of it finds nothing. name is as for Rules. Cost: a look at each proxy, and the resolving of the
// policy's type on each of the page; proxies that the same policies configure cost it once.
//
// Errors: *NotFoundError for the Mesh or the policy (also of a kind that is no policy); what the store says.
func (r *Resolver) Effect(ctx context.Context, kind, mesh, name string, page policy.Page) (EffectAnswer, error) {
	ix, rev, err := r.existing(ctx, mesh)
	if err != nil {
		return EffectAnswer{}, err
	}
	p, err := ix.named(resource.Key{Kind: kind, Mesh: mesh, Name: name})
	if err != nil {
		return EffectAnswer{}, err
	}
	answer := EffectAnswer{Revision: rev, Policy: nameOf(p.Resource), Shadow: p.Shadow(), Effects: []Effect{}, Unresolved: []resource.Warning{}}
	effects := policy.NewEffects(p)
	at := map[string]int{}
	for _, px := range ix.proxies.Items() {
		in := r.about(ix, px)
		if !strings.Contains(px.Name, page.Name) || !effects.Configures(in) {
			continue
		}
		nth := answer.Total
		answer.Total++
		if nth < page.Offset || nth-page.Offset >= page.Size {
			continue
		}
		places, alike, _ := effects.On(in)
		i, known := at[alike]
		if !known {
			if places == nil {
				places = []policy.PlaceEffect{}
			}
			i = len(answer.Effects)
			at[alike] = i
			answer.Effects = append(answer.Effects, Effect{Places: places})
		}
		answer.Effects[i].Dataplanes = append(answer.Effects[i].Dataplanes, nameOf(px.Resource))
	}
	answer.Next = page.After(answer.Total)
	known := policy.Known{Destinations: ix.destinations, Proxies: ix.all(), Around: ix.around()}
	answer.Unresolved = append(answer.Unresolved, policy.Dangling(p, known)...)
	return answer, nil
}

// Zones returns the zones that there are proxies of in a mesh, ascending, each once; a proxy without the label of a zone
// counts for none.
//
// Errors: *NotFoundError for the Mesh; what the store says.
func (r *Resolver) Zones(ctx context.Context, mesh string) ([]string, error) {
	ix, _, err := r.existing(ctx, mesh)
	if err != nil {
		return nil, err
	}
	var zones []string
	for px := range ix.all() {
		if zone := px.Zone(); zone != "" {
			zones = append(zones, zone)
		}
	}
	slices.Sort(zones)
	return slices.Compact(zones), nil
}

// PoliciesAnswer is the policies in force on one proxy, in order. For example:
//
//	{"revision": 12, "dataplane": {"kri": "kri_dp_default_east_first_web_", "name": "web", "namespace": "first", "zone": "east"},
//	 "policies": [ … ]}
//
// policy.PolicyInForce has an example of an element.
type PoliciesAnswer struct {
	Revision  resource.Revision      `json:"revision"` // of the zone's store
	Dataplane Dataplane              `json:"dataplane"`
	Policies  []policy.PolicyInForce `json:"policies"` // not nil
}

// Policies returns the policies in force on a proxy, weakest first within each type, and why each is. name is as for
// Rules.
//
// Errors: *NotFoundError for the Mesh or the Dataplane; what the store says.
func (r *Resolver) Policies(ctx context.Context, mesh, name string) (PoliciesAnswer, error) {
	in, rev, err := r.input(ctx, mesh, name)
	if err != nil {
		return PoliciesAnswer{}, err
	}
	return PoliciesAnswer{Revision: rev, Dataplane: nameOf(in.Proxy.Resource), Policies: policy.Policies(in, policy.Filter{})}, nil
}

func nameOf(r resource.Resource) Dataplane {
	id := r.Identity()
	return Dataplane{KRI: id.KRI(""), Name: id.Name, Namespace: id.Namespace, Zone: id.Zone}
}
