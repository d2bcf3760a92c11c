package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
	"github.com/meridian-mesh/meridian/sim"
	"github.com/meridian-mesh/meridian/sim/show"
)

const simSuite = "testdata/sim/suite"

// taken is what takes another time in each run.
var taken = regexp.MustCompile(`(time="|durationMs":|durationNs":|durationNs: |"got":"after )[0-9.msµ]+`)

// TestSimSaysItInEveryForm runs the commands of the simulator over testdata/sim; the first line of a golden file has the arguments and
// the exit code.
func TestSimSaysItInEveryForm(t *testing.T) {
	t.Parallel()
	suite := simSuite + "/checkout.scenario.yaml"
	for name, c := range map[string]struct {
		args string
		code int
	}{
		"run":             {"run --no-time " + suite, 1},
		"test":            {"test --no-time --coverage " + simSuite, 1},
		"test-fail-only":  {"test --no-time --fail-only " + simSuite, 1},
		"test-one":        {"test --no-time --run small " + simSuite, 0},
		"test-junit":      {"test --format junit " + simSuite, 1},
		"test-tap":        {"test --format tap " + simSuite, 1},
		"test-json":       {"test --format json " + simSuite, 1},
		"test-sarif":      {"test --format sarif " + simSuite, 1},
		"test-github":     {"test --format github " + simSuite, 1},
		"test-empty":      {"test --run nobody " + simSuite, 0},
		"test-nothing":    {"test --require-tests --run nobody " + simSuite, 5},
		"explain":         {"explain " + suite + " west/jobs/batch --to east/shop/kv --field requestTimeout", 0},
		"explain-inbound": {"explain " + suite + " west/jobs/batch --type mt", 0},
		"explain-many":    {"explain " + suite + " east/shop/web-*", 2},
		"explain-nobody":  {"explain " + suite + " west/jobs/bach", 1},
		"sync":            {"sync " + suite + " --policy west/jobs/patient", 0},
		"sync-nobody":     {"sync " + suite + " --policy west/jobs/pateint", 1},
		"matrix":          {"matrix " + suite + " --type mt", 0},
		"matrix-field":    {"matrix " + suite + " --type mt --field requestTimeout", 0},
		"matrix-csv":      {"matrix " + suite + " --type mt --field requestTimeout -o csv", 0},
		"matrix-html":     {"matrix " + suite + " --type mt -o html", 0},
		"matrix-fields":   {"matrix " + suite + " --type mt --field http", 2},
		"plan":            {"plan --base " + suite + " --head testdata/sim/head.scenario.yaml --detailed-exitcode", 6},
		"plan-same":       {"plan --base " + suite + " --head " + suite + " --detailed-exitcode", 0},
		"plan-one":        {"plan --head " + suite, 2},
		"record-nobody":   {"record --live http://127.0.0.1:1", 1},
		"fuzz":            {"fuzz " + suite + " --seeds 1..3 --faults crash,partition --events 8", 0},
		"fuzz-seeds":      {"fuzz " + suite + " --seeds 3..1", 2},
		"fuzz-faults":     {"fuzz " + suite + " --faults crsah", 2},
		"fuzz-events":     {"fuzz " + suite + " --events -1", 2},
		"test-parallel":   {"test --parallel 0 " + simSuite, 2},
		"run-yaml":        {"run -o yaml " + simSuite + "/small.scenario.yaml", 0},
		"fmt-expand":      {"fmt --expand " + simSuite + "/small.scenario.yaml", 0},
		"bad":             {"test testdata/sim/bad.scenario.yaml", 2},
		"no-such-file":    {"run testdata/sim/none.scenario.yaml", 2},
		"no-such-command": {"tset", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := meridian(t, "", append([]string{"sim"}, strings.Fields(c.args)...)...)
			require.Equal(t, c.code, code, stderr)
			text := "$ meridian sim " + c.args + "\n" + stdout + stderr + "exit code " + strconv.Itoa(code) + "\n"
			requireGolden(t, "testdata/sim/"+name+".txt", taken.ReplaceAllString(text, "${1}0"))
		})
	}
}

