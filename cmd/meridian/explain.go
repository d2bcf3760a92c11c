package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/policy/catalog"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

func (c *cli) explainCommand() *cobra.Command {
	var q question
	output := newChoice("text", "json", "yaml")
	cmd := &cobra.Command{
		Use:   "explain DATAPLANE",
		Short: "Say in words what is in force on a proxy, who set it, who lost, and by which rule",
		Long: "Say in words what is in force on a proxy, who set it, who lost, and by which rule: for traffic to a service with\n" +
			"--to, for traffic that the proxy takes with --from, and with neither for all traffic that it takes and for the\n" +
			"proxy as a whole. --field narrows the answer to a field, or to those below it. If no policy sets it, each policy\n" +
			"of its type is named with the reason why it has no say.",
		Example: "  meridian explain consumer.first-consumer --to demo-app --field http.requestTimeout\n" +
			"  meridian explain demo-app --type meshtrafficpermission --from http,kuma.io/service=web\n" +
			"  meridian explain web --to backend -f mesh.yaml -f policies/",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&q.To, "to", "", "traffic to this destination: its name, name.namespace or KRI")
	explainFlags(cmd, &q)
	cmd.Flags().VarP(output, "output", "o", "what to print")
	asked := newAskFlags(cmd)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		q.proxy, q.mesh = args[0], c.mesh
		if err := q.check(); err != nil {
			return err
		}
		return c.ask(ctx, asked, func(api *client) error { return c.printExplanation(ctx, api, q, output.value) })
	})
	return cmd
}

// printExplanation asks a control plane, and prints what it says.
func (c *cli) printExplanation(ctx context.Context, api *client, q question, output string) error {
	in, header, err := api.inForce(ctx, q.mesh, q.proxy, q.Filter)
	if err != nil {
		return err
	}
	e, err := api.explain(ctx, q, in)
	if err != nil {
		return err
	}
	c.warnOld(header)
	e.Knowledge = knowledgeOf(header)
	if output != "text" {
		return c.print(output, e)
	}
	return e.write(c.out)
}

// explainFlags adds the flags that say what is to be explained.
func explainFlags(cmd *cobra.Command, q *question) {
	cmd.Flags().StringVar(&q.From, "from", "", fromUsage)
	cmd.Flags().StringVar(&q.Listener, "listener", "", listenerUsage)
	cmd.Flags().StringVar(&q.Kind, "type", "", "only policies of this kind")
	cmd.Flags().StringVar(&q.field, "field", "", "only this field and those below it, as in http.requestTimeout")
}

// question is what explain was asked.
type question struct {
	mesh, proxy string
	policy.Filter
	field string // "": all
	// kinds are the types of policy that have the field, in the order of answers; with --type that one alone. Empty
	// only without --type and --field.
	kinds []string
}

// check puts the type and the field into the words of answers. The error names the nearest known ones.
func (q *question) check() error {
	if q.Kind != "" {
		d, err := kindNamed(q.Kind)
		if err != nil {
			return err
		}
		q.Kind = d.Kind
		if _, ok := policy.LookupType(q.Kind); !ok {
			return usage("%s is no policy that is resolved", q.Kind)
		}
		q.kinds = []string{q.Kind}
	}
	if q.field != "" {
		if err := q.checkField(); err != nil {
			return err
		}
	}
	// Where the types that are left have no say, nothing could be answered.
	if len(q.kinds) > 0 && !slices.ContainsFunc(q.kinds, q.fits) {
		if t, _ := policy.LookupType(q.kinds[0]); q.To == "" && t.To {
			return usage("a %s is about traffic to a destination: say which with --to", q.kinds[0])
		}
		return usage("a %s has no say there: leave --to and --from out", q.kinds[0])
	}
	return nil
}

