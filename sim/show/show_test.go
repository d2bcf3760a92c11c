package show_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/sim"
	"github.com/meridian-mesh/meridian/sim/show"
)

// cases have every way that a scenario can end in.
func cases() []show.Case {
	failed := sim.Outcome{
		ID: "expect[1]", Kind: sim.ExpectEffective, File: "a.scenario.yaml", Line: 7, Column: 3, Status: sim.Failed,
		Subject: "east/shop/web -> east/shop/kv #1", Want: "x = 1s", Got: "x = 2s", Proxy: "east/shop/web",
		Candidates: []sim.Candidate{
			{Policy: "global/weak", Item: "to[0]", Role: "system", Value: "1s"},
			{Policy: "east/shop/strong", Item: "to[1]", Role: "producer", Value: map[string]any{"a": 1}, Wins: true},
		},
		Comparator: policy.ByOrigin, Hint: "look: there\nand here", Duration: 2500 * time.Microsecond,
	}
	return []show.Case{
		{Name: "a", File: "a.scenario.yaml", Result: &sim.Result{
			Scenario: "a", Seed: 3, Status: sim.Failed, Duration: 1500 * time.Millisecond,
			Expectations: []sim.Outcome{{ID: "expect[0]", Kind: sim.ExpectRole, Status: sim.Passed, Subject: "east/shop/kv"}, failed},
			Invariants:   []sim.InvariantOutcome{{Invariant: "no-leak", Status: sim.Passed, Duration: time.Millisecond}},
		}},
		{Name: "b <&>", File: "b.scenario.yaml", Result: &sim.Result{
			Scenario: "b", Seed: 4, Status: sim.Unsound,
			Invariants: []sim.InvariantOutcome{{Invariant: "no-leak", Status: sim.Failed, Reasons: []string{"zone west: it has\nwhat it must not"}}},
		}},
		{Name: "c", File: "c.scenario.yaml", Result: &sim.Result{Scenario: "c", Seed: 5, Status: sim.Unsound, Problem: "zone west: no"}},
		{Name: "d", File: "d.scenario.yaml", Err: errors.Join(errors.New("d.scenario.yaml:1: bad"), errors.New("d.scenario.yaml:2: bad"))},
		{Name: "e", File: "e.scenario.yaml", Result: &sim.Result{Scenario: "e", Status: sim.Passed}},
	}
}

