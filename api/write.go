package api

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/meridian-mesh/meridian/policy"
	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

// What became of one document of a batch.
const (
	actionCreated   = "created"
	actionUpdated   = "updated"
	actionUnchanged = "unchanged" // it is stored like this already; nothing was written
	actionInvalid   = "invalid"
	actionSkipped   = "skipped" // nothing wrong with it, but another document of the batch was invalid
)

// draft is a document that somebody wants written.
type draft struct {
	resource.Resource
	ifMatch string // header If-Match; "": whatever is stored
	err     error  // why it cannot be written; what follows is then not set

	action   string
	role     string // "" for a kind without roles
	warnings []string
	stored   resource.Revision // the version that it replaces; 0: none
}

// commitOptions say what to do with a batch.
type commitOptions struct {
	keepGoing bool // write the valid documents even if others are not
	dryRun    bool // decide everything, write nothing
	// strictRole refuses a document that declares another role than it has; otherwise that is a warning.
	strictRole bool
}

// commit writes drafts as one batch, all or nothing (or all valid ones), and fills in what became of each. Nothing is
// written if a draft is invalid, unless keepGoing. What was read to decide is still true when the batch is written: if
// not, commit decides again.
//
// The error is about the batch as a whole (the store failed); what is wrong with one draft is in its err.
func (s *server) commit(ctx context.Context, drafts []*draft, o commitOptions) error {
	s.cascade.RLock()
	defer s.cascade.RUnlock()
	// A write that was asked for is finished even if the client does not wait for the answer.
	ctx = context.WithoutCancel(ctx)
	refused := make([]error, len(drafts)) // by the reader, before anything was compared with the store
	asked := make([]resource.Resource, len(drafts))
	for i, d := range drafts {
		refused[i], asked[i] = d.err, d.Resource
	}
	keys := map[resource.Key]bool{}
	for _, r := range asked {
		keys[r.Key] = true
	}
	for {
		meshes := map[string]bool{}
		for i, d := range drafts {
			if d.Resource, d.err = asked[i], refused[i]; d.err == nil && d.Kind == "Mesh" {
				meshes[d.Name] = true
			}
		}
		var ops []resource.Op
		seen := map[resource.Key]bool{}
		invalid := false
		for _, d := range drafts {
			switch {
			case d.err != nil:
			case seen[d.Key]:
				d.err = violation(d.Resource, "name", "is given twice in one batch")
			default:
				seen[d.Key] = true
				d.err = s.plan(ctx, d, meshes, o.strictRole)
			}
			switch {
			case d.err != nil:
				if storeFailed(d.err) {
					return d.err
				}
				d.action, invalid = actionInvalid, true
			case d.action != actionUnchanged:
				ops = append(ops, resource.Put(d.Resource).If(d.stored))
			}
			if d.Kind == "Mesh" && d.action == actionCreated && s.InitialPolicies != nil {
				initial, err := s.initial(ctx, d.Resource, keys)
				if err != nil {
					return err
				}
				ops = append(ops, initial...)
			}
		}
		if invalid && !o.keepGoing {
			for _, d := range drafts {
				if d.err == nil {
					d.action = actionSkipped
				}
			}
			return nil
		}
		if o.dryRun || len(ops) == 0 {
			return nil
		}
		if _, err := s.Store.Apply(ctx, ops...); !errors.Is(err, resource.ErrConflict) {
			return err
		}
		// Another writer was faster, so somebody made progress: decide again on what is stored now.
	}
}

// initial returns the ops that write the policies that a new mesh gets with it. keys are those of the batch.
func (s *server) initial(ctx context.Context, mesh resource.Resource, keys map[resource.Key]bool) ([]resource.Op, error) {
	policies, err := s.InitialPolicies(mesh)
	if err != nil {
		return nil, err
	}
	var ops []resource.Op
	for _, p := range policies {
		_, err := s.Store.Get(ctx, p.Key)
		switch {
		case err == nil || keys[p.Key]:
		case errors.Is(err, resource.ErrNotFound):
			ops = append(ops, resource.Put(p).If(0))
		default:
			return nil, err
		}
	}
	return ops, nil
}

// storeFailed says whether err is about the store, not about the document that was asked for.
func storeFailed(err error) bool {
	code, _, _ := status(err)
	return code >= 500
}

