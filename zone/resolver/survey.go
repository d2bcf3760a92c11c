package resolver

import (
	"context"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// Survey is what all policies of a mesh come to on all its proxies.
type Survey struct {
	Groups []*policy.Group
	Places []*policy.Place
	// Unresolved says of each policy, shadow ones too, which of its references find nothing (policy.Dangling). Policies
	// without any are not in it.
	Unresolved map[resource.Key][]resource.Warning
}

// Survey returns what all policies of a mesh come to. Cost: see policy.Survey; far less than Effect for each policy.
//
// Errors: *NotFoundError for the Mesh; what the store says.
func (r *Resolver) Survey(ctx context.Context, mesh string) (Survey, error) {
	ix, _, err := r.existing(ctx, mesh)
	if err != nil {
		return Survey{}, err
	}
	s := policy.NewSurvey(ix.input(nil))
	for px := range ix.all() {
		s.Add(px)
	}
	answer := Survey{Groups: s.Groups(), Places: s.Places(), Unresolved: map[resource.Key][]resource.Warning{}}
	for kind := range ix.policies {
		for _, p := range ix.list(kind) {
			if !policy.References(p) {
				continue
			}
			known := policy.Known{Destinations: ix.destinations, Proxies: ix.all(), Around: ix.around()}
			if px := s.First(p); px != nil { // as a rule there is no need to look through all
				all := known.Proxies
				known.Proxies = func(yield func(*policy.Proxy) bool) {
					if yield(px) {
						all(yield)
					}
				}
			}
			if found := policy.Dangling(p, known); len(found) > 0 {
				answer.Unresolved[p.Key] = found
			}
		}
	}
	return answer, nil
}
