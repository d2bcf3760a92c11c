package lint

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/meridian-mesh/meridian/api"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

// presumeTraps finds role traps in namespaces whose proxies are not among the documents. A producer's service has proxies in its
// namespace, so a default of a consumer there meets the producer's policy on each of them that both select. That is presumed of one proxy,
// with no more than the labels that the two targetRefs ask for, and the resolver is asked what it gets.
func (l *linter) presumeTraps(ctx context.Context) {
	for _, s := range l.sites {
		if s.plane.Zone == "" {
			continue
		}
		consumers := map[territory][]*doc{}
		for _, d := range s.docs {
			if d.policy && d.stored.Role() == resource.RoleConsumer {
				at := territoryOf(d)
				consumers[at] = append(consumers[at], d)
			}
		}
		presumed := map[string]map[resource.Key]resource.Resource{} // by mesh
		for _, d := range s.docs {
			for _, r := range s.presumed(d, consumers) {
				if presumed[r.Mesh] == nil {
					presumed[r.Mesh] = map[resource.Key]resource.Resource{}
				}
				presumed[r.Mesh][r.Key] = r
			}
		}
		for _, mesh := range slices.Sorted(maps.Keys(presumed)) {
			l.trapsOn(ctx, s, mesh, slices.Collect(maps.Values(presumed[mesh])))
		}
	}
}

// territory is where the policies of a kind meet that are of one namespace.
type territory struct{ kind, mesh, namespace string }

func territoryOf(d *doc) territory {
	return territory{d.stored.Kind, d.stored.Mesh, d.stored.Namespace()}
}

// presumed returns what is to be there for the producer's policy d to meet the defaults of consumers in its namespace: a proxy for each of
// them, and the services that d names if no service is among the documents.
func (s *site) presumed(d *doc, consumers map[territory][]*doc) (all []resource.Resource) {
	at := territoryOf(d)
	if !d.policy || d.stored.Role() != resource.RoleProducer || len(consumers[at]) == 0 || s.view.proxies[meshKind{at.mesh, at.namespace}] > 0 {
		return nil
	}
	producer, err := policy.Parse(d.stored)
	if err != nil {
		return nil
	}
	for _, other := range consumers[at] {
		consumer, err := policy.Parse(other.stored)
		if err != nil {
			continue
		}
		if labels, ok := commonLabels(producer.Target, consumer.Target); ok {
			labels[resource.LabelNamespace] = at.namespace
			all = append(all, s.made("Dataplane", at.mesh, fmt.Sprintf("presumed-%d-%d", d.number, other.number), labels,
				`networking: {address: 192.0.2.1, inbound: [{port: 80, tags: {kuma.io/service: presumed}}]}`)...)
		}
	}
	if len(all) == 0 || s.view.count[meshKind{at.mesh, "MeshService"}] > 0 {
		return all
	}
	for _, it := range producer.To {
		port := "port: 80"
		if section := it.Target.SectionName; section != "" {
			if _, err := strconv.ParseUint(section, 10, 16); err == nil {
				port = "port: " + section
			} else {
				port += ", name: " + strconv.Quote(section)
			}
		}
		all = append(all, s.made("MeshService", at.mesh, it.Target.Name, map[string]string{resource.LabelNamespace: at.namespace},
			`spec: {selector: {dataplaneTags: {kuma.io/service: presumed}}, ports: [{`+port+`, targetPort: 80, appProtocol: http}]}`)...)
	}
	return all
}

// commonLabels returns the labels of a proxy that both targetRefs select, whatever else it is; ok is false if there is none, or it takes
// more than labels.
func commonLabels(refs ...policy.TargetRef) (labels map[string]string, ok bool) {
	labels = map[string]string{}
	for _, ref := range refs {
		sidecars := len(ref.ProxyTypes) == 0 || slices.Contains(ref.ProxyTypes, policy.ProxySidecar)
		if ref.Kind != "Mesh" && ref.Kind != "Dataplane" || !sidecars || ref.Name != "" || ref.Namespace != "" || ref.SectionName != "" || len(ref.Tags) > 0 {
			return nil, false
		}
		for k, v := range ref.Labels {
			if other, there := labels[k]; there && other != v {
				return nil, false
			}
			labels[k] = v
		}
	}
	return labels, true
}

// made returns a document as the plane stores it; none if the plane does not take it.
func (s *site) made(kind, mesh, name string, labels map[string]string, rest string) []resource.Resource {
	text := fmt.Sprintf("{type: %s, mesh: %q, name: %q, labels: {", kind, mesh, name)
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		text += fmt.Sprintf("%q: %q, ", k, labels[k])
	}
	read, err := policy.Schemas().Read("", []byte(text+"}, "+rest+"}"), resource.ReadOptions{})
	if err != nil || len(read) != 1 {
		return nil
	}
	stored, _, err := api.Accept(s.plane, read[0].Resource)
	if err != nil {
		return nil
	}
	return []resource.Resource{stored}
}

// trapsOn says which role traps there are with some more resources in a mesh.
func (l *linter) trapsOn(ctx context.Context, s *site, mesh string, more []resource.Resource) {
	with := &view{site: s, resources: slices.Clone(s.view.resources)}
	for _, r := range more {
		r.Version = 1
		with.resources = append(with.resources, arrived{r, nil})
	}
	slices.SortStableFunc(with.resources, func(a, b arrived) int { return a.Key.Compare(b.Key) })
	survey, err := resolver.New(resolver.Config{Source: with}).Survey(ctx, mesh)
	if err != nil {
		return // the Mesh is not there, or does not parse: another finding says so
	}
	isPresumed := map[string]bool{}
	for _, r := range more {
		isPresumed[r.Identity().KRI("")] = true
	}
	m := newMeeting()
	for _, place := range survey.Places {
		on := slices.ContainsFunc(place.Groups, func(g *policy.Group) bool {
			return slices.ContainsFunc(g.Proxies, func(px *policy.Proxy) bool { return isPresumed[px.Identity().KRI("")] })
		})
		if !on {
			continue
		}
		for _, f := range place.Fields {
			l.meetAt(m, f, place, s.view)
		}
	}
	type trap struct {
		winner, loser *doc
		item          int
	}
	said := map[trap]bool{}
	m.sort()
	for _, g := range m.order {
		for _, k := range m.masks[g] {
			at := trap{k.winner.doc, g.doc, k.winner.item}
			if k.winner.doc != nil && k.winner.doc != g.doc && k.by == policy.ByRole && m.differs(k) && l.isTrap(k) && !said[at] {
				said[at] = true
				l.sayTrap(k, "every proxy that both select in")
			}
		}
	}
}
