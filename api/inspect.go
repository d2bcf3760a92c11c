package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/meridian-mesh/meridian/policy"
	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

// readyTimeout is how long the store and the resolver may take to prove that they work.
const readyTimeout = 2 * time.Second

func isGone(err error) bool { return errors.Is(err, resource.ErrNotFound) }

func (s *server) mode() string {
	if s.Plane.Zone == "" {
		return "global"
	}
	return "zone"
}

func (s *server) index(w http.ResponseWriter, r *http.Request) error {
	cluster := s.Store.Epoch() // of a control plane that has no name of a federation
	if id, err := s.Store.Get(r.Context(), resource.Key{Kind: "Config", Name: resource.ClusterID}); err == nil {
		if spec, err := resource.Spec[*systemv1.Config](id); err == nil {
			cluster = spec.Config
		}
	}
	return writeJSON(w, http.StatusOK, struct {
		Hostname string `json:"hostname"`
		Product  string `json:"product"` // kumactl talks to no other
		Version  string `json:"version"`
		Instance string `json:"instanceId"`
		Cluster  string `json:"clusterId"`
		GUI      string `json:"gui"`
		Meridian string `json:"meridian"` // our own version
		Mode     string `json:"mode"`
		Zone     string `json:"zone,omitempty"`
	}{s.Hostname, "Kuma", kumaVersion, s.Instance, cluster, "", s.Version, s.mode(), s.Plane.Zone})
}

func (s *server) healthy(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, struct{}{})
}

// ready answers 200 if the store answers and the resolver has caught up with it. The global control plane is not asked:
// a zone serves without it.
func (s *server) ready(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	if _, err := s.Store.Get(ctx, resource.Key{Kind: "Mesh", Name: resource.DefaultMesh}); err != nil && !isGone(err) {
		return fmt.Errorf("store: %w", err)
	}
	if _, err := s.Resolver.Rules(ctx, resource.DefaultMesh, "-"); err != nil && !isGone(err) {
		return fmt.Errorf("resolver: %w", err)
	}
	return writeJSON(w, http.StatusOK, struct{}{})
}

func (s *server) globalStatus(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, s.Link())
}

// displayName returns MeshTimeout as "Mesh Timeout".
func displayName(kind string) string {
	var b strings.Builder
	for i, c := range kind {
		if i > 0 && unicode.IsUpper(c) && unicode.IsLower(rune(kind[i-1])) {
			b.WriteByte(' ')
		}
		b.WriteRune(c)
	}
	return b.String()
}

func pluralName(kind string) string {
	name := displayName(kind)
	if strings.HasSuffix(name, "sh") {
		return name + "es"
	}
	return name + "s"
}

func (s *server) resourceTypes(w http.ResponseWriter, _ *http.Request) error {
	type shape struct {
		TargetRef   bool `json:"isTargetRef"`
		To          bool `json:"hasToTargetRef"`
		From        bool `json:"hasFromTargetRef"`
		FromAsRules bool `json:"isFromAsRules"`
	}
	type entry struct {
		Name       string `json:"name"`
		ReadOnly   bool   `json:"readOnly"`
		Path       string `json:"path"`
		Scope      string `json:"scope"`
		Singular   string `json:"singularDisplayName"`
		Plural     string `json:"pluralDisplayName"`
		Federation bool   `json:"includeInFederation"`
		Policy     *shape `json:"policy,omitempty"`
	}
	answer := struct {
		Resources []entry `json:"resources"`
	}{[]entry{}}
	for _, d := range s.served {
		e := entry{
			Name: d.Kind, Path: d.Plural, Scope: "Global", Singular: displayName(d.Kind), Plural: pluralName(d.Kind),
			ReadOnly:   d.SystemManaged || s.Plane.Federated || s.Access.ReadOnly,
			Federation: d.Flow.Has(resource.ProvidedByGlobal|resource.ConsumedByZone) && !d.SystemManaged,
		}
		if d.Scope == resource.ScopeMesh {
			e.Scope = "Mesh"
		}
		if d.Policy {
			t, _ := policy.LookupType(d.Kind)
			e.Policy = &shape{TargetRef: d.TargetRef, To: t.To, From: t.From, FromAsRules: t.From && t.Rules}
		}
		answer.Resources = append(answer.Resources, e)
	}
	return writeJSON(w, http.StatusOK, answer)
}