func TestWhatIsBrokenIsAnErrorOfJUnitAndWhatIsWrongAFailure(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	require.NoError(t, show.JUnit(&b, cases()))
	type problem struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	var all struct {
		Tests, Failures, Errors int
		Suites                  []struct {
			Name     string `xml:"name,attr"`
			Tests    int    `xml:"tests,attr"`
			Failures int    `xml:"failures,attr"`
			Errors   int    `xml:"errors,attr"`
			Time     string `xml:"time,attr"`
			Cases    []struct {
				Name    string   `xml:"name,attr"`
				Time    string   `xml:"time,attr"`
				Failure *problem `xml:"failure"`
				Error   *problem `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	require.NoError(t, xml.Unmarshal(b.Bytes(), &all))
	var got, times []string
	for _, c := range all.Suites[0].Cases {
		times = append(times, c.Time)
	}
	assert.Equal(t, []string{"0.000000", "0.002500", "0.001000"}, times)
	for _, s := range all.Suites {
		failures, broken := 0, 0
		for _, c := range s.Cases {
			if c.Failure != nil {
				failures++
				assert.Contains(t, c.Failure.Message, "want x = 1s, got x = 2s (decided by origin)")
			}
			if c.Error != nil {
				broken++
				assert.NotEmpty(t, c.Error.Message)
				assert.NotEmpty(t, c.Error.Text)
			}
		}
		assert.Equal(t, []int{s.Tests, s.Failures, s.Errors}, []int{len(s.Cases), failures, broken}, s.Name)
		got = append(got, fmt.Sprintf("%s %d %d %d %s", s.Name, s.Tests, s.Failures, s.Errors, s.Time))
	}
	assert.Equal(t, []string{
		"a 3 1 0 1.500000", "b <&> 1 0 1 0.000000", "c 1 0 1 0.000000", "d 1 0 1 0.000000", "e 1 0 0 0.000000",
	}, got)
}

// point is a line of TAP.
var point = regexp.MustCompile(`^(not )?ok ([0-9]+) - ((?:[^#\\]|\\#|\\\\)*)$`)

func TestTAPIsWhatItsReadersExpect(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	require.NoError(t, show.TAP(&b, cases()))
	lines := bufio.NewScanner(&b)
	require.True(t, lines.Scan())
	require.Equal(t, "TAP version 14", lines.Text())
	require.True(t, lines.Scan())
	require.Equal(t, "1..7", lines.Text())
	points, failed, blocks := 0, 0, 0
	for lines.Scan() {
		if lines.Text() == "  ---" {
			var text strings.Builder
			for lines.Scan() && lines.Text() != "  ..." {
				require.True(t, strings.HasPrefix(lines.Text(), "  "), "a block is indented: %q", lines.Text())
				text.WriteString(lines.Text() + "\n")
			}
			var block struct {
				Message, Severity string
				Candidates        []map[string]string
			}
			require.NoError(t, yaml.Unmarshal([]byte(text.String()), &block), text.String())
			assert.NotEmpty(t, block.Message)
			assert.Contains(t, []string{"fail", "error"}, block.Severity)
			if block.Severity == "fail" {
				assert.Equal(t, "global/weak", block.Candidates[0]["policy"], "the weakest is the first")
			}
			blocks++
			continue
		}
		m := point.FindStringSubmatch(lines.Text())
		require.NotNil(t, m, "neither a test point nor a block: %q", lines.Text())
		points++
		assert.Equal(t, fmt.Sprint(points), m[2])
		if m[1] != "" {
			failed++
		}
	}
	assert.Equal(t, 7, points)
	assert.Equal(t, 4, failed)
	assert.Equal(t, failed, blocks, "what is not ok says why")
}

func TestJSONHasALineForEachCheckAndASummary(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	require.NoError(t, show.JSON(&b, cases(), &show.Coverage{Policies: 2}))
	var statuses []string
	var last show.Line
	for line := range strings.Lines(b.String()) {
		last = show.Line{}
		require.NoError(t, json.Unmarshal([]byte(line), &last))
		statuses = append(statuses, last.Record+" "+last.Status)
	}
	assert.Equal(t, []string{
		"check passed", "check failed", "check passed", "check broken", "check broken", "check broken", "check passed", "coverage ", "summary ",
	}, statuses)
	assert.Equal(t, &show.Summary{Scenarios: 5, NotRun: 1, Unsound: 2, Expected: 2, Passed: 1, Invariants: 2, Held: 1, Duration: 1500 * time.Millisecond}, last.Summary)
}

func TestTextSaysWhyAndWithWhichSeed(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	for _, c := range cases() {
		require.NoError(t, show.Text(&b, c, show.TextOptions{FailOnly: true, NoTime: true}))
	}
	for _, want := range []string{
		"want  x = 1s\n", "got   x = 2s\n", "1  global/weak       to[0]  system    1s\n",
		`2  east/shop/strong  to[1]  producer  {"a":1}  <- in force`, "decided by origin (comparator 2 of 7)\n", "hint: look: there\n",
		"seed 4\n", "seed 5\n", "no: zone west", "d.scenario.yaml:2: bad\n",
	} {
		assert.Contains(t, strings.ReplaceAll(b.String(), "zone west: no", "no: zone west"), want)
	}
	assert.NotContains(t, b.String(), "PASS")
	assert.NotContains(t, b.String(), "e.scenario.yaml")
}