// plan decides what writing d means here and now: its labels, its role, what it replaces. d.err is not touched.
//
// meshes are those that the same batch writes. Errors: errNotOwner, resource.ErrNotFound (no such mesh),
// *resource.InvalidError, resource.ErrConflict (If-Match).
func (s *server) plan(ctx context.Context, d *draft, meshes map[string]bool, strictRole bool) error {
	desc, _ := resource.LookupKind(d.Kind)
	if err := writable(s.Plane, desc); err != nil {
		return err
	}
	if desc.Scope == resource.ScopeMesh && !meshes[d.Mesh] {
		if err := s.requireMesh(ctx, d.Mesh); err != nil {
			return err
		}
	}
	stored, err := s.Store.Get(ctx, d.Key)
	if err != nil && !errors.Is(err, resource.ErrNotFound) {
		return err
	}
	exists := err == nil
	if exists {
		if err := s.owned(stored); err != nil {
			return err
		}
	}
	if err := checkLabels(s.Plane, d.Resource); err != nil {
		return err
	}
	if d.ifMatch != "" && !(exists && matchesETag(d.ifMatch, stored.Version)) {
		return conflict(d.Key, d.ifMatch, stored.Version)
	}
	written := d.Resource
	if d.Resource, d.role, err = stamped(s.Plane, written, desc); err != nil {
		return err
	}
	otherRole := policy.DeclaredRole(written, d.role)
	if otherRole != "" && strictRole {
		return violation(d.Resource, policy.RoleField, otherRole)
	}
	d.warnings = append(policy.Warnings(d.Resource), s.Schemas.Warnings(d.Resource)...)
	if otherRole != "" {
		d.warnings = append(d.warnings, policy.RoleField+": "+otherRole)
	}
	if err := s.fitsMessage(d.Resource, desc); err != nil {
		return err
	}
	if desc.Status && d.Status == nil {
		d.Status = stored.Status // Kuma clears it, and services lose their addresses until they are computed again
	}
	d.stored = stored.Version
	switch {
	case !exists:
		d.action = actionCreated
	case stored.SameContent(d.Resource):
		d.action = actionUnchanged
	default:
		d.action = actionUpdated
	}
	return nil
}

// fitsMessage refuses what no message to another control plane can hold: on its way nobody could be told.
func (s *server) fitsMessage(r resource.Resource, d resource.Descriptor) error {
	goes := d.FromGlobal() && s.Plane.Zone == "" || d.FromZone() && s.Plane.Federated
	if s.MaxSynced == 0 || !goes {
		return nil
	}
	size := len(r.Name) + len(r.Mesh) + len(r.Spec) + len(r.Status)
	for name, value := range r.Labels {
		size += len(name) + len(value)
	}
	if size <= s.MaxSynced {
		return nil
	}
	return violation(r, "", fmt.Sprintf("%s has %d bytes, and a message to another control plane takes %d", r.Key, size, s.MaxSynced))
}

// warnUnresolved adds to the warnings of the policies among drafts those about references that find nothing now. The
// policies are written, or in a dry run would be; then the rest of the batch counts as stored. They are good all the
// same: that we cannot find out is no more than another warning.
func (s *server) warnUnresolved(ctx context.Context, drafts []*draft, dryRun bool) {
	var policies, also []resource.Resource
	var written []*draft
	for _, d := range drafts {
		switch {
		case d.err != nil || d.action == actionSkipped:
			continue
		case d.role != "":
			written, policies = append(written, d), append(policies, d.Resource)
		}
		if dryRun {
			also = append(also, d.Resource)
		}
	}
	if len(policies) == 0 {
		return
	}
	warnings, err := s.Resolver.Unresolved(ctx, policies, also)
	for i, d := range written {
		if err != nil {
			d.warnings = append(d.warnings, "whether its references find anything is not known: "+err.Error())
		} else {
			d.warnings = append(d.warnings, warnings[i]...)
		}
	}
}

func conflict(key resource.Key, want string, have resource.Revision) error {
	if have == 0 {
		return fmt.Errorf("%s does not exist, and If-Match is %s: %w", key, want, resource.ErrConflict)
	}
	return fmt.Errorf("%s is at version %d, not %s: %w", key, have, want, resource.ErrConflict)
}

func violation(r resource.Resource, field, reason string) error {
	return &resource.InvalidError{Key: r.Key, Violations: []resource.Violation{{Field: field, Reason: reason}}}
}

