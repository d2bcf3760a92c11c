package resource

// WarningCode names a kind of warning. It is part of the API: the words do not change.
type WarningCode string

// The kinds of warnings about a valid document.
const (
	WarnDeprecatedKind      WarningCode = "deprecated-kind"       // a kind from before targetRef, which has no effect here
	WarnDeprecatedTargetRef WarningCode = "deprecated-target-ref" // a targetRef whose kind has a successor
	WarnDeprecatedFrom      WarningCode = "deprecated-from"       // `from` in a type that has `rules`
	WarnDeprecatedField     WarningCode = "deprecated-field"      // another field or word that has a successor
	WarnDoubtfulValue       WarningCode = "doubtful-value"        // accepted because Kuma accepts it, but it can hardly be meant
	WarnNoHostName          WarningCode = "no-host-name"          // a name that cannot be part of a host name
	WarnNoEffect            WarningCode = "no-effect"             // an item that changes nothing
	WarnFromAndTo           WarningCode = "from-and-to"           // both in a policy with a namespace
	WarnGlobalByName        WarningCode = "global-by-name"        // a policy without a zone that names a MeshService
	WarnSelectsNoProxy      WarningCode = "selects-no-proxy"      // a top-level targetRef, with what is there now
	WarnUnresolved          WarningCode = "unresolved"            // a reference that finds nothing, with what is there now
)

// WarningCodes is every code.
var WarningCodes = []WarningCode{
	WarnDeprecatedKind, WarnDeprecatedTargetRef, WarnDeprecatedFrom, WarnDeprecatedField, WarnDoubtfulValue, WarnNoHostName,
	WarnNoEffect, WarnFromAndTo, WarnGlobalByName, WarnSelectsNoProxy, WarnUnresolved,
}

// Warning is something that a valid document does and that its author should know. In JSON it is its text.
type Warning struct {
	Code  WarningCode
	Field string // as in Violation
	Text  string // for people: the field and the reason
}

// String returns the text.
func (w Warning) String() string { return w.Text }

// MarshalText returns the text.
func (w Warning) MarshalText() ([]byte, error) { return []byte(w.Text), nil }

// UnmarshalText sets the text, and leaves the rest unknown.
func (w *Warning) UnmarshalText(text []byte) error {
	*w = Warning{Text: string(text)}
	return nil
}

// Texts returns the texts of warnings; nil if there are none.
func Texts(warnings []Warning) []string {
	var texts []string
	for _, w := range warnings {
		texts = append(texts, w.Text)
	}
	return texts
}