func (s *server) policyTypes(w http.ResponseWriter, _ *http.Request) error {
	type entry struct {
		Name         string `json:"name"`
		ReadOnly     bool   `json:"readOnly"`
		Path         string `json:"path"`
		Singular     string `json:"singularDisplayName"`
		Plural       string `json:"pluralDisplayName"`
		Experimental bool   `json:"isExperimental"`
		TargetRef    bool   `json:"isTargetRefBased"`
		Inbound      bool   `json:"isInbound"`
		Outbound     bool   `json:"isOutbound"`
	}
	answer := struct {
		Policies []entry `json:"policies"`
	}{[]entry{}}
	for _, d := range s.served {
		if d.Policy {
			t, _ := policy.LookupType(d.Kind)
			answer.Policies = append(answer.Policies, entry{
				Name: d.Kind, ReadOnly: s.Access.ReadOnly || writable(s.Plane, d) != nil, Path: d.Plural, Singular: displayName(d.Kind),
				Plural: pluralName(d.Kind), TargetRef: d.TargetRef, Inbound: t.From || t.Rules, Outbound: t.To,
			})
		}
	}
	return writeJSON(w, http.StatusOK, answer)
}

func (s *server) rules(w http.ResponseWriter, r *http.Request) error {
	dp, err := s.dataplane(r)
	if err != nil {
		return err
	}
	rev := s.Store.Revision()
	answer, err := s.Resolver.Rules(r.Context(), dp.Mesh, dp.Name)
	if err != nil {
		return err
	}
	if err := s.markKnowledge(r.Context(), w, rev, dp.Zone()); err != nil {
		return err
	}
	return writeCompact(w, http.StatusOK, answer)
}

// gatewayRules answers with what is in force on the proxies that serve a MeshGateway.
func (s *server) gatewayRules(w http.ResponseWriter, r *http.Request) error {
	d, _ := resource.LookupKind("MeshGateway")
	gw, err := s.find(r.Context(), d, requestMesh(r), r.PathValue("name"))
	if err != nil {
		return err
	}
	answer, err := s.Resolver.GatewayRules(r.Context(), gw.Mesh, gw.Name)
	if err != nil {
		return err
	}
	return writeCompact(w, http.StatusOK, answer)
}

// effective answers field by field: what is in force, who gave it, who lost and why. policy.Filter says what ?type=,
// ?to=, ?from= and ?listener= narrow it to.
func (s *server) effective(w http.ResponseWriter, r *http.Request) error {
	dp, err := s.dataplane(r)
	if err != nil {
		return err
	}
	params := r.URL.Query()
	f := policy.Filter{Kind: params.Get("type"), To: params.Get("to"), From: params.Get("from"), Listener: params.Get("listener")}
	rev := s.Store.Revision()
	answer, err := s.Effective(r.Context(), dp.Mesh, dp.Name, f)
	if isGone(err) && f.To != "" { // the proxy is there: we have just seen it
		return s.noDestination(r.Context(), dp.Mesh, f.To, err)
	}
	if err != nil {
		return err
	}
	if err := s.markKnowledge(r.Context(), w, rev, dp.Zone()); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, answer)
}

// policies answers with the policies in force on a proxy, in order.
func (s *server) policies(w http.ResponseWriter, r *http.Request) error {
	dp, err := s.dataplane(r)
	if err != nil {
		return err
	}
	rev := s.Store.Revision()
	answer, err := s.Policies(r.Context(), dp.Mesh, dp.Name)
	if err != nil {
		return err
	}
	if err := s.markKnowledge(r.Context(), w, rev, dp.Zone()); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, answer)
}

