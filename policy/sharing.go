package policy

// Sharing answers what Effective does about many proxies of one mesh at one moment: those that the same policies configure share the
// answer towards destinations, if the Memo of their Inputs returns equal lists as one. It is not safe for concurrent use.
type Sharing struct {
	tos map[sharingKey][]EffectiveTo
}

// sharingKey is the lists of policies of the types, each by the address of its first element; nil for none.
type sharingKey [mostTypes]**Policy

const mostTypes = 32

// Effective is Effective(in, f). All calls must have the same f, and Inputs that differ in Proxy and Memo alone. Nobody modifies the answer.
func (s *Sharing) Effective(in Input, f Filter) ([]EffectiveTo, []EffectiveFrom) {
	types := f.types()
	if f.To != "" || f.From != "" || len(types) > mostTypes {
		return Effective(in, f)
	}
	in = in.prepared()
	var key sharingKey
	for i, t := range types {
		if policies := matched(in, t).Policies; t.To && len(policies) > 0 {
			key[i] = &policies[0]
		}
	}
	if s.tos == nil {
		s.tos = map[sharingKey][]EffectiveTo{}
	}
	tos, ok := s.tos[key]
	if !ok {
		if tos = effectiveEverywhere(in, types); tos == nil {
			tos = []EffectiveTo{}
		}
		s.tos[key] = tos
	}
	return tos, effectiveFrom(in, types, client{})
}