func TestWhatIsWorstDecidesTheExitCode(t *testing.T) {
	t.Parallel()
	result := func(status sim.Status, expectations ...sim.Status) show.Case {
		r := &sim.Result{Status: status, Seed: 7}
		for _, s := range expectations {
			r.Expectations = append(r.Expectations, sim.Outcome{Status: s})
		}
		return show.Case{File: "a.scenario.yaml", Result: r}
	}
	warned := result(sim.Passed, sim.Passed)
	warned.Policies = []sim.PolicyRow{{Warnings: []sim.Warning{{Text: "odd"}}}}
	passed, failed, unsound := result(sim.Passed, sim.Passed), result(sim.Failed, sim.Passed, sim.Failed), result(sim.Unsound)
	notRun := show.Case{File: "b.scenario.yaml", Err: errors.New("refused")}
	for _, c := range []struct {
		cases []show.Case
		warn  bool
		code  int
		says  string
	}{
		{[]show.Case{passed, warned}, false, 0, ""},
		{[]show.Case{passed, warned}, true, 4, "1 warning, and --fail-on is warn"},
		{[]show.Case{failed, warned}, true, 1, "2 scenarios: 2 of 3 expectations passed"},
		{[]show.Case{failed, unsound}, false, 3, "not sound: a.scenario.yaml with seed 7"},
		{[]show.Case{failed, unsound, notRun}, false, 2, "1 scenario could not be run"},
	} {
		var out, errOut strings.Builder
		cmd := &cobra.Command{Use: "x", RunE: func(*cobra.Command, []string) error { return verdictOf(c.cases, c.warn) }}
		assert.Equal(t, c.code, config.Run(t.Context(), cmd, nil, &out, &errOut))
		assert.Contains(t, errOut.String(), c.says)
	}
}

func TestAFailureOfFuzzIsAScheduleToRunAgain(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	c := &cli{out: &out}
	c.printFailure(&sim.Scenario{File: "my shop.scenario.yaml"}, sim.FuzzFailure{
		Seed: 42, Events: 30, Schedule: []string{"{at: 10s, crash: east}"}, Reasons: []string{"no-lost-write: zone east: it is gone"},
		Runs: 5, Broke: 3,
	})
	assert.Equal(t, `seed 42 breaks an invariant:
  no-lost-write: zone east: it is gone

1 event does it, of the 30 that did it first:

steps: # of my shop.scenario.yaml
  - {at: 10s, crash: east}

It did so again in 3 of 5 runs: not each time, since what is on a wire when it is cut depends on the machine.
Again: meridian sim fuzz 'my shop.scenario.yaml' --seeds 42
`, out.String())
}

func TestSimRunIsTheDefaultVerb(t *testing.T) {
	t.Parallel()
	_, long, _ := meridian(t, "", "sim", "run", "--no-time", simSuite)
	_, short, _ := meridian(t, "", "sim", "--no-time", simSuite)
	require.NotEmpty(t, long)
	assert.Equal(t, long, short)
}

func TestSimRunReadsStandardInputAndFolders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"zones/east/web.yaml": web, "zones/east/backend.yaml": backend, "zones/east/slow.yaml": producer} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	code, stdout, stderr := meridian(t, "", "sim", dir)
	require.Equal(t, 0, code, stderr)
	assert.Regexp(t, `east/shop/slow +MeshTimeout +producer +wins 1/1`, stdout)
}