// effect answers with what a policy comes to on one page of the proxies that it configures: where it wins, where it is
// masked; and what of it finds nothing.
func (s *server) effect(d resource.Descriptor, w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	p, err := s.find(r.Context(), d, requestMesh(r), r.PathValue("name"))
	if err != nil {
		return err
	}
	rev := s.Store.Revision()
	page := policy.Page{Name: q.name, Offset: q.offset, Size: q.size, Next: func(offset int) string { return q.address(r, offset) }}
	answer, zones, err := s.Effect(r.Context(), p.Kind, p.Mesh, p.Name, page)
	if err != nil {
		return err
	}
	if err := s.markKnowledge(r.Context(), w, rev, zones...); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, answer)
}

// zonesOf returns the zones of resources, sorted, each once.
func zonesOf(rs []resource.Resource) []string {
	var zones []string
	for _, r := range rs {
		zones = append(zones, r.Zone())
	}
	slices.Sort(zones)
	return slices.Compact(zones)
}

// maxKnown is up to how many destinations a 404 lists.
const maxKnown = 20

// noDestination returns the 404 for a destination that is not there: with the nearest, and with all if they are few.
func (s *server) noDestination(ctx context.Context, mesh, word string, err error) error {
	var known, alone []string
	for _, kind := range policy.DestinationKinds {
		found, err := s.all(ctx, kind, func(r resource.Resource) bool { return r.Mesh == mesh })
		if err != nil {
			return err
		}
		for _, r := range found {
			known = append(known, resource.StorageName(r.Display(), r.Namespace()))
			alone = append(alone, r.Display())
		}
	}
	detail := fmt.Sprintf("Not found: no destination of the mesh goes by %q", word)
	near := resource.Nearest(word, known)
	if near == "" {
		near = resource.Nearest(word, alone)
	}
	if near != "" {
		detail += "; did you mean " + near + "?"
	}
	slices.Sort(known)
	if known = slices.Compact(known); len(known) > 0 && len(known) <= maxKnown {
		detail += "; known: " + strings.Join(known, ", ")
	}
	return &failure{title: "Could not retrieve a destination", detail: detail, err: err}
}

// dataplane returns the proxy that the path names.
func (s *server) dataplane(r *http.Request) (resource.Resource, error) {
	d, _ := resource.LookupKind("Dataplane")
	return s.find(r.Context(), d, requestMesh(r), r.PathValue("name"))
}

// reference is how an inspection names a resource.
type reference struct {
	Type   string            `json:"type"`
	Mesh   string            `json:"mesh"`
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
}

// matchedDataplanes answers with one page of the proxies that a policy selects, by name.
func (s *server) matchedDataplanes(d resource.Descriptor, w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	p, err := s.find(r.Context(), d, requestMesh(r), r.PathValue("name"))
	if err != nil {
		return err
	}
	rev := s.Store.Revision()
	proxies, err := s.Resolver.Matching(r.Context(), p.Kind, p.Mesh, p.Name)
	if err != nil {
		return err
	}
	proxies = slices.DeleteFunc(slices.Clone(proxies), func(dp resource.Resource) bool { return !q.matches(dp) })
	slices.SortFunc(proxies, func(a, b resource.Resource) int { return a.Key.Compare(b.Key) })
	part, next := q.page(r, proxies)
	answer := struct {
		Total int         `json:"total"`
		Items []reference `json:"items"`
		Next  *string     `json:"next,omitempty"`
	}{len(proxies), []reference{}, next}
	for _, dp := range part {
		labels := dp.Labels
		if labels == nil {
			labels = map[string]string{}
		}
		answer.Items = append(answer.Items, reference{dp.Kind, dp.Mesh, dp.Name, labels})
	}
	if err := s.markKnowledge(r.Context(), w, rev, zonesOf(part)...); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, answer)
}

