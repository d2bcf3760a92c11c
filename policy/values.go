package policy

import (
	"fmt"
	"math"
	"regexp"
	"strconv"

	"github.com/meridian-mesh/meridian/resource"
)

// This file has the values that several types of policy share, and their checks. A check of a whole number needs no
// function: the struct tag check has min= and max=.

// HeaderMatch selects requests, or responses, by one header.
type HeaderMatch struct {
	// Type is how Value is compared with the header. Default: Exact.
	Type HeaderMatchType `json:"type,omitempty" check:"default=Exact"`
	// Name of the header, in lower case; 1 to 256 characters. Required.
	Name string `json:"name" check:"required"`
	// Value to compare with. Without a meaning for the types Present and Absent.
	Value string `json:"value,omitempty"`
}

// HeaderMatchType is how a header is compared.
type HeaderMatchType string

const (
	HeaderExact             HeaderMatchType = "Exact"             // the value, and nothing else
	HeaderPresent           HeaderMatchType = "Present"           // any value
	HeaderRegularExpression HeaderMatchType = "RegularExpression" // RE2, for the whole value
	HeaderAbsent            HeaderMatchType = "Absent"            // there is no such header
	HeaderPrefix            HeaderMatchType = "Prefix"            // the value begins so
)

// Enum returns the allowed words.
func (HeaderMatchType) Enum() []string {
	return []string{string(HeaderExact), string(HeaderPresent), string(HeaderRegularExpression), string(HeaderAbsent), string(HeaderPrefix)}
}

// HeaderModifier changes the headers of a request or a response.
type HeaderModifier struct {
	// Set gives headers a value, in place of the one that they have; at most 16.
	Set []HeaderValue `json:"set,omitzero"`
	// Add gives headers one more value; at most 16.
	Add []HeaderValue `json:"add,omitzero"`
}

// HeaderValue is a header with its value.
type HeaderValue struct {
	// Name of the header, in lower case; 1 to 256 characters. Required.
	Name string `json:"name" check:"required"`
	// Value of the header. Required.
	Value string `json:"value" check:"required"`
}

// maxHeaders bounds each list of a HeaderModifier.
const maxHeaders = 16

// headerModifier checks the headers at at; m may be nil.
func (c *check) headerModifier(at string, m *HeaderModifier) {
	if m != nil {
		c.headerValues(at+".set", m.Set)
		c.headerValues(at+".add", m.Add)
	}
}

func (c *check) headerValues(at string, headers []HeaderValue) {
	c.atMost(at, len(headers), maxHeaders)
	for i, h := range headers {
		c.headerName(item(at, i)+".name", h.Name)
	}
}

func (c *check) headerMatches(at string, matches []HeaderMatch) {
	for i, m := range matches {
		c.headerName(item(at, i)+".name", m.Name)
	}
}

// headerToken is RFC 7230's token, without capitals: HTTP/2 has none.
var headerToken = regexp.MustCompile("^[a-z0-9!#$%&'*+\\-.^_`|~]+$")

// headerName checks the name of a header.
func (c *check) headerName(at, name string) {
	const longest = 256
	switch {
	case name == "":
		c.report(at, "must not be empty")
	case len(name) > longest:
		c.report(at, "has %d characters, want at most %d", len(name), longest)
	case !headerToken.MatchString(name):
		c.report(at, "found %q, want the name of a header: lower-case letters, digits and !#$%%&'*+-.^_`|~", name)
	}
}

// atMost checks the length of a list.
func (c *check) atMost(at string, n, most int) {
	if n > most {
		c.report(at, "has %d items, want at most %d", n, most)
	}
}

// decimalText is how a text may write a number.
var decimalText = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)

// decimal returns the number that v holds, as a whole number or in a text. ok is false if it holds none.
func decimal(v resource.IntOrString) (f float64, ok bool) {
	if v.IsInt {
		return float64(v.Int), true
	}
	if !decimalText.MatchString(v.Text) {
		return 0, false
	}
	f, err := strconv.ParseFloat(v.Text, 64)
	return f, err == nil && !math.IsInf(f, 0)
}

// percent checks a percentage from 0 to 100, which may have decimals if it is a text. nil is left out.
func (c *check) percent(at string, v *resource.IntOrString) {
	c.number(at, v, func(f float64) bool { return f >= 0 && f <= 100 }, "a percentage from 0 to 100")
}

// number checks a number that may be a text with decimals. want describes what holds accepts. nil is left out.
func (c *check) number(at string, v *resource.IntOrString, holds func(float64) bool, want string) {
	if v == nil {
		return
	}
	if f, ok := decimal(*v); !ok || !holds(f) {
		found := strconv.Quote(v.Text)
		if v.IsInt {
			found = v.String()
		}
		c.report(at, `found %s, want %s, such as 5 or "2.5"`, found, want)
	}
}

// status checks a status code of HTTP.
func (c *check) status(at string, code int32) {
	if code < 100 || code > 599 {
		c.report(at, "found %d, want a status code from 100 to 599", code)
	}
}

// duration checks the range of a duration that may be left out.
func (c *check) duration(at, field string, d *resource.Duration, zero zeroRule) {
	switch {
	case d == nil:
	case *d < 0:
		c.report(at+"."+field, "found %v, want a duration that is not negative", *d)
	case *d == 0 && zero == zeroRefused:
		c.report(at+"."+field, "found %v, want a duration above 0", *d)
	}
}

type zeroRule bool

const (
	zeroAllowed zeroRule = true
	zeroRefused zeroRule = false
)

// item returns the path of an item of the list at at.
func item(at string, i int) string { return at + "[" + strconv.Itoa(i) + "]" }

// notEmpty checks a text that must say something.
func (c *check) notEmpty(at, text string) {
	if text == "" {
		c.report(at, "must not be empty")
	}
}

// required reports that a field of the object at at must be given. A null is given: it removes what weaker policies gave.
func (c *check) required(at, field string, given bool) {
	if at += "." + field; !given && !c.nulls[at] {
		c.report(at, "must be given")
	}
}

// selected reports that the object of a type, which stands beside the word, is missing.
func (c *check) selected(at, field string, given bool, word any) {
	if !given {
		c.report(at+"."+field, "must be given with type %s", fmt.Sprint(word))
	}
}

// filePath checks a path from the root, of Unix or of Windows.
func (c *check) filePath(at, path string) {
	if !rootedPath.MatchString(path) {
		c.report(at, "found %q, want the path of a file, from the root", path)
	}
}

var rootedPath = regexp.MustCompile(`^(/|[A-Za-z]:\\)[^\x00-\x1f]+$`)

// address checks a host with an optional port, or a URL.
func (c *check) address(at, text string) {
	if !hostAddress.MatchString(text) {
		c.report(at, "found %q, want host:port", text)
	}
}

var hostAddress = regexp.MustCompile(`^([a-z][a-z0-9+.-]*://)?([A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[!-~]*)?$`)
