package show

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/meridian-mesh/meridian/sim"
)

// tapBlock is the YAML below a test point that is not ok.
type tapBlock struct {
	Message    string         `yaml:"message"`
	Severity   string         `yaml:"severity"`
	At         *tapPlace      `yaml:"at,omitempty"`
	Want       string         `yaml:"want,omitempty"`
	Got        string         `yaml:"got,omitempty"`
	Proxy      string         `yaml:"proxy,omitempty"`
	Candidates []tapCandidate `yaml:"candidates,omitempty"` // weakest first
	Comparator string         `yaml:"comparator,omitempty"`
	Hint       string         `yaml:"hint,omitempty"`
}

type tapPlace struct {
	File   string `yaml:"file"`
	Line   int    `yaml:"line,omitempty"`
	Column int    `yaml:"column,omitempty"`
}

type tapCandidate struct {
	Policy string `yaml:"policy"`
	Item   string `yaml:"item"`
	Role   string `yaml:"role"`
	Value  string `yaml:"value"`
}

// TAP writes cases as TAP version 14, a test point for each check, in the order of the cases.
func TAP(w io.Writer, cases []Case) error {
	var b strings.Builder
	n := 0
	for _, c := range cases {
		for _, check := range c.Checks() {
			n++
			word := "ok"
			if !check.Passed {
				word = "not ok"
			}
			fmt.Fprintf(&b, "%s %d - %s\n", word, n, tapText.Replace(c.Name+": "+check.Title()))
			if check.Passed {
				continue
			}
			var block bytes.Buffer
			enc := yaml.NewEncoder(&block)
			enc.SetIndent(2)
			if err := enc.Encode(check.tap()); err != nil {
				return err
			}
			b.WriteString("  ---\n")
			for line := range strings.Lines(block.String()) {
				b.WriteString("  " + line)
			}
			b.WriteString("  ...\n")
		}
	}
	_, err := fmt.Fprintf(w, "TAP version 14\n1..%d\n%s", n, b.String())
	return err
}

// tapText makes a description of a text: # would begin a directive, and a line ends the test point.
var tapText = strings.NewReplacer(`\`, `\\`, "#", `\#`, "\n", " ", "\r", " ")

func (c Check) tap() tapBlock {
	t := tapBlock{Message: c.Message(), Severity: "fail"}
	if c.Broken {
		t.Severity = "error"
	}
	if c.File != "" {
		t.At = &tapPlace{c.File, c.Line, c.Column}
	}
	if o := c.Outcome; o != nil {
		t.Want, t.Got, t.Proxy, t.Comparator, t.Hint = o.Want, o.Got, o.Proxy, string(o.Comparator), o.Hint
		for _, candidate := range o.Candidates {
			t.Candidates = append(t.Candidates, tapCandidateOf(candidate))
		}
	}
	return t
}

func tapCandidateOf(c sim.Candidate) tapCandidate {
	return tapCandidate{c.Policy, c.Item, c.Role, sim.ValueText(c.Value)}
}
