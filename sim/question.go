package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// ErrNoState is about the zero Result: there is nothing to ask.
var ErrNoState = errors.New("there is no federation to ask")

// Effective returns what is in force on the proxies that a query names, ascending by key, before the first step.
//
// Errors: ErrNoState; resource.ErrNotFound for a proxy, a service or an inbound that is not there; *resource.InvalidError for a type
// that is none.
func (r *Result) Effective(ctx context.Context, q Query) ([]ProxyAnswer, error) {
	if r.state == nil {
		return nil, ErrNoState
	}
	return r.state.effective(ctx, q)
}

// Proxies returns the keys of the proxies that a pattern names, ascending; "" is every proxy.
func (r *Result) Proxies(pattern string) []string {
	if r.state == nil {
		return nil
	}
	var keys []string
	for _, px := range r.state.called(pattern) {
		keys = append(keys, px.key)
	}
	return keys
}

// Sync returns what has become of a policy on every plane: global, and the zones ascending by name. policy is its key, after its
// kind if several have the same: "MeshTimeout east/shop/kv".
//
// Errors: ErrNoState; resource.ErrNotFound; that several policies have the key.
func (r *Result) Sync(policy string) ([]SyncRow, error) {
	if r.state == nil {
		return nil, ErrNoState
	}
	found, err := r.state.policy(policy)
	if err != nil {
		return nil, err
	}
	return r.state.synced(found.Identity())
}

// policy returns the one policy that a key names.
func (s *state) policy(key string) (resource.Resource, error) {
	kind, rest, ok := strings.Cut(key, " ")
	if !ok {
		kind, rest = "", key
	}
	byKey := map[string][]resource.Resource{}
	for _, zone := range s.names {
		for _, r := range s.planes[zone].all {
			if d, _ := resource.LookupKind(r.Kind); !d.Policy || !writtenOn(r, zone) || kind != "" && kind != r.Kind {
				continue
			}
			at := keyOn(s.home, zone, r)
			byKey[at] = append(byKey[at], r)
		}
	}
	keys := sortedKeys(byKey)
	at, several := meant(s.home, rest, keys)
	if len(several) > 0 {
		return resource.Resource{}, errors.New(ambiguous(rest, several))
	}
	found := byKey[at]
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		reason := ""
		if near := resource.Nearest(rest, keys); near != "" {
			reason = "; did you mean " + near + "?"
		}
		return resource.Resource{}, fmt.Errorf("policy %q: %w%s", key, resource.ErrNotFound, reason)
	}
	var kinds []string
	for _, r := range found {
		kinds = append(kinds, r.Kind)
	}
	return resource.Resource{}, fmt.Errorf("%q names policies of the kinds %s: write %q", key, strings.Join(kinds, ", "), kinds[0]+" "+key)
}

// PolicyRow is what one policy comes to in every zone.
type PolicyRow struct {
	Policy string `json:"policy"` // its key
	Type   string `json:"type"`
	Role   string `json:"role"`
	Shadow bool   `json:"shadow,omitempty"` // it is a trial, and the cells say what it would do
	Cells  []Cell `json:"cells"`            // one for each zone, ascending by name

	File string `json:"file,omitempty"` // that it is written in
	Line int    `json:"line,omitempty"`

	// Warnings are what the plane where it was written says about it.
	Warnings []Warning `json:"warnings,omitempty"`
}

// Warning is what a control plane says about a document that it takes.
type Warning struct {
	Code  resource.WarningCode `json:"code"`
	Field string               `json:"field"`
	Text  string               `json:"text"`
}

// CellState says what a policy comes to in one zone.
type CellState string

// What a policy comes to in one zone.
const (
	CellWins     CellState = "wins"     // it gives some proxy some value
	CellMasked   CellState = "masked"   // it applies, but others are stronger everywhere
	CellIdle     CellState = "idle"     // it selects proxies, but no item applies to anything
	CellNoMatch  CellState = "no match" // it is there, and selects no proxy
	CellNotSent  CellState = "not sent" // the zone does not get it: Rule says why
	CellNoProxy  CellState = "no proxy" // it is there, and the zone has no proxies at all
	CellNotThere CellState = "carried"  // a kind that is carried, and never resolved
)