// fits says whether a type of policy can be part of the answer.
func (q *question) fits(kind string) bool {
	t, _ := policy.LookupType(kind)
	in := t.From || t.Rules
	switch {
	case q.To != "":
		return t.To || q.From != "" && in
	case q.From != "":
		return in
	}
	return in || t.Single
}

// checkField fills in the types that have the field.
func (q *question) checkField() error {
	if _, conf, ok := strings.Cut(q.field, "default."); ok { // as it is written in a document
		q.field = conf
	}
	// Fields of routes are named after what the rules match, so any name may be one.
	last := q.field[strings.LastIndexByte(q.field, '.')+1:]
	routes := last == "filters" || last == "backendRefs"
	kinds, known := []string{}, map[string]bool{}
	for _, t := range policy.Types {
		if q.Kind != "" && q.Kind != t.Kind {
			continue
		}
		fields := confFields(t)
		for path := range fields {
			known[path] = true
		}
		if len(matching(fields, q.field)) > 0 || routes && len(fields) == 0 {
			kinds = append(kinds, t.Kind)
		}
	}
	if len(kinds) > 0 {
		q.kinds = kinds
		return nil
	}
	paths := slices.Sorted(maps.Keys(known))
	all := "; --type KIND lists the fields of one kind"
	if q.Kind != "" {
		all = "; known: " + strings.Join(paths, ", ")
	}
	near := ""
	if n := nearestField(q.field, paths); n != "" {
		near = "; did you mean " + n + "?"
	}
	kind := q.Kind
	if kind == "" {
		kind = "a policy"
	}
	return usage("no field %q in the settings of %s%s%s", q.field, kind, near, all)
}

// confFields returns the fields of the settings of a type, by path; empty for routes.
func confFields(t policy.Type) map[string]catalog.Field {
	kind, err := catalog.Lookup(t.Kind)
	if err != nil {
		return nil
	}
	return kind.Settings()
}

