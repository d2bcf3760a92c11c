package lint

import "github.com/meridian-mesh/meridian/resource"

// Severity says how bad a finding is.
type Severity string

const (
	Error   Severity = "error"   // a control plane refuses the document
	Warning Severity = "warning" // it is taken, and hardly does what was meant
)

// Code names a rule. It is part of the API: a code is never given to another rule.
type Code string

// Codes of documents that no control plane takes, and of comments.
const (
	Syntax      Code = "MZ0001"
	Metadata    Code = "MZ0002"
	Reference   Code = "MZ0003"
	Spec        Code = "MZ0004"
	Unknown     Code = "MZ0005"
	TooLarge    Code = "MZ0006"
	WrongPlane  Code = "MZ0007"
	Duplicate   Code = "MZ0008"
	NoMesh      Code = "MZ0009"
	BadComment  Code = "MZ0010"
	IdleComment Code = "MZ0011"
)

// Codes of references.
const (
	Unresolved     Code = "MZ0101"
	GlobalByName   Code = "MZ0102"
	SelectsNoProxy Code = "MZ0103"
	IdleService    Code = "MZ0104"
)

// Codes of policies that meet.
const (
	RoleTrap  Code = "MZ0201"
	NeverWins Code = "MZ0202"
	Spelling  Code = "MZ0203"
	Outranked Code = "MZ0204"
)

// Codes of roles and reach.
const (
	FromAndTo Code = "MZ0301"
	OtherRole Code = "MZ0302"
	StaysHome Code = "MZ0303"
)

// Codes of old and of doubtful words.
const (
	DeprecatedKind      Code = "MZ0401"
	DeprecatedTargetRef Code = "MZ0402"
	DeprecatedFrom      Code = "MZ0403"
	DeprecatedField     Code = "MZ0404"
	DoubtfulValue       Code = "MZ0405"
	NoEffect            Code = "MZ0406"
	NoHostName          Code = "MZ0407"
)

// NoPermission is the code of proxies that take no traffic.
const NoPermission Code = "MZ0501"

// Rule is a kind of finding.
type Rule struct {
	Code     Code
	Name     string // for people; that of the warning or of `meridian validate` if it is the same thing
	Severity Severity
	Title    string // what a finding says, as one sentence without full stop
	Mend     string // what to do
}

// Page returns the rule's page, from the root of the repository.
func (r Rule) Page() string { return "docs/lint/" + string(r.Code) + ".md" }

// Rules is every rule, ascending by code.
var Rules = []Rule{
	{Syntax, "syntax", Error, "The document cannot be read, or is none of ours", "correct the YAML or JSON, or take the file out"},
	{Metadata, "metadata", Error, "Kind, name, mesh or labels are not valid", "correct the field"},
	{Reference, "reference", Error, "A targetRef or backendRef is not valid, or not allowed where it stands", "use one of the kinds that are allowed there"},
	{Spec, "spec", Error, "A field of the spec is not valid", "correct the field; `meridian explain-type` says what it may hold"},
	{Unknown, "unknown-field", Error, "The document has a field that its kind does not have", "correct the spelling, or take the field out"},
	{TooLarge, "too-large", Error, "The document is larger than a control plane takes", "make several documents of it"},
	{WrongPlane, "wrong-plane", Error, "The control plane does not take the document", "put it where it belongs: global/, or the folder of its zone"},
	{Duplicate, "duplicate", Error, "Two documents of one control plane describe the same resource", "delete or rename one of them"},
	{NoMesh, "no-mesh", Error, "The mesh of the document does not exist", "correct the name of the mesh, or add the Mesh"},
	{BadComment, "bad-comment", Warning, "A comment that should suppress findings is not understood", "write `# meridian:ignore CODE reason`"},
	{IdleComment, "idle-comment", Warning, "A comment suppresses nothing", "take the comment out"},

	{Unresolved, string(resource.WarnUnresolved), Warning, "A reference finds nothing", "correct the reference, or add what it names"},
	{GlobalByName, string(resource.WarnGlobalByName), Warning, "A policy without a zone names a MeshService, which is found in none", "select the service by labels"},
	{SelectsNoProxy, string(resource.WarnSelectsNoProxy), Warning, "The top-level targetRef selects no proxy", "correct the targetRef, or take the policy out"},
	{IdleService, "idle-service", Warning, "A MeshService selects no proxy", "correct its selector, or take it out"},

	{RoleTrap, "role-trap", Warning, "A consumer default masks a producer's rule in its own namespace", "name the services that the default is for, or move the default to a policy without a namespace"},
	{NeverWins, "never-wins", Warning, "What a policy says is in force nowhere", "take it out, or make its targetRef narrower than that of the policy which masks it"},
	{Spelling, "order-by-spelling", Warning, "Two policies disagree, and their names alone decide", "make one of them narrower, or take one out"},
	{Outranked, "kind-outranks-scope", Warning, "A policy of wider scope wins because its top-level targetRef is narrower", "give both the same kind of top-level targetRef, and let the scope decide"},

	{FromAndTo, string(resource.WarnFromAndTo), Warning, "A policy with a namespace has both `from` and `to`", "write two policies"},
	{OtherRole, "role", Warning, "The declared policy role is not the role that the policy has", "take the label out, or change the policy so that it has the role"},
	{StaysHome, "stays-home", Warning, "A policy about services of another namespace does not reach their clients", "write it in the namespace of the services, so that it is a producer's"},

	{DeprecatedKind, string(resource.WarnDeprecatedKind), Warning, "The kind is from before targetRef and has no effect here", "use its successor"},
	{DeprecatedTargetRef, string(resource.WarnDeprecatedTargetRef), Warning, "The kind of a targetRef has a successor", "use its successor"},
	{DeprecatedFrom, string(resource.WarnDeprecatedFrom), Warning, "The policy has `from`, and its type has `rules`", "use rules"},
	{DeprecatedField, string(resource.WarnDeprecatedField), Warning, "A field, or a word in it, has a successor", "use its successor"},
	{DoubtfulValue, string(resource.WarnDoubtfulValue), Warning, "A value is accepted, but can hardly be meant", "correct the value"},
	{NoEffect, string(resource.WarnNoEffect), Warning, "An item changes nothing", "complete it, or take it out"},
	{NoHostName, string(resource.WarnNoHostName), Warning, "A name cannot be part of a host name", "choose another name"},

	{NoPermission, "no-permission", Warning, "mTLS is on, and no MeshTrafficPermission is for a proxy: it takes no traffic", "write a MeshTrafficPermission that says whose traffic it takes"},
}

var byCode = func() map[Code]Rule {
	m := map[Code]Rule{}
	for _, r := range Rules {
		m[r.Code] = r
	}
	return m
}()

// RuleOf returns the rule of a code, which must be one of Rules.
func RuleOf(code Code) Rule { return byCode[code] }

// codeOf is the code of each kind of warning that the API gives.
var codeOf = func() map[resource.WarningCode]Code {
	m := map[resource.WarningCode]Code{}
	for _, r := range Rules {
		for _, w := range resource.WarningCodes {
			if r.Name == string(w) {
				m[w] = r.Code
			}
		}
	}
	return m
}()
