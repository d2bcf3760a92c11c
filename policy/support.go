package policy

import "slices"

// Support says what the targetRefs of a type may select, and which lists its documents need. It is a view: changing it
// changes nothing.
type Support struct {
	Top       []RefKind // kinds of the top-level targetRef
	SystemTop []RefKind // of Top, those for policies of role system alone
	// ListenerTags says that a MeshGateway at the top may be narrowed by tags of its listeners.
	ListenerTags bool
	To, From     []RefKind // kinds of the targetRefs of the items
	// ToAtGateway takes the place of To where the top-level targetRef is a MeshGateway or MeshHTTPRoute. nil: no difference.
	ToAtGateway     []RefKind
	NoFromAtGateway bool // there is no `from` with such a top-level targetRef
	// Split says that `to` is for a top-level targetRef that can select a gateway, `from` and `rules` for one that cannot.
	Split bool
	Need  []string // lists of which one must have an item; empty: none
}

// Support returns the row of the type in the table of what targetRefs may select.
func (t Type) Support() Support {
	m := t.matrix
	return Support{
		Top: slices.Clone(m.top), SystemTop: slices.Clone(m.systemTop), ListenerTags: m.listenerTags,
		To: slices.Clone(m.to), From: slices.Clone(m.from), ToAtGateway: slices.Clone(m.toAtGateway),
		NoFromAtGateway: m.noFromAtGateway, Split: m.split, Need: slices.Clone(m.need),
	}
}
