package policy

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// This file has what sets the two types of route apart: an item of `to` has rules instead of a `default`, the rules of
// several items are merged by what they match, and policies can configure the traffic that a route selects.

// routeRule is one rule of a MeshHTTPRoute.
type routeRule struct {
	matches any    // decoded JSON
	hash    string // matchesHash of matches
	name    string // what a person calls it: see HTTPMatch.String
	conf    any    // decoded JSON
}

// matchesHash names a list of matches, and is the value of matchesTag: base64 of the SHA-256 of its JSON.
func matchesHash(matches []HTTPMatch) string {
	data, err := json.Marshal(matches)
	if err != nil {
		panic(fmt.Sprintf("policy: matches do not encode: %v", err)) // they are texts
	}
	sum := sha256.Sum256(data)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// matchesTag is the tag that traffic has which a rule of a route selects, in rules by tag.
const matchesTag = "__rule-matches-hash__"

// httpRouteItem makes an item of a MeshHTTPRoute. Its conf is {rules, hostnames}; the rules are in reverse, as those
// that are written first are the strongest.
func httpRouteItem(ref TargetRef, rules, hostnames json.RawMessage) (Item, error) {
	var list []struct {
		Matches any `json:"matches"`
		Default any `json:"default"`
	}
	var typed []struct {
		Matches []HTTPMatch `json:"matches"`
	}
	it := newItem(ref, nil)
	for _, part := range []struct {
		data json.RawMessage
		into any
	}{{rules, &list}, {rules, &typed}, {hostnames, &it.hostnames}} {
		if part.data == nil {
			continue
		}
		if err := decode(part.data, part.into); err != nil {
			return it, err
		}
	}
	conf, shown := map[string]any{}, []any{}
	for i, r := range slices.Backward(list) {
		if r.Default == nil {
			r.Default = map[string]any{} // validation asks for it; a merge must not lose what weaker policies say
		}
		matches := typed[i].Matches
		names := make([]string, len(matches))
		for k, m := range matches {
			names[k] = m.String()
		}
		it.routes = append(it.routes, routeRule{matches: r.Matches, hash: matchesHash(matches), name: strings.Join(names, " | "), conf: r.Default})
		shown = append(shown, map[string]any{"matches": r.Matches, "default": r.Default})
	}
	if len(shown) > 0 {
		conf["rules"] = shown
	}
	if len(it.hostnames) > 0 {
		conf["hostnames"] = it.hostnames
	}
	it.Conf, it.plain = conf, conf
	return it, nil
}

// tcpRouteItem makes an item of a MeshTCPRoute. Its conf is the rule; without one, a rule that leads to the destination.
func tcpRouteItem(ref TargetRef, rules, _ json.RawMessage) (Item, error) {
	var list []any
	if rules != nil {
		if err := decode(rules, &list); err != nil {
			return Item{}, err
		}
	}
	if len(list) > 0 {
		return newItem(ref, list[0]), nil
	}
	weight := uint32(1)
	self, err := json.Marshal(BackendRef{TargetRef: ref, Weight: &weight})
	if err != nil {
		return Item{}, err
	}
	var backend any
	if err := decode(self, &backend); err != nil {
		return Item{}, err
	}
	return newItem(ref, map[string]any{"default": map[string]any{"backendRefs": []any{backend}}}), nil
}

// hostnamesOf returns the host names that entries are for, in the order of first occurrence; "" is every host.
func hostnamesOf(entries []Entry) []string {
	var hosts []string
	for _, e := range entries {
		for _, h := range e.Item.hosts() {
			if !slices.Contains(hosts, h) {
				hosts = append(hosts, h)
			}
		}
	}
	return hosts
}

func (it *Item) hosts() []string {
	if len(it.hostnames) == 0 {
		return []string{""}
	}
	return it.hostnames
}

// mergeHTTPRoutes returns the confs that entries come to, one per host name: rules for one host do not merge with those
// for every host.
//
// Rules with equal matches become one, in the place of the strongest; what is left is in the order in which the rules
// are tried.
func mergeHTTPRoutes(entries []Entry) []any {
	var confs []any
	for _, host := range hostnamesOf(entries) {
		merged := map[string]any{} // by hash
		var order []routeRule      // weakest first
		for _, e := range entries {
			if !slices.Contains(e.Item.hosts(), host) {
				continue
			}
			for _, r := range e.Item.routes {
				if _, ok := merged[r.hash]; ok {
					order = slices.DeleteFunc(order, func(o routeRule) bool { return o.hash == r.hash })
				}
				merged[r.hash] = mergePatch(merged[r.hash], r.conf)
				order = append(order, r)
			}
		}
		conf := map[string]any{}
		if len(order) > 0 {
			rules := make([]any, 0, len(order))
			for _, r := range slices.Backward(order) {
				rules = append(rules, map[string]any{"matches": r.matches, "default": merged[r.hash]})
			}
			conf["rules"] = rules
		}
		if host != "" {
			conf["hostnames"] = []any{host}
		}
		confs = append(confs, conf)
	}
	return confs
}

// traceableRoute returns the entry with a conf that can be traced: rules are members by their name, below the host name
// if there is one. The order of the rules is lost.
func traceableRoute(e Entry) Entry {
	rules := map[string]any{}
	for _, r := range e.Item.routes {
		rules[r.name] = mergePatch(rules[r.name], r.conf)
	}
	conf := map[string]any{"rules": rules}
	if len(e.Item.hostnames) > 0 {
		hosts := map[string]any{}
		for _, h := range e.Item.hostnames {
			hosts[h] = conf
		}
		conf = map[string]any{"hostnames": hosts}
	}
	it := *e.Item
	it.Conf = conf
	e.Item = &it
	return e
}

// HTTPMatches is one list of matches that rules by tag refer to by its hash.
type HTTPMatches struct {
	Match any    `json:"match"`
	Hash  string `json:"hash"`
}

// httpMatches returns what the rules of routes match, each list once, ascending by hash.
func httpMatches(rules []tagRule) []HTTPMatches {
	byHash := map[string]HTTPMatches{}
	for _, r := range rules {
		for _, e := range r.entries {
			for _, rule := range e.Item.routes {
				byHash[rule.hash] = HTTPMatches{Match: rule.matches, Hash: rule.hash}
			}
		}
	}
	matches := make([]HTTPMatches, 0, len(byHash))
	for _, hash := range slices.Sorted(maps.Keys(byHash)) {
		matches = append(matches, byHash[hash])
	}
	return matches
}

// taggedEntries returns the `to` entries of policies for rules by tag. Those of a policy for a route become one per rule
// of the route and item of the policy: the traffic to the destination of the rule that the rule selects.
func taggedEntries(policies, routes []*Policy) []Entry {
	if !slices.ContainsFunc(policies, onRoute) {
		return toEntries(policies)
	}
	var entries []Entry
	for _, p := range policies {
		if !onRoute(p) {
			entries = append(entries, toEntries([]*Policy{p})...)
			continue
		}
		var route *Policy
		for _, r := range slices.Backward(routes) { // here the last one of that name counts, for matching the first
			if r.display == p.Target.Name {
				route = r
				break
			}
		}
		if route == nil {
			continue // cannot be: the policy matches because there is one
		}
		for _, to := range route.To {
			for _, rule := range slices.Backward(to.routes) {
				ref := TargetRef{Kind: kindServiceSet, Name: to.Target.Name, Tags: map[string]string{matchesTag: rule.hash}}
				if to.Target.Kind == kindMesh || to.Target.Kind == kindSubset {
					ref.Kind, ref.Name = kindSubset, ""
				}
				tags := tagsOf(ref)
				for i := range p.To {
					it := p.To[i]
					it.Target, it.tags = ref, tags
					entries = append(entries, Entry{Policy: p, Index: i, Item: &it, list: "to"})
				}
			}
		}
	}
	return entries
}

func onRoute(p *Policy) bool { return p.Target.Kind == kindHTTPRoute }

// String describes the match in one line, such as: GET /api* ?version=2 x-canary=yes. A path ends with * if it is a
// prefix, and * alone is every path; ~ is for regular expressions, ^= for the beginning of a header, a name alone for a
// header that is present, with ! for one that is absent. Matches that select differently are written differently.
func (m HTTPMatch) String() string {
	var parts []string
	add := func(part ...string) { parts = append(parts, strings.Join(part, "")) }
	if m.Method != "" {
		add(string(m.Method))
	}
	switch p := m.Path; {
	case p == nil:
		add("*")
	case p.Type == PathPrefix:
		add(word(p.Value), "*")
	case p.Type == PathRegularExpression:
		add("~", word(p.Value))
	default:
		add(word(p.Value))
	}
	for _, q := range m.QueryParams {
		sign := "="
		if q.Type != "Exact" {
			sign = "~"
		}
		add("?", word(q.Name), sign, word(q.Value))
	}
	for _, h := range m.Headers {
		switch h.Type {
		case HeaderPresent:
			add(word(h.Name))
		case HeaderAbsent:
			add("!", word(h.Name))
		case HeaderRegularExpression:
			add(word(h.Name), "~", word(h.Value))
		case HeaderPrefix:
			add(word(h.Name), "^=", word(h.Value))
		default:
			add(word(h.Name), "=", word(h.Value))
		}
	}
	return strings.Join(parts, " ")
}

var plainWord = regexp.MustCompile(`^[a-zA-Z0-9/._:@%+-]+$`)

// word quotes a text that could be taken for something else.
func word(text string) string {
	if plainWord.MatchString(text) {
		return text
	}
	return strconv.Quote(text)
}