// matching returns the paths of fields that word means, sorted.
func matching(fields map[string]catalog.Field, word string) []string {
	var paths []string
	for path := range fields {
		if fieldMatches(path, word) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// fieldMatches says whether word names the field at path: by the whole path, its beginning, or its end.
func fieldMatches(path, word string) bool {
	below, ok := strings.CutPrefix(path, word)
	if word == "" || ok && (below == "" || below[0] == '.' || below[0] == '[') {
		return true
	}
	return strings.HasSuffix(path, "."+word)
}

// nearestField compares whole paths, and then their last words.
func nearestField(word string, paths []string) string {
	if near := resource.Nearest(word, paths); near != "" {
		return near
	}
	last := func(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }
	byLast := map[string]string{}
	for _, path := range slices.Backward(paths) {
		byLast[last(path)] = path
	}
	return byLast[resource.Nearest(last(word), slices.Sorted(maps.Keys(byLast)))]
}

// explanation is the answer of explain.
type explanation struct {
	Revision  resource.Revision  `json:"revision"` // of the control plane's store
	Dataplane resolver.Dataplane `json:"dataplane"`
	// Knowledge is of a global control plane: how fresh what it knows of the proxy's zone is.
	Knowledge []knowledge `json:"knowledge,omitempty"`
	Answers   []verdict   `json:"answers"`
	Listener  string      `json:"listener,omitempty"` // of a gateway, that was asked about
}

// States of a verdict.
const (
	stateSet     = "set"
	stateRemoved = "removed" // a policy removed what others said
	stateUnset   = "unset"   // no policy says anything
)

// verdict is what there is to say about one field in one place.
type verdict struct {
	Destination *target          `json:"destination,omitempty"`
	Inbound     *inbound         `json:"inbound,omitempty"` // with no destination either: the proxy as a whole
	Type        string           `json:"type,omitempty"`    // "": no policy of any type is in force there
	Matchers    []policy.Matcher `json:"matchers,omitempty"`
	Via         policy.Via       `json:"via,omitempty"`
	Field       string           `json:"field,omitempty"` // "": the type as a whole
	State       string           `json:"state"`
	Value       any              `json:"value,omitempty"`
	Default     string           `json:"default,omitempty"` // what holds if it is not set
	Origin      *policy.Origin   `json:"origin,omitempty"`
	Losers      []loser          `json:"losers,omitempty"`
	Others      []bystander      `json:"others,omitempty"` // of what is not set: the policies of the type
}

type target struct {
	Kind      string `json:"kind"`
	KRI       string `json:"kri"`
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Zone      string `json:"zone"`
	Section   string `json:"section"`
}

type inbound struct {
	Name string `json:"name"`
	Port uint32 `json:"port"`
}

type loser struct {
	policy.Loser
	Because string `json:"because"` // By, in words
}

// bystander is a policy that has no say, and why.
type bystander struct {
	KRI       string `json:"kri"`
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Zone      string `json:"zone"`
	Role      string `json:"role"`
	Reason    string `json:"reason"`
}

// explain turns what is in force into answers. Where a type or field was asked for and nothing sets it, it asks which
// policies there are.
func (c *client) explain(ctx context.Context, q question, in resolver.EffectiveAnswer) (explanation, error) {
	e := explanation{Revision: in.Revision, Dataplane: in.Dataplane, Answers: []verdict{}, Listener: q.Listener}
	configuring := sync.OnceValues(func() (map[string]bool, error) { return c.configuring(ctx, q, in.Dataplane) })
	add := func(where verdict, rules []policy.Applied) error {
		found, err := c.verdicts(ctx, q, in.Dataplane, configuring, where, rules)
		e.Answers = append(e.Answers, found...)
		return err
	}
	if q.To != "" {
		for _, to := range in.Destinations {
			at := verdict{Destination: &target{to.Kind, to.KRI, to.Name, to.Namespace, to.Zone, to.Section}}
			if err := add(at, to.Rules); err != nil {
				return e, err
			}
		}
	}
	if q.To == "" || q.From != "" {
		for _, from := range in.Inbounds {
			if err := add(verdict{Inbound: &inbound{from.Name, from.Port}}, from.Rules); err != nil {
				return e, err
			}
		}
	}
	if q.To == "" && q.From == "" && q.Listener == "" {
		if err := add(verdict{}, in.Proxy); err != nil {
			return e, err
		}
	}
	return e, nil
}

// verdicts returns what there is to say about one place. configuring says which policies configure the proxy.
func (c *client) verdicts(ctx context.Context, q question, proxy resolver.Dataplane, configuring func() (map[string]bool, error), where verdict, rules []policy.Applied) ([]verdict, error) {
	var found []verdict
	for _, a := range rules {
		for _, f := range a.Fields {
			if q.field != "" && !fieldMatches(f.Path, q.field) {
				continue
			}
			one := where
			one.Type, one.Matchers, one.Via, one.Field, one.Value, one.Origin = a.Type, a.Matchers, a.Via, f.Path, f.Value, &f.Origin
			one.State = stateSet
			if f.Value == nil {
				one.State, one.Default = stateRemoved, defaultOf(a.Type, f.Path)
			}
			for _, l := range f.Losers {
				one.Losers = append(one.Losers, loser{l, because(f.Origin, l)})
			}
			found = append(found, one)
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	for _, kind := range q.kinds {
		t, _ := policy.LookupType(kind)
		if !appliesTo(t, where) {
			continue
		}
		one := where
		one.Type, one.State = kind, stateUnset
		if paths := matching(confFields(t), q.field); q.field != "" && len(paths) == 1 {
			one.Field, one.Default = paths[0], defaultOf(kind, paths[0])
		} else {
			one.Field = q.field
		}
		var err error
		if one.Others, err = c.bystanders(ctx, q, proxy, configuring, one, rules); err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	if len(q.kinds) == 0 && (where.Destination != nil || where.Inbound != nil) {
		where.State = stateUnset
		found = append(found, where)
	}
	return found, nil
}

// appliesTo says whether a type of policy is about such a place at all.
func appliesTo(t policy.Type, where verdict) bool {
	switch {
	case where.Destination != nil:
		return t.To
	case where.Inbound != nil:
		return t.From || t.Rules
	}
	return t.Single
}

func defaultOf(kind, path string) string {
	t, _ := policy.LookupType(kind)
	if f, ok := confFields(t)[path]; ok {
		return f.DefaultWords()
	}
	return ""
}

// bystanders returns the policies of the type of unset, by name, with why they have no say there. rules are what is in
// force in the same place.
func (c *client) bystanders(ctx context.Context, q question, proxy resolver.Dataplane, configuring func() (map[string]bool, error), unset verdict, rules []policy.Applied) ([]bystander, error) {
	speaks := map[string]bool{}
	for _, a := range rules {
		for _, f := range a.Fields {
			if a.Type == unset.Type {
				speaks[f.Origin.KRI] = true
				for _, l := range f.Losers {
					speaks[l.Origin.KRI] = true
				}
			}
		}
	}
	d, _ := resource.LookupKind(unset.Type)
	mesh := meshOf(proxy.KRI, q.mesh)
	docs, err := c.list(ctx, collection(d, mesh))
	if err != nil {
		return nil, err
	}
	selecting, err := configuring()
	if err != nil {
		return nil, err
	}
	var all []bystander
	for _, doc := range docs {
		id := doc.Identity()
		b := bystander{KRI: id.KRI(""), Name: id.Name, Namespace: id.Namespace, Zone: id.Zone, Role: doc.Role()}
		b.Reason = outOfReach(doc.Resource, proxy)
		switch {
		case b.Reason != "":
		case speaks[b.KRI]:
			b.Reason = "applies, but says nothing about this field"
		case !selecting[b.KRI]:
			b.Reason = "its targetRef does not select this proxy"
		case unset.Destination != nil:
			b.Reason = "selects this proxy, but has no item about this destination"
		case unset.Inbound != nil:
			b.Reason = "has no item about this inbound"
		default:
			b.Reason = "selects this proxy, but says nothing"
		}
		all = append(all, b)
	}
	return all, nil
}

// outOfReach says why a policy does not get as far as its targetRef, "" if it does.
func outOfReach(p resource.Resource, proxy resolver.Dataplane) string {
	if p.Labels[resource.LabelEffect] == "shadow" {
		return "is a trial (" + resource.LabelEffect + ": shadow), never in force"
	}
	role := p.Role()
	elsewhere := p.Origin() == resource.OriginZone && p.Zone() != "" && proxy.Zone != "" && p.Zone() != proxy.Zone
	switch {
	case role == resource.RoleProducer:
		return ""
	case role != resource.RoleSystem && (elsewhere || p.Namespace() != proxy.Namespace):
		return roleWords[role] + " policy reaches only the proxies of its own namespace and zone"
	case elsewhere:
		return "reaches only the proxies of its own zone"
	}
	return ""
}

// configuring returns the policies that configure a proxy, by KRI, as its zone sees it: the same view as _effective.
func (c *client) configuring(ctx context.Context, q question, proxy resolver.Dataplane) (map[string]bool, error) {
	d, _ := resource.LookupKind("Dataplane")
	path, err := item(d, meshOf(proxy.KRI, q.mesh), proxy.KRI)
	if err != nil {
		return nil, err
	}
	var in resolver.PoliciesAnswer
	if _, err := c.get(ctx, path+"/_policies", &in); err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, p := range in.Policies {
		all[p.KRI] = true
	}
	return all, nil
}

// meshOf returns the mesh of a KRI.
func meshOf(kri, otherwise string) string {
	if id, _, err := resource.ParseKRI(kri); err == nil {
		return id.Mesh
	}
	return otherwise
}
