package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const badField = `type: MeshTimeout
mesh: default
name: bad
spec:
  to:
    - targetRef: {kind: Mesh}
      default:
        http:
          requestTimeuot: 1s
`

const oldSubset = `type: MeshTimeout
name: old
spec:
  targetRef: {kind: MeshSubset, tags: {a: b}}
  to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]
`

func writeFiles(t testing.TB, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	}
	return dir
}

func TestValidateExitCodes(t *testing.T) {
	t.Parallel()
	dir := writeFiles(t, map[string]string{"good.yaml": producer, "old.yaml": oldSubset, "bad.yaml": badField})
	declared := strings.Replace(producer, "{name: slow,", "{name: slow, labels: {kuma.io/policy-role: consumer},", 1)
	for name, c := range map[string]struct {
		args   []string
		stdin  string
		code   int
		stdout []string // what it has, in order
		stderr string
	}{
		"valid":                  {args: []string{"-f", dir + "/good.yaml"}, stdout: []string{"1 document, all valid"}},
		"warnings":               {args: []string{"-f", dir + "/old.yaml"}, stdout: []string{dir + "/old.yaml:1: warning: MeshTimeout default/old: ", "MeshSubset"}},
		"warnings that count":    {args: []string{"-f", dir + "/old.yaml", "--fail-on", "warn"}, code: 1, stdout: []string{"MeshSubset"}, stderr: "1 warning, and --fail-on is warn"},
		"invalid":                {args: []string{"-f", dir + "/bad.yaml"}, code: 2, stdout: []string{dir + "/bad.yaml:9: MeshTimeout default/bad: spec.to[0].default.http.requestTimeuot: "}, stderr: "1 bad document of 1 document"},
		"a folder":               {args: []string{dir}, code: 2, stdout: []string{"bad.yaml:9:", "old.yaml:1: warning"}, stderr: "1 bad document of 3 documents"},
		"nothing":                {code: 2, stderr: "give a file"},
		"no document":            {args: []string{"-f", "-"}, stdin: "# nothing\n", code: 2, stderr: "no document in -"},
		"no such file":           {args: []string{"-f", dir + "/none.yaml"}, code: 2, stderr: "none.yaml"},
		"another role":           {args: []string{"-f", "-"}, stdin: declared, stdout: []string{`<stdin>:1: warning: MeshTimeout default/slow.shop: labels["kuma.io/policy-role"]: declares the role consumer`, "producer"}},
		"another role, strictly": {args: []string{"-f", "-", "--strict-role"}, stdin: declared, code: 2, stdout: []string{`<stdin>:1: MeshTimeout default/slow.shop: labels["kuma.io/policy-role"]`}},
		"the role that it has":   {args: []string{"-f", "-", "--strict-role"}, stdin: strings.Replace(declared, "consumer", "producer", 1)},
		"many in one file":       {args: []string{"-f", "-"}, stdin: oldSubset + "---\n" + badField, code: 2, stdout: []string{"<stdin>:1: document 1: warning", "<stdin>:15: document 2: MeshTimeout"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := meridian(t, c.stdin, append([]string{"validate"}, c.args...)...)
			assert.Equal(t, c.code, code, stdout+stderr)
			assert.Contains(t, stderr, c.stderr)
			rest := stdout
			for _, want := range c.stdout {
				_, after, ok := strings.Cut(rest, want)
				require.True(t, ok, "%q is not in %q", want, stdout)
				rest = after
			}
		})
	}
}