// Cell is what a policy comes to in one zone.
type Cell struct {
	Zone    string       `json:"zone"`
	State   CellState    `json:"state"`
	Wins    int          `json:"wins"`    // proxies on which it gives a value
	Masked  int          `json:"masked"`  // proxies on which others mask all that it says
	Matched int          `json:"matched"` // proxies that it selects
	Proxies int          `json:"proxies"` // of the zone, in its mesh
	Rule    scope.RuleID `json:"rule,omitempty"`
	Because string       `json:"because,omitempty"`

	// By are those who mask it, ascending; the comparators that decided are in MaskedBy in the same order.
	By       []string            `json:"by,omitempty"`
	MaskedBy []policy.Comparator `json:"maskedBy,omitempty"`
}

// Policies returns what every policy comes to in every zone, before the first step: those of global first, then those of the zones,
// each ascending by key and type.
//
// Cost: that of resolving every policy on every proxy that it selects.
func (r *Result) Policies(ctx context.Context) ([]PolicyRow, error) {
	if r.state == nil {
		return nil, ErrNoState
	}
	var rows []PolicyRow
	for _, id := range r.state.policies() {
		row, err := r.state.row(ctx, id)
		if err != nil {
			return nil, err
		}
		at := r.at[row.Type+" "+row.Policy]
		row.File, row.Line = at.File, at.Line
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b PolicyRow) int {
		if a, b := strings.HasPrefix(a.Policy, globalPlane+"/"), strings.HasPrefix(b.Policy, globalPlane+"/"); a != b {
			if a {
				return -1
			}
			return 1
		}
		if c := strings.Compare(a.Policy, b.Policy); c != 0 {
			return c
		}
		return strings.Compare(a.Type, b.Type)
	})
	return rows, nil
}

func (s *state) row(ctx context.Context, id resource.Identity) (PolicyRow, error) {
	origin, _ := s.has(id.Zone, id)
	row := PolicyRow{Policy: keyOf(s.home, id), Type: id.Kind, Role: origin.Role()}
	warnings, err := s.warnings(ctx, origin, id.Zone)
	if err != nil {
		return row, err
	}
	for _, w := range warnings {
		row.Warnings = append(row.Warnings, Warning{w.Code, w.Field, w.Text})
	}
	synced, err := s.synced(id)
	if err != nil {
		return row, err
	}
	for _, at := range synced {
		if at.Plane == globalPlane {
			continue
		}
		cell, shadow, err := s.cell(ctx, id, at)
		if err != nil {
			return row, err
		}
		row.Shadow = row.Shadow || shadow
		row.Cells = append(row.Cells, cell)
	}
	return row, nil
}

func (s *state) cell(ctx context.Context, id resource.Identity, at SyncRow) (cell Cell, shadow bool, err error) {
	cell = Cell{Zone: at.Plane, State: CellNotSent, Rule: at.Rule, Because: at.Because}
	for _, px := range s.planes[at.Plane].all {
		if px.Kind == "Dataplane" && px.Mesh == id.Mesh {
			cell.Proxies++
		}
	}
	if !at.Has {
		return cell, false, nil
	}
	here, _ := s.has(at.Plane, id)
	if _, ok := policy.LookupType(id.Kind); !ok {
		cell.State = CellNotThere
		return cell, false, nil
	}
	effect, err := s.planes[at.Plane].resolver().Effect(ctx, here.Kind, here.Mesh, here.Name, policy.Everything)
	if err != nil {
		return cell, false, err
	}
	by := map[string]policy.Comparator{}
	for _, e := range effect.Effects {
		wins, masked := false, false
		for _, place := range e.Places {
			wins = wins || len(place.Wins) > 0
			for _, m := range place.Masked {
				masked = true
				by[s.originKey(m.Winner)] = m.By
			}
		}
		cell.Matched += len(e.Dataplanes)
		switch {
		case wins:
			cell.Wins += len(e.Dataplanes)
		case masked:
			cell.Masked += len(e.Dataplanes)
		}
	}
	for _, key := range sortedKeys(by) {
		cell.By, cell.MaskedBy = append(cell.By, key), append(cell.MaskedBy, by[key])
	}
	switch {
	case cell.Wins > 0:
		cell.State = CellWins
	case cell.Masked > 0:
		cell.State = CellMasked
	case cell.Matched > 0:
		cell.State = CellIdle
	case cell.Proxies == 0:
		cell.State = CellNoProxy
	default:
		cell.State = CellNoMatch
	}
	return cell, effect.Shadow, nil
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
