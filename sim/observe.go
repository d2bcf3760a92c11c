package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

// Ask sends GET path to the REST API of a control plane and returns its answer, whatever its status. Several goroutines may call it.
type Ask func(ctx context.Context, path string) (status int, body []byte, err error)

// Observe is Run for a federation that runs elsewhere: it asks the control planes of the scenario, "global" and the zones by name,
// and checks what the scenario expects before its first step. What is in force, who gets what and what a policy comes to is what the planes
// answer. The steps and invariants of the scenario are left out. The planes are to have the documents, and to have synced them; their
// answers are remembered by nobody: the Result asks again.
//
// Errors: that a plane does not answer, or not as a control plane does.
func Observe(ctx context.Context, s *Scenario, planes map[string]Ask) (*Result, error) {
	begin := time.Now()
	r := &run{scenario: s, result: newResult(s)}
	r.result.Counts.Steps = 0
	state := &state{home: s.Mesh, planes: map[string]*plane{}}
	for _, name := range sortedKeys(planes) {
		all, err := contents(ctx, planes[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		zone := name
		if name == globalPlane {
			zone = ""
		}
		state.names = append(state.names, zone)
		state.planes[zone] = &plane{all: all, res: remote{planes[name], resolver.New(resolver.Config{Source: frozen(all)})}}
	}
	slices.Sort(state.names)
	state.synced = func(id resource.Identity) ([]SyncRow, error) {
		return state.syncedOf(id, func(zone, path string) (int, []byte, error) { return planes[planeName(zone)](ctx, path) })
	}
	if err := r.expect(ctx, state, s.Expect, 0); err != nil {
		return nil, err
	}
	r.result.state = state
	r.result.Duration = time.Since(begin)
	r.result.conclude()
	return r.result, nil
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
	path := pathOf(key) + "/_effective?" + url.Values{"type": {f.Kind}, "to": {f.To}, "from": {f.From}}.Encode()
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

// Differences returns what two results of one scenario answer differently, a line for each: the expectations before the first step, what
// is in force on every proxy with who gave it and who lost, and what every policy comes to in every zone. Equal federations have none,
// wherever they run.
func Differences(ctx context.Context, a, b *Result) ([]string, error) {
	var lines []string
	ofA, err := a.answers(ctx)
	if err != nil {
		return nil, err
	}
	ofB, err := b.answers(ctx)
	if err != nil {
		return nil, err
	}
	for _, key := range sortedWords(differing(ofA, ofB)) {
		lines = append(lines, fmt.Sprintf("%s: %s, and %s", key, orNone(ofA[key]), orNone(ofB[key])))
	}
	return lines, nil
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// answers writes all that a result answers, by what it is about.
func (r *Result) answers(ctx context.Context) (map[string]string, error) {
	if r.state == nil {
		return nil, ErrNoState
	}
	all := map[string]string{}
	for _, o := range r.Expectations {
		if o.At == 0 && !strings.HasPrefix(o.ID, "steps[") {
			all[o.ID+" "+o.Subject] = string(o.Status) + ": " + o.Got
		}
	}
	if len(r.Proxies("")) > 0 {
		answers, err := r.Effective(ctx, Query{})
		if err != nil {
			return nil, err
		}
		for _, a := range answers {
			for _, fields := range []map[placedField]policy.Field{towards(a.Destinations), inbounds(a.Inbounds), whole(a.EffectiveAnswer.Proxy)} {
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
	return all, nil
}
