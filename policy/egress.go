package policy

import "slices"

// EgressRules is what the policies of one type come to on a zone egress, for one service behind it. No list is nil.
type EgressRules struct {
	TagRules []TagRule     `json:"tagRules"` // by clients, or, of a type that has only `to`, by proxies; the first that matches is in force
	Inbound  []InboundRule `json:"inbound"`  // whoever the client is: one or none
	// Resources is what the `to` items come to; only those for a MeshExternalService are ever looked up.
	Resources []ResourceRule `json:"resources"`
}

// OnEgress returns what is in force on a zone egress for the service that tags describe: those of an ExternalService, or
// the tag kuma.io/service alone. Of in the proxy and the gateways do not count: all policies of the mesh take part,
// whatever their zone and namespace, but for shadow ones. Types that are not marked Egress have no rules.
//
// An egress is what clients of many namespaces share, so a policy applies if it selects the service: with its top-level
// targetRef, if the type has `from`, and otherwise with an item of `to`. Such an item is turned around: it is in force
// on what the top-level targetRef selects.
//
// The error says that too many tags meet on one set of clients; there are no tag rules then.
func OnEgress(in Input, t Type, tags map[string]string) (EgressRules, error) {
	rules := EgressRules{TagRules: []TagRule{}, Inbound: []InboundRule{}, Resources: []ResourceRule{}}
	if !t.Egress {
		return rules, nil
	}
	policies := slices.DeleteFunc(slices.Clone(in.Policies[t.Kind]), (*Policy).Shadow)
	selecting := slices.DeleteFunc(slices.Clone(policies), func(p *Policy) bool {
		if t.From {
			return !selectsService(p.Target, tags)
		}
		return !slices.ContainsFunc(p.To, func(it Item) bool { return selectsService(it.Target, tags) })
	})
	sortPolicies(selecting)
	var tagged []tagRule
	var err error
	if t.From {
		tagged, err = tagRules(fromEntries(selecting), true)
		if entries := inboundEntries(t, selecting); len(entries) > 0 {
			rules.Inbound = append(rules.Inbound, InboundRule{Conf: t.merged(entries), Origin: ruleOrigins(entries)})
		}
	} else {
		tagged, err = tagRules(turnedEntries(selecting, tags), false)
	}
	for _, r := range tagged {
		rules.TagRules = append(rules.TagRules, r.render(t)...)
	}
	if t.To {
		sortPolicies(policies)
		entries := toEntries(policies) // also of policies for a route: the top-level targetRef has no say here
		sortEntries(entries, compareOutbound)
		rules.Resources = renderResources(t, resolveEntries(in, entries))
	}
	return rules, err
}

// selectsService says whether a targetRef selects a service by its tags.
func selectsService(ref TargetRef, tags map[string]string) bool {
	want := tagsOf(ref)
	return want.ok && selects(want.tags, tags)
}

// turnedEntries returns the `to` items that select a service, each with the top-level targetRef of its policy in place
// of its own.
func turnedEntries(policies []*Policy, tags map[string]string) []Entry {
	var entries []Entry
	for _, e := range toEntries(policies) {
		if !selectsService(e.Item.Target, tags) {
			continue
		}
		it := *e.Item
		it.Target, it.tags = e.Policy.Target, tagsOf(e.Policy.Target)
		e.Item = &it
		entries = append(entries, e)
	}
	return entries
}