// zoneStatus answers with every zone, and whether it is connected, not stalled, and enabled.
func (s *server) zoneStatus(w http.ResponseWriter, r *http.Request) error {
	type entry struct {
		Name   string `json:"name"`
		Active bool   `json:"active"`
	}
	answer := []entry{}
	zones, err := s.all(r.Context(), "Zone", func(resource.Resource) bool { return true })
	if err != nil {
		return err
	}
	for _, z := range zones {
		insight, err := s.zoneInsight(r.Context(), z.Name)
		if err != nil {
			return err
		}
		enabled, err := resource.ZoneEnabled(z)
		if err != nil {
			return err
		}
		answer = append(answer, entry{z.Name, enabled && online(insight) && !s.stalled(z.Name)})
	}
	return writeJSON(w, http.StatusOK, answer)
}

// overviewKind is a kind that is shown together with what a control plane has observed of it, and the members of that
// document.
type overviewKind struct{ kind, insightKind, spec, insight string }

var overviews = []overviewKind{
	{"Zone", "ZoneInsight", "zone", "zoneInsight"},
	{"Dataplane", "DataplaneInsight", "dataplane", "dataplaneInsight"},
	{"ZoneIngress", "ZoneIngressInsight", "zoneIngress", "zoneIngressInsight"},
	{"ZoneEgress", "ZoneEgressInsight", "zoneEgress", "zoneEgressInsight"},
}

func (s *server) listOverviews(d resource.Descriptor, w http.ResponseWriter, r *http.Request) error {
	return s.writePage(w, r, d, func(res resource.Resource) ([]byte, error) {
		return s.overviewOf(r.Context(), res, false)
	})
}

func (s *server) overview(d resource.Descriptor, w http.ResponseWriter, r *http.Request) error {
	res, err := s.find(r.Context(), d, requestMesh(r), r.PathValue("name"))
	if err != nil {
		return err
	}
	rev := s.Store.Revision()
	doc, err := s.overviewOf(r.Context(), res, true)
	if err != nil {
		return err
	}
	if d.Kind == "Zone" { // the document itself is Kuma's, and knows connected or not
		if err := s.markKnowledge(r.Context(), w, rev, res.Name); err != nil {
			return err
		}
	}
	return writeJSON(w, http.StatusOK, json.RawMessage(doc))
}

// overviewOf returns a resource and its insight, the resource of the same mesh and name, as one document. Without an
// insight that member is {} in an answer about one resource and left out in lists, as Kuma.
func (s *server) overviewOf(ctx context.Context, r resource.Resource, alone bool) ([]byte, error) {
	i := slices.IndexFunc(overviews, func(o overviewKind) bool { return o.kind == r.Kind })
	o := overviews[i]
	spec, err := flatSpec(r)
	if err != nil {
		return nil, err
	}
	head, err := json.Marshal(struct {
		Type     string            `json:"type"`
		Mesh     string            `json:"mesh,omitempty"`
		Name     string            `json:"name"`
		Created  time.Time         `json:"creationTime"`
		Modified time.Time         `json:"modificationTime"`
		Labels   map[string]string `json:"labels,omitempty"`
	}{r.Kind + "Overview", r.Mesh, r.Name, r.Created, r.Modified, r.Labels})
	if err != nil {
		return nil, err
	}
	members := map[string]map[string]json.RawMessage{o.spec: spec}
	insight, err := s.Store.Get(ctx, resource.Key{Kind: o.insightKind, Mesh: r.Mesh, Name: r.Name})
	switch {
	case err == nil:
		if members[o.insight], err = flatSpec(insight); err != nil {
			return nil, err
		}
	case !isGone(err):
		return nil, err
	case alone:
		members[o.insight] = map[string]json.RawMessage{}
	}
	body, err := json.Marshal(members)
	if err != nil {
		return nil, err
	}
	head[len(head)-1] = ',' // one object of two: first what it is, then the rest
	return append(head, body[1:]...), nil
}
