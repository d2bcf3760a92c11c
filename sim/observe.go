package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

// Ask sends GET path to the REST API of a control plane and returns its answer, whatever its status. Several goroutines may call it.
type Ask func(ctx context.Context, path string) (status int, body []byte, err error)

// Observe returns what a federation is at this moment that runs elsewhere, for questions (Result.Effective, Answers, …). planes are those that are
// up: "global", and zones by name. What is in force, who gets what and what a policy comes to is what they answer; nothing of it is
// remembered: the Result asks again. The expectations of the scenario are not looked at: Play does that.
//
// Errors: that a plane does not answer, or not as a control plane does.
func Observe(ctx context.Context, s *Scenario, planes map[string]Ask) (*Result, error) {
	asks := map[string]Ask{}
	for name, ask := range planes {
		if name == globalPlane {
			name = ""
		}
		asks[name] = ask
	}
	now, err := observed(ctx, s.Mesh, asks)
	if err != nil {
		return nil, err
	}
	r := newResult(s)
	r.state = now
	r.conclude()
	return r, nil
}

// observed returns the state of a federation that runs elsewhere, of the planes that are asked: "" is global. home is as in state.
func observed(ctx context.Context, home string, planes map[string]Ask) (*state, error) {
	s := &state{home: home, names: sortedKeys(planes), planes: map[string]*plane{}}
	for _, name := range s.names {
		s.planes[name] = &plane{}
	}
	var group errgroup.Group
	for name, ask := range planes {
		group.Go(func() (err error) {
			p := s.planes[name]
			if p.all, err = contents(ctx, ask); err != nil {
				return fmt.Errorf("%s: %w", planeName(name), err)
			}
			p.res = remote{ask, resolver.New(resolver.Config{Source: frozen(p.all)})}
			return nil
		})
	}
	s.synced = func(id resource.Identity) ([]SyncRow, error) {
		return s.syncedOf(id, func(zone, path string) (int, []byte, error) { return planes[zone](ctx, path) })
	}
	return s, group.Wait()
}

// contents returns all that a plane shows of its store to who asks, in key order.
func contents(ctx context.Context, ask Ask) ([]resource.Resource, error) {
	var all []resource.Resource
	for _, d := range resource.Kinds {
		if d.Plural == "" {
			continue
		}
		for offset := 0; ; {
			path := fmt.Sprintf("/%s?size=1000&offset=%d", d.Plural, offset)
			var page struct {
				Items []json.RawMessage
				Next  *string
			}
			status, body, err := ask(ctx, path)
			if err != nil {
				return nil, err
			}
			if status == http.StatusForbidden || status == http.StatusUnauthorized || status == http.StatusNotFound {
				break // secrets, or a kind that an older build does not know
			}
			if status != http.StatusOK {
				return nil, fmt.Errorf("GET %s: %d %s", path, status, body)
			}
			if err := json.Unmarshal(body, &page); err != nil {
				return nil, fmt.Errorf("GET %s: %w", path, err)
			}
			for _, item := range page.Items {
				read, err := policy.Schemas().Read(path, item, resource.ReadOptions{AsStored: true})
				if err != nil {
					return nil, err
				}
				all = append(all, read[0].Resource)
			}
			offset += len(page.Items)
			if page.Next == nil || *page.Next == "" || len(page.Items) == 0 {
				break
			}
		}
	}
	slices.SortFunc(all, func(a, b resource.Resource) int { return a.Key.Compare(b.Key) })
	return all, nil
}

