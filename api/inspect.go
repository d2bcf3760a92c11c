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

func (s *server) index(w http.ResponseWriter, _ *http.Request) error {
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
	}{s.Hostname, "Kuma", kumaVersion, s.Instance, s.Store.Epoch(), "", s.Version, s.mode(), s.Plane.Zone})
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
			ReadOnly:   d.SystemManaged || s.Plane.Federated,
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
				Name: d.Kind, ReadOnly: s.writable(d) != nil, Path: d.Plural, Singular: displayName(d.Kind),
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
	answer, err := s.Resolver.Rules(r.Context(), dp.Mesh, dp.Name)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, answer)
}

// effective answers field by field: what is in force, who gave it, who lost and why. ?kind= narrows it to one kind of
// policy, ?to= to one destination.
func (s *server) effective(w http.ResponseWriter, r *http.Request) error {
	dp, err := s.dataplane(r)
	if err != nil {
		return err
	}
	f := policy.Filter{Kind: r.URL.Query().Get("type"), To: r.URL.Query().Get("to")}
	answer, err := s.Effective(r.Context(), dp.Mesh, dp.Name, f)
	if isGone(err) && f.To != "" { // the proxy is there: we have just seen it
		return &failure{title: "Could not retrieve a destination", detail: fmt.Sprintf("Not found: no destination of the mesh goes by %q", f.To), err: err}
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, answer)
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
	return writeJSON(w, http.StatusOK, answer)
}

// zoneStatus answers with every zone, and whether it is connected and enabled.
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
		enabled, err := zoneEnabled(z)
		if err != nil {
			return err
		}
		answer = append(answer, entry{z.Name, enabled && online(insight)})
	}
	return writeJSON(w, http.StatusOK, answer)
}

func (s *server) zoneOverviews(w http.ResponseWriter, r *http.Request) error {
	d, _ := resource.LookupKind("Zone")
	return s.writePage(w, r, d, func(z resource.Resource) ([]byte, error) {
		return s.zoneOverviewOf(r.Context(), z, false)
	})
}

func (s *server) zoneOverview(w http.ResponseWriter, r *http.Request) error {
	d, _ := resource.LookupKind("Zone")
	z, err := s.find(r.Context(), d, "", r.PathValue("name"))
	if err != nil {
		return err
	}
	doc, err := s.zoneOverviewOf(r.Context(), z, true)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, json.RawMessage(doc))
}

// zoneOverviewOf returns a Zone and its ZoneInsight as one document. A zone without an insight has {} alone and no
// member at all in lists, as Kuma.
func (s *server) zoneOverviewOf(ctx context.Context, z resource.Resource, alone bool) ([]byte, error) {
	overview := struct {
		Type     string                     `json:"type"`
		Name     string                     `json:"name"`
		Created  time.Time                  `json:"creationTime"`
		Modified time.Time                  `json:"modificationTime"`
		Labels   map[string]string          `json:"labels,omitempty"`
		Zone     map[string]json.RawMessage `json:"zone"`
		Insight  map[string]json.RawMessage `json:"zoneInsight,omitzero"`
	}{Type: "ZoneOverview", Name: z.Name, Created: z.Created, Modified: z.Modified, Labels: z.Labels}
	var err error
	if overview.Zone, err = flatSpec(z); err != nil {
		return nil, err
	}
	insight, err := s.Store.Get(ctx, resource.Key{Kind: "ZoneInsight", Name: z.Name})
	switch {
	case err == nil:
		overview.Insight, err = flatSpec(insight)
	case isGone(err):
		err = nil
		if alone {
			overview.Insight = map[string]json.RawMessage{}
		}
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(overview)
}