func TestValidateSaysTheSameToPrograms(t *testing.T) {
	t.Parallel()
	dir := writeFiles(t, map[string]string{"a b.yaml": badField + "---\n" + oldSubset})
	file := filepath.Join(dir, "a b.yaml")

	_, stdout, _ := meridian(t, "", "validate", "-f", dir, "-o", "json")
	var r report
	require.NoError(t, json.Unmarshal([]byte(stdout), &r))
	assert.Equal(t, 2, r.Documents)
	assert.Equal(t, 1, r.Invalid)
	assert.Equal(t, 1, r.Warnings)
	require.Len(t, r.Findings, 2)
	assert.Equal(t, finding{
		Level: "error", Rule: "spec", File: file, Line: 9, Document: 1, Resource: "MeshTimeout default/bad",
		Field: "spec.to[0].default.http.requestTimeuot", Reason: "unknown field; did you mean requestTimeout?",
	}, r.Findings[0])
	assert.Equal(t, "advice", r.Findings[1].Rule)

	code, stdout, _ := meridian(t, "", "validate", "-f", dir, "-o", "github")
	assert.Equal(t, 2, code)
	first, second, _ := strings.Cut(stdout, "\n")
	assert.Equal(t, "::error file="+file+",line=9,title=MeshTimeout default/bad spec::MeshTimeout default/bad: spec.to[0].default.http.requestTimeuot: unknown field; did you mean requestTimeout?", first)
	assert.Contains(t, second, "::warning file="+file+",line=11,title=MeshTimeout default/old advice::")

	code, stdout, _ = meridian(t, "", "validate", "-f", dir, "-o", "sarif")
	assert.Equal(t, 2, code)
	var log sarifLog
	require.NoError(t, json.Unmarshal([]byte(stdout), &log))
	assert.Equal(t, "2.1.0", log.Version)
	require.Len(t, log.Runs, 1)
	require.Len(t, log.Runs[0].Results, 2)
	for _, result := range log.Runs[0].Results {
		assert.Equal(t, result.RuleID, log.Runs[0].Tool.Driver.Rules[result.RuleIndex].ID)
		assert.Equal(t, "file://"+strings.ReplaceAll(file, " ", "%20"), result.Locations[0].Physical.Artifact.URI)
	}
	assert.Equal(t, 9, log.Runs[0].Results[0].Locations[0].Physical.Region.StartLine)
}

func TestGitHubLinesStayOnOneLine(t *testing.T) {
	t.Parallel()
	f := finding{Level: "error", Rule: "syntax", File: "a,b:c.yaml", Line: 3, Reason: "100%\nbad"}
	assert.Equal(t, "::error file=a%2Cb%3Ac.yaml,line=3,title=syntax::100%25%0Abad", f.github())
}

func TestEveryFindingHasAKnownRule(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, rule := range rules {
		known[rule.id] = true
	}
	for field, want := range map[string]string{
		"": "spec", "name": "metadata", `labels["a"]`: "metadata", "metadata.name": "metadata", "spec": "spec",
		"spec.to[0].targetRef.kind": "reference", "spec.to[0].rules[0].default.backendRefs[0].port": "reference",
		"networking.address": "spec",
	} {
		assert.Equal(t, want, ruleOf("Some", field), field)
		assert.True(t, known[want])
	}
	assert.Equal(t, "syntax", ruleOf("", ""))
}

// tenThousand returns a folder of 10,000 documents in 1,000 files, and its three bad ones as file:line.
func tenThousand(t testing.TB) (dir string, bad []string) {
	t.Helper()
	files := map[string]string{}
	for file := range 1000 {
		var b strings.Builder
		for doc := range 10 {
			if b.Len() > 0 {
				b.WriteString("---\n")
			}
			name := fmt.Sprintf("t-%03d-%d", file, doc)
			if doc == 4 && (file == 7 || file == 500 || file == 999) {
				b.WriteString(strings.Replace(badField, "name: bad", "name: "+name, 1))
			} else {
				b.WriteString(strings.NewReplacer("name: bad", "name: "+name, "requestTimeuot", "requestTimeout").Replace(badField))
			}
		}
		files[fmt.Sprintf("team-%d/f-%03d.yaml", file/100, file)] = b.String()
	}
	dir = writeFiles(t, files)
	for _, file := range []int{7, 500, 999} {
		bad = append(bad, filepath.Join(dir, fmt.Sprintf("team-%d/f-%03d.yaml", file/100, file))+":49:")
	}
	return dir, bad
}

func TestValidateFindsTheThreeBadDocumentsOfTenThousand(t *testing.T) {
	t.Parallel()
	dir, bad := tenThousand(t)
	code, stdout, stderr := meridian(t, "", "validate", "-f", dir)
	assert.Equal(t, 2, code)
	assert.Equal(t, "meridian: 3 bad documents of 10000 documents\n", stderr)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	require.Len(t, lines, len(bad), stdout)
	for i, line := range lines {
		assert.True(t, strings.HasPrefix(line, bad[i]), line)
		assert.Contains(t, line, "spec.to[0].default.http.requestTimeuot")
	}
}

func BenchmarkValidateTenThousandDocuments(b *testing.B) {
	dir, _ := tenThousand(b)
	c := &cli{out: b.Output(), err: b.Output()}
	for b.Loop() {
		r, err := c.validate(b.Context(), []string{dir}, false)
		require.NoError(b, err)
		require.Equal(b, 3, r.Invalid)
	}
	b.ReportMetric(float64(b.Elapsed().Seconds())/float64(b.N), "s/folder")
}