func TestJUnitOfAFailureHasTheStructureThatCISystemsRead(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "report.xml")
	code, stdout, stderr := meridian(t, "", "sim", "test", simSuite, "--format", "junit", "--out", out)
	require.Equal(t, 1, code, stderr)
	assert.Contains(t, stdout, "FAIL", "with --out, text goes to standard output")
	data, err := os.ReadFile(out)
	require.NoError(t, err)
	var suites struct {
		XMLName                 xml.Name `xml:"testsuites"`
		Tests, Failures, Errors int      `xml:",attr"`
		Suites                  []struct {
			Name     string `xml:"name,attr"`
			Tests    int    `xml:"tests,attr"`
			Failures int    `xml:"failures,attr"`
			Cases    []struct {
				Name    string `xml:"name,attr"`
				Class   string `xml:"classname,attr"`
				Failure *struct {
					Message string `xml:"message,attr"`
					Text    string `xml:",chardata"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	require.NoError(t, xml.Unmarshal(data, &suites))
	require.Len(t, suites.Suites, 2)
	failures := 0
	for _, s := range suites.Suites {
		assert.NotEmpty(t, s.Name)
		require.Len(t, s.Cases, s.Tests)
		for _, c := range s.Cases {
			assert.NotEmpty(t, c.Name)
			assert.NotEmpty(t, c.Class)
			if c.Failure != nil {
				failures++
				assert.Contains(t, c.Failure.Message, "want http.requestTimeout = 1s")
				assert.Contains(t, c.Failure.Text, "candidates, weakest first:")
			}
		}
	}
	assert.Equal(t, 1, failures)
}

// What is no failure is shown where it is written, too: policies that others mask everywhere, and the warnings of control planes.
func TestReportsForCodeReviewNoteMaskedPoliciesWhereTheyAreWritten(t *testing.T) {
	t.Parallel()
	dir := writeFiles(t, map[string]string{
		"a.scenario.yaml": `include: shared.yaml
zones: {east: {proxies: {web: {namespace: shop}}}}
policies:
  global/narrow: {kind: MeshTimeout, Dataplane: {labels: {app: web}}, to: [{Mesh: , default: {connectionTimeout: 1s}}]}
  global/trial: {kind: MeshTimeout, labels: {kuma.io/effect: shadow}, to: [{Mesh: , default: {connectionTimeout: 3s}}]}
  east/shop/lost:
    kind: MeshTimeout
    to: [{MeshService: nobody, default: {connectionTimeout: 9s}}]
`,
		"shared.yaml":       "type: Mesh\nname: default\n---\ntype: MeshTimeout\nname: masked\nmesh: default\nspec: {to: [{targetRef: {kind: Mesh}, default: {connectionTimeout: 2s}}]}\n",
		"b/b.scenario.yaml": "include: ../shared.yaml\nzones: {east: {proxies: {web: {namespace: shop}}}}\n",
	})
	both, alone := []string{"sim", "test", dir}, []string{"sim", "test", filepath.Join(dir, "a.scenario.yaml")}
	code, stdout, stderr := meridian(t, "", append(alone, "--format", "github")...)
	require.Zero(t, code, stderr)
	shared, file := filepath.Join(dir, "shared.yaml"), filepath.Join(dir, "a.scenario.yaml")
	assert.Contains(t, stdout, "::notice file="+shared+",line=4,title=MeshTimeout global/masked masked::MeshTimeout global/masked: it gives no proxy a value: in east masked on 1 of 1 by global/narrow (kind)\n")
	assert.Contains(t, stdout, "::warning file="+file+",line=6,title=MeshTimeout east/shop/lost unresolved::MeshTimeout east/shop/lost: spec.to[0].targetRef: ")
	assert.Equal(t, 2, strings.Count(stdout, "\n"), "%s", stdout)

	_, stdout, _ = meridian(t, "", append(both, "--format", "github")...)
	assert.NotContains(t, stdout, "global/masked", "the other scenario has nobody who masks it")

	_, stdout, _ = meridian(t, "", append(alone, "--format", "sarif")...)
	var log sarifLog
	require.NoError(t, json.Unmarshal([]byte(stdout), &log))
	require.Len(t, log.Runs[0].Results, 2)
	result := log.Runs[0].Results[0]
	assert.Equal(t, []any{"masked", "note", &sarifRegion{4, 0}}, []any{result.RuleID, result.Level, result.Locations[0].Physical.Region})
	assert.Equal(t, "masked", log.Runs[0].Tool.Driver.Rules[result.RuleIndex].ID)

	_, stdout, _ = meridian(t, "", append(alone, "--format", "junit")...)
	assert.Contains(t, stdout, "<system-out>"+shared+":4: MeshTimeout global/masked: masked: it gives no proxy a value")
}

func TestEveryLineOfJSONIsAnObjectAndTheLastOneSumsUp(t *testing.T) {
	t.Parallel()
	_, stdout, _ := meridian(t, "", "sim", "test", simSuite, "--format", "json", "--coverage")
	var last struct {
		Record  string
		Summary struct{ Expectations, Passed int }
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	require.Greater(t, len(lines), 10)
	for _, line := range lines {
		require.NoError(t, json.Unmarshal([]byte(line), &last), line)
	}
	assert.Equal(t, "summary", last.Record)
	assert.Equal(t, last.Summary.Expectations-1, last.Summary.Passed)
}

func TestSimFailsOnWarningsOnlyIfAsked(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "warned.scenario.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`zones: {east: {proxies: {web: {namespace: shop}}}}
policies:
  east/shop/lost: {kind: MeshTimeout, to: [{MeshService: nobody, default: {connectionTimeout: 9s}}]}
`), 0o600))
	code, stdout, stderr := meridian(t, "", "sim", file)
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, "warning")
	for _, command := range []string{"run", "test"} {
		code, _, stderr = meridian(t, "", "sim", command, file, "--fail-on", "warn")
		assert.Equal(t, 4, code, stderr)
	}
}

func TestTheStarterScenarioPassesAndIsFormatted(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "first.scenario.yaml")
	code, stdout, stderr := meridian(t, "", "sim", "init", file)
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, "try: meridian sim "+file)
	code, stdout, stderr = meridian(t, "", "sim", file)
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, "10 of 10 expectations passed, 5 of 5 invariants held")
	code, _, stderr = meridian(t, "", "sim", "init", file)
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, "is there already")
	_, printed, _ := meridian(t, "", "sim", "init")
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, printed, string(written))
}

func TestFormattingNothingIsAMistake(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := meridian(t, "", "sim", "fmt", t.TempDir())
	assert.Equal(t, 2, code)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, "no scenario in ")
}

func TestFormattingKeepsCommentsAndBlankLinesAndTheFederation(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.scenario.yaml")
	text := `# about it
scenario:   odd

zones:
    east: {proxies: {web: {namespace: shop}}} # one

    # the other
    west:
policies:
      global/slow: {kind: MeshTimeout, to: [{Mesh: , default: {connectionTimeout: 9s}}]}
`
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	code, stdout, stderr := meridian(t, "", "sim", "fmt", file)
	require.Equal(t, 0, code, stderr)
	want := `# about it
scenario: odd

zones:
  east: {proxies: {web: {namespace: shop}}} # one

  # the other
  west:
policies:
  global/slow: {kind: MeshTimeout, to: [{Mesh: null, default: {connectionTimeout: 9s}}]}
`
	assert.Equal(t, want, stdout)
	_, expanded, _ := meridian(t, "", "sim", "fmt", "--expand", file)
	code, _, stderr = meridian(t, "", "sim", "fmt", "-w", file)
	require.Equal(t, 0, code, stderr)
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, want, string(written))
	_, again, _ := meridian(t, "", "sim", "fmt", file)
	assert.Equal(t, want, again, "what is formatted stays as it is")
	_, same, _ := meridian(t, "", "sim", "fmt", "--expand", file)
	assert.Equal(t, expanded, same, "it is the same federation")
}

func TestAPageNeedsNothingBesideIt(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "matrix.html")
	code, stdout, stderr := meridian(t, "", "sim", "matrix", simSuite+"/checkout.scenario.yaml", "--type", "mt", "--field", "requestTimeout", "-o", "html", "--out", out)
	require.Equal(t, 0, code, stderr)
	assert.Empty(t, stdout)
	page, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Contains(t, string(page), `<td class="good" title="global/web-slow (system)">15s</td>`)
	assert.NotRegexp(t, `(src|href)=|https?:|@import|url\(`, string(page))
}

// TestTheGuideShowsWhatTheFailingExamplePrints keeps a block of docs/guide/simulate.md current.
func TestTheGuideShowsWhatTheFailingExamplePrints(t *testing.T) {
	t.Parallel()
	const root, guide, mark = "../../", "../../docs/guide/simulate.md", "<!-- the test of cmd/meridian keeps this block current -->\n```\n"
	code, stdout, _ := meridian(t, "", "sim", "test", "--no-time", root+"examples/failing")
	require.Equal(t, 1, code)
	want := "$ meridian sim test examples/failing --no-time\n" + strings.ReplaceAll(stdout, root, "")
	data, err := os.ReadFile(guide)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(data), mark)
	require.True(t, found, "the guide has the block")
	got, after, found := strings.Cut(rest, "```\n")
	require.True(t, found)
	if *update {
		require.NoError(t, os.WriteFile(guide, []byte(before+mark+want+"```\n"+after), 0o644))
		return
	}
	assert.Equal(t, want, got, "go test ./cmd/meridian -run Guide -update writes it")
}
