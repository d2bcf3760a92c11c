package show

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// The parts of the JUnit format that CI systems read.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Time     seconds      `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string           `xml:"name,attr"`
		File       string           `xml:"file,attr"`
		Tests      int              `xml:"tests,attr"`
		Failures   int              `xml:"failures,attr"`
		Errors     int              `xml:"errors,attr"`
		Skipped    int              `xml:"skipped,attr"`
		Time       seconds          `xml:"time,attr"`
		Properties *junitProperties `xml:"properties"`
		Cases      []junitCase      `xml:"testcase"`
		Output     string           `xml:"system-out,omitempty"`
	}
	junitProperties struct {
		Properties []junitProperty `xml:"property"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Name      string        `xml:"name,attr"`
		ClassName string        `xml:"classname,attr"`
		File      string        `xml:"file,attr,omitempty"`
		Line      int           `xml:"line,attr,omitempty"`
		Time      seconds       `xml:"time,attr"`
		Failure   *junitFailure `xml:"failure"`
		Error     *junitFailure `xml:"error"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)

// seconds is a duration as JUnit has it.
type seconds time.Duration

func (s seconds) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%.6f", time.Duration(s).Seconds()), nil
}

func (s *seconds) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text) + "s")
	*s = seconds(d)
	return err
}

// JUnit writes cases as JUnit XML: a test suite for each scenario, a test case for each expectation and invariant. An expectation that
// does not hold is a failure; a scenario that could not be run, did not converge or broke an invariant has an error. The time of a case is
// that of its check, the time of a suite that of the scenario: making the federation and playing the steps is the rest. What there is to
// note about policies (Notes) is the output of the suite.
func JUnit(w io.Writer, cases []Case) error {
	all := junitSuites{Name: "meridian sim"}
	for _, c := range cases {
		s := junitSuite{Name: c.Name, File: c.File}
		if c.Err == nil {
			s.Time = seconds(c.Result.Duration)
			s.Properties = &junitProperties{[]junitProperty{{"seed", fmt.Sprint(c.Result.Seed)}}}
		}
		for _, check := range c.Checks() {
			one := junitCase{
				Name: check.ID + ": " + check.Title(), ClassName: c.File, File: check.File, Line: check.Line, Time: seconds(check.Duration),
			}
			failure := &junitFailure{check.Message(), check.Kind, strings.Join(check.Lines, "\n")}
			switch {
			case check.Passed:
			case check.Broken:
				s.Errors++
				one.Error = failure
			default:
				s.Failures++
				one.Failure = failure
			}
			s.Tests++
			s.Cases = append(s.Cases, one)
		}
		for _, n := range Notes([]Case{c}) {
			s.Output += n.String() + "\n"
		}
		all.Tests, all.Failures, all.Errors, all.Time = all.Tests+s.Tests, all.Failures+s.Failures, all.Errors+s.Errors, all.Time+s.Time
		all.Suites = append(all.Suites, s)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
