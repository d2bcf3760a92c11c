package resolver

import (
	"context"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// Survey is what all policies of a mesh come to on all its proxies.
type Survey struct {
	Groups []*policy.Group
	// Unresolved says of each policy, shadow ones too, which of its references find nothing (policy.Dangling). Policies
	// without any are not in it.
	Unresolved map[resource.Key][]resource.Warning
}

// Survey returns what all policies of a mesh come to. Cost: a test of every policy on every proxy, and the resolving of
// each list of policies once, however many proxies have it; far less than Effect for each policy.
//
// Errors: *NotFoundError for the Mesh; what the store says.
func (r *Resolver) Survey(ctx context.Context, mesh string) (Survey, error) {
	ix, _, err := r.existing(ctx, mesh)
	if err != nil {
		return Survey{}, err
	}
	s := policy.NewSurvey()
	for _, px := range ix.proxies.Items() {
		s.Add(r.about(ix, px))
	}
	answer := Survey{Groups: s.Groups(), Unresolved: map[resource.Key][]resource.Warning{}}
	for kind := range ix.policies {
		for _, p := range ix.list(kind) {
			if !policy.References(p) {
				continue
			}
			known := policy.Known{Destinations: ix.destinations, Proxies: ix.all(), Around: ix.around()}
			if px := s.First(p); px != nil { // whom it selects is known: there is no need to look through all
				known.Proxies = func(yield func(*policy.Proxy) bool) { yield(px) }
			}
			if found := policy.Dangling(p, known); len(found) > 0 {
				answer.Unresolved[p.Key] = found
			}
		}
	}
	return answer, nil
}