// Accept returns r as plane p stores it when somebody writes the document there, and its policy role ("": a kind without
// roles). What depends on what is stored already is not looked at: is there such a mesh, and may r be written over. r is
// not modified.
//
// Errors: that resources of the kind are not written there; *resource.InvalidError.
func Accept(p resource.Plane, r resource.Resource) (stored resource.Resource, role string, err error) {
	d, _ := resource.LookupKind(r.Kind)
	if err := writable(p, d); err != nil {
		return r, "", err
	}
	if err := checkLabels(p, r); err != nil {
		return r, "", err
	}
	return stamped(p, r, d)
}

// stamped returns r with what the plane gives it: the zone of its proxies, the role, the labels.
func stamped(p resource.Plane, r resource.Resource, d resource.Descriptor) (_ resource.Resource, role string, err error) {
	if r.Kind == "Dataplane" && p.Zone != "" {
		if err := tagZone(&r, p.Zone); err != nil {
			return r, "", err
		}
	}
	if role, _, err = policy.RoleOf(r.Kind, r.Namespace(), r.Spec); err != nil {
		return r, "", violation(r, "spec.to", err.Error())
	}
	r.Labels = resource.ComputeLabels(r, d, p, role)
	return r, role, nil
}

// writable says whether people may write resources of the kind on a plane.
func writable(p resource.Plane, d resource.Descriptor) error {
	detail := ""
	switch {
	case d.SystemManaged:
		detail = d.Kind + " resources are written by the control planes alone"
	case p.Zone == "" && !d.Flow.Has(resource.ProvidedByGlobal):
		detail = fmt.Sprintf("On the global control plane you can not modify %s resources: they belong to the zones, change them there", d.Kind)
	case p.Federated && !d.Flow.Has(resource.ProvidedByZone):
		detail = fmt.Sprintf("On a zone control plane you can not modify %s resources: they belong to global, change them there", d.Kind)
	}
	if detail == "" {
		return nil
	}
	return &failure{detail: detail, err: errNotOwner}
}

// owned refuses a stored resource that was synced here. A zone that stands alone has nobody else to ask: it may change
// what a global control plane left behind.
func (s *server) owned(stored resource.Resource) error {
	if s.Plane.Local(stored.Labels) || s.Plane.Zone != "" && !s.Plane.Federated {
		return nil
	}
	owner := resource.Plane{Zone: stored.Zone()} // not the origin: what global passes on has origin global here
	return &failure{
		detail: fmt.Sprintf("%s belongs to %s: change it there", stored.Identity(), owner.Owner()),
		err:    errNotOwner,
	}
}

// checkLabels refuses labels that say that the document was written elsewhere.
func checkLabels(p resource.Plane, r resource.Resource) error {
	var vs []resource.Violation
	refuse := func(label, format string, args ...any) {
		vs = append(vs, resource.Violation{Field: fmt.Sprintf("labels[%q]", label), Reason: fmt.Sprintf(format, args...)})
	}
	origin, zone := r.Origin(), r.Zone()
	local := resource.OriginGlobal
	if p.Zone != "" {
		local = resource.OriginZone
	}
	if origin != "" && origin != local {
		refuse(resource.LabelOrigin, "is %q, but this is %s: write the document there, or leave the label out", origin, p.Owner())
	}
	if zone != "" && zone != p.Zone {
		refuse(resource.LabelZone, "is %q, but this is %s: write the document there, or leave the label out", zone, p.Owner())
	}
	if mesh, ok := r.Labels[resource.LabelMesh]; ok && mesh != r.Mesh {
		refuse(resource.LabelMesh, "is %q, but the resource is in mesh %q", mesh, r.Mesh)
	}
	if p.Federated && len(p.Zone)+1+len(r.Name) >= 253 {
		vs = append(vs, resource.Violation{Field: "name", Reason: fmt.Sprintf("zone and name together have %d characters; fewer than 253 are allowed", len(p.Zone)+1+len(r.Name))})
	}
	if len(vs) == 0 {
		return nil
	}
	return &resource.InvalidError{Key: r.Key, Violations: vs}
}