// get reads the answer to a request that is to be answered with 200.
func get(ctx context.Context, ask Ask, path string, v any) error {
	status, body, err := ask(ctx, path)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("GET %s: %d %s", path, status, body)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// remote answers what the API of a plane answers.
type remote struct {
	ask   Ask
	local *resolver.Resolver // over what the plane has, for what its API does not tell: the codes of warnings
}

// Effective asks for _effective.
func (r remote) Effective(ctx context.Context, mesh, name string, f policy.Filter) (answer resolver.EffectiveAnswer, err error) {
	key := resource.Key{Kind: "Dataplane", Mesh: mesh, Name: name}
	path := pathOf(key) + "/_effective?" + url.Values{"type": {f.Kind}, "to": {f.To}, "from": {f.From}, "listener": {f.Listener}}.Encode()
	status, body, err := r.ask(ctx, path)
	if err != nil {
		return answer, err
	}
	switch status {
	case http.StatusNotFound:
		return answer, &resolver.NotFoundError{Key: key}
	case http.StatusBadRequest:
		return answer, &resource.InvalidError{Violations: []resource.Violation{{Reason: string(body)}}}
	case http.StatusOK:
		return answer, json.Unmarshal(body, &answer)
	}
	return answer, fmt.Errorf("GET %s: %d %s", path, status, body)
}

// EffectiveOn asks for one proxy after the other.
func (r remote) EffectiveOn(ctx context.Context, mesh string, names []string, f policy.Filter) ([]resolver.EffectiveAnswer, error) {
	answers := make([]resolver.EffectiveAnswer, len(names))
	for i, name := range names {
		var err error
		if answers[i], err = r.Effective(ctx, mesh, name, f); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return answers, nil
}

// Effect asks for _effect, page by page until it has the one that was asked for.
func (r remote) Effect(ctx context.Context, kind, mesh, name string, page policy.Page) (answer resolver.EffectAnswer, err error) {
	const size = 1000
	key := resource.Key{Kind: kind, Mesh: mesh, Name: name}
	for offset := page.Offset; ; offset += size {
		var part resolver.EffectAnswer
		if err := get(ctx, r.ask, fmt.Sprintf("%s/_effect?size=%d&offset=%d", pathOf(key), size, offset), &part); err != nil {
			return answer, err
		}
		part.Effects = append(answer.Effects, part.Effects...)
		answer = part
		if part.Next == "" || page.Size <= size {
			break
		}
	}
	answer.Next = ""
	of, err := r.local.Effect(ctx, kind, mesh, name, policy.Page{})
	answer.Unresolved = of.Unresolved
	return answer, err
}

// Matching asks for _resources/dataplanes.
func (r remote) Matching(ctx context.Context, kind, mesh, name string) ([]resource.Resource, error) {
	var all []resource.Resource
	path := pathOf(resource.Key{Kind: kind, Mesh: mesh, Name: name}) + "/_resources/dataplanes"
	for offset := 0; ; {
		var page struct {
			Items []struct {
				Mesh, Name string
				Labels     map[string]string
			}
			Next *string
		}
		if err := get(ctx, r.ask, fmt.Sprintf("%s?size=1000&offset=%d", path, offset), &page); err != nil {
			return nil, err
		}
		for _, item := range page.Items {
			all = append(all, resource.Resource{Key: resource.Key{Kind: "Dataplane", Mesh: item.Mesh, Name: item.Name}, Labels: item.Labels})
		}
		if offset += len(page.Items); page.Next == nil || *page.Next == "" || len(page.Items) == 0 {
			return all, nil
		}
	}
}

// Answers are what a federation answers at one moment, by what it is about.
type Answers map[string]string

// Answers asks everything: what is in force on every proxy, with who gave it and who lost; of every policy its role, the warnings about it, what it
// comes to in every zone, which proxies it selects, and which planes have it, by which rule or why not.
//
// Cost: as of Policies. Errors: ErrNoState; that a plane does not answer.
func (r *Result) Answers(ctx context.Context) (Answers, error) {
	if r.state == nil {
		return nil, ErrNoState
	}
	all := Answers{}
	if len(r.Proxies("")) > 0 {
		answers, err := r.Effective(ctx, Query{})
		if err != nil {
			return nil, err
		}
		for _, a := range answers {
			for _, fields := range fieldsOf(a.EffectiveAnswer) {
				for at, f := range fields {
					value := ValueText(f.Value) + " from " + r.state.originKey(f.Origin)
					for _, l := range f.Losers {
						value += fmt.Sprintf(", not %s from %s by %s", ValueText(l.Value), r.state.originKey(l.Origin), l.By)
					}
					all[strings.Join([]string{a.Proxy, at.kind, at.place, at.path}, " ")] = value
				}
			}
		}
	}
	rows, err := r.Policies(ctx)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		row.File, row.Line = "", 0
		text, err := json.Marshal(row)
		if err != nil {
			return nil, err
		}
		all[row.Type+" "+row.Policy] = string(text)
	}
	for _, id := range r.state.policies() {
		about := id.Kind + " " + keyOf(r.home, id)
		rows, err := r.state.synced(id)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			text := fmt.Sprintf("has it: %t, %s", row.Has, row.Because)
			if row.Rule != "" {
				text += " (" + string(row.Rule) + ")"
			}
			if row.Outcome == kds.Rejected || row.Outcome == kds.Quarantined { // whether the sender knows already that it arrived is another matter
				text += ", " + string(row.Outcome) + ": " + row.Reason
			}
			all[about+" on "+row.Plane] = text
		}
		if _, resolved := policy.LookupType(id.Kind); resolved {
			matched, err := r.state.matched(ctx, id)
			if err != nil {
				return nil, err
			}
			all[about+" selects"] = enumerate(matched)
		}
	}
	return all, nil
}

// Differences returns what other answers differently, a line for each. Equal federations have none, wherever they run.
func (a Answers) Differences(other Answers) []string {
	var lines []string
	for _, key := range sortedWords(differing(a, other)) {
		lines = append(lines, fmt.Sprintf("%s: %s, and %s", key, orNone(a[key]), orNone(other[key])))
	}
	return lines
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