// tagZone gives every inbound, or the gateway, the tag that says where the proxy runs. r gets new bytes.
func tagZone(r *resource.Resource, zone string) error {
	dp, err := resource.Spec[*meshv1.Dataplane](*r)
	if err != nil {
		return err
	}
	tag := func(tags map[string]string) map[string]string {
		if tags == nil {
			tags = map[string]string{}
		}
		tags[resource.LabelZone] = zone
		return tags
	}
	for _, inbound := range dp.GetNetworking().GetInbound() {
		inbound.Tags = tag(inbound.Tags)
	}
	if gateway := dp.GetNetworking().GetGateway(); gateway != nil {
		gateway.Tags = tag(gateway.Tags)
	}
	r.Spec, err = proto.MarshalOptions{Deterministic: true}.Marshal(dp)
	return err
}

// remove deletes the resource under key and, for a Mesh or Zone, everything that belongs to it, in one batch. It
// returns how many resources of each kind are gone.
//
// Errors: errNotOwner, resource.ErrNotFound, resource.ErrConflict (If-Match), errInUse.
func (s *server) remove(ctx context.Context, desc resource.Descriptor, key resource.Key, ifMatch string) (map[string]int, error) {
	if err := writable(s.Plane, desc); err != nil {
		return nil, err
	}
	if desc.Kind == "Mesh" || desc.Kind == "Zone" {
		s.cascade.Lock()
		defer s.cascade.Unlock()
	}
	ctx = context.WithoutCancel(ctx)
	for {
		stored, err := s.Store.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		if err := s.owned(stored); err != nil {
			return nil, err
		}
		if ifMatch != "" && !matchesETag(ifMatch, stored.Version) {
			return nil, conflict(key, ifMatch, stored.Version)
		}
		goes, err := s.dependents(ctx, stored)
		if err != nil {
			return nil, err
		}
		counts := map[string]int{}
		var ops []resource.Op
		for _, r := range append(goes, stored) {
			if _, listed := resource.LookupKind(r.Kind); listed { // else it is a record of the sync
				counts[r.Kind]++
			}
			ops = append(ops, resource.Delete(r.Key).If(r.Version))
		}
		_, err = s.Store.Apply(ctx, ops...)
		if err == nil && desc.Kind == "Zone" {
			s.Log.Info("zone deleted", "zone", key.Name, "deleted", counts)
		}
		if !errors.Is(err, resource.ErrConflict) && !errors.Is(err, resource.ErrNotFound) {
			return counts, err
		}
	}
}

// dependents returns what goes when r goes.
func (s *server) dependents(ctx context.Context, r resource.Resource) ([]resource.Resource, error) {
	switch r.Kind {
	case "Mesh":
		if err := s.requireNoDataplanes(ctx, r.Name); err != nil {
			return nil, err
		}
		return s.all(ctx, "", func(o resource.Resource) bool { return o.Mesh == r.Name })
	case "Zone":
		if r.Name == s.Plane.Zone {
			return nil, inUse("zone", "unable to delete Zone, it is the zone of this control plane")
		}
		insight, err := s.zoneInsight(ctx, r.Name)
		if err != nil {
			return nil, err
		}
		if online(insight) {
			return nil, inUse("zone", "unable to delete Zone, Zone CP is still connected, please shut it down first")
		}
		return s.all(ctx, "", func(o resource.Resource) bool { return resource.GoesWithZone(o, r.Name) })
	default:
		return nil, nil
	}
}

func inUse(field, reason string) error {
	return &failure{
		detail: "Resource is not valid",
		params: []resource.Violation{{Field: field, Reason: reason}},
		err:    errInUse,
	}
}

func (s *server) requireNoDataplanes(ctx context.Context, mesh string) error {
	return s.Store.View(ctx, "Dataplane", func(_ resource.Revision, all iter.Seq2[resource.Resource, error]) error {
		for r, err := range all {
			if err != nil {
				return err
			}
			if r.Mesh == mesh {
				return inUse("mesh", "unable to delete mesh, there are still some dataplanes attached")
			}
		}
		return nil
	})
}

// zoneInsight returns what is known of the life of a zone; nil if nothing is.
func (s *server) zoneInsight(ctx context.Context, zone string) (*systemv1.ZoneInsight, error) {
	r, err := s.Store.Get(ctx, resource.Key{Kind: "ZoneInsight", Name: zone})
	if errors.Is(err, resource.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return resource.Spec[*systemv1.ZoneInsight](r)
}

// online says whether a stream to the zone is open.
func online(insight *systemv1.ZoneInsight) bool {
	return slices.ContainsFunc(insight.GetSubscriptions(), func(sub *systemv1.KDSSubscription) bool {
		return sub.GetConnectTime() != nil && sub.GetDisconnectTime() == nil
	})
}
