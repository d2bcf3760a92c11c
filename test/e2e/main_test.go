// Package e2e runs the three programs as real processes on 127.0.0.1 and kills them. What can be shown inside one
// process is shown in test/federation; here is what needs a process: kill -9, a second start on the same data, exit
// codes, TLS on a socket, and the figures of the benchmarks.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/cmd/process"
	"github.com/meridian-mesh/meridian/internal/wire"
	"github.com/meridian-mesh/meridian/resource"
)

// settle is how long a state may take to come about on a busy machine; it is never waited for when all is well.
const settle = time.Minute

var bin string // the folder of the built programs

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	// Those of whoever runs the tests are nobody's business, and those of one `meridian up` are not another's.
	os.Setenv("MERIDIAN_CONTEXTS", filepath.Join(os.TempDir(), "meridian-no-such-folder", "contexts.yaml"))
	if bin = os.Getenv("E2E_BIN"); bin != "" { // programs that are built already, of a release or another commit
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "meridian-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	build := exec.Command("go", "build", "-o", dir+"/", "../../cmd/...")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the programs:", err)
		return 1
	}
	return m.Run()
}

// plane is one control plane that can be killed and started again on the same data.
type plane struct {
	t    testing.TB
	name string // global, or the zone's name
	dir  string
	args []string

	mu      sync.Mutex
	process *process.Process // nil while it is down, guarded by mu
	log     *testLog         // of the last start, guarded by mu
	changed chan struct{}    // closed and replaced when process changes, guarded by mu
}

func newPlane(t testing.TB, name, program string, args ...string) *plane {
	p := &plane{t: t, name: name, dir: t.TempDir(), changed: make(chan struct{})}
	p.args = append([]string{filepath.Join(bin, program), "--data-dir", p.dir, "--http-addr", "127.0.0.1:0"}, args...)
	p.start()
	t.Cleanup(func() {
		p.kill()
		requireNoProcess(t, p.dir)
	})
	return p
}

func newGlobal(t testing.TB, args ...string) *plane {
	return newPlane(t, "global", "meridian-global", append([]string{"--kds-addr", "127.0.0.1:0"}, args...)...)
}

// newZone starts a zone that dials the global through w, with a token that the global made.
func newZone(t testing.TB, name string, w *link, args ...string) *plane {
	if len(args) == 0 {
		args = []string{"--global", "grpcs://" + w.Addr(), "--tls-ca", filepath.Join(w.to.dir, "kds.crt"), "--zone-token-file", w.to.zoneToken(name)}
	}
	return newPlane(t, name, "meridian-zone", append([]string{"--name", name}, args...)...)
}

// zoneToken returns a file with a new token that proves a zone to this global.
func (p *plane) zoneToken(zone string) (file string) {
	p.t.Helper()
	code, token, stderr := p.cli("generate", "zone-token", "--zone", zone, "--valid-for", "1h")
	require.Zero(p.t, code, stderr)
	file = filepath.Join(p.t.TempDir(), zone+".token")
	require.NoError(p.t, os.WriteFile(file, []byte(token), 0o600))
	return file
}

// run starts the program on the plane's data directory.
func (p *plane) run() (*process.Process, error) {
	log := &testLog{t: p.t, name: p.name}
	p.mu.Lock()
	p.log = log
	p.mu.Unlock()
	return process.Start(p.t.Context(), process.Config{Path: p.args[0], Args: p.args[1:], Log: log})
}

func (p *plane) start() {
	p.t.Helper()
	started, err := p.run()
	require.NoError(p.t, err, "start %s", p.name)
	p.set(started)
}

func (p *plane) set(running *process.Process) (was *process.Process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was, p.process = p.process, running
	close(p.changed)
	p.changed = make(chan struct{})
	return was
}

// kill ends the process as a power cut would.
func (p *plane) kill() {
	if was := p.set(nil); was != nil {
		was.Kill()
	}
}

// stop asks the process to end, which must give exit code 0.
func (p *plane) stop() {
	p.t.Helper()
	require.NoError(p.t, p.set(nil).Stop(), "%s ends with code 0 on SIGTERM", p.name)
}

// up returns the running process, waiting for it while the plane is down.
func (p *plane) up(ctx context.Context) (*process.Process, error) {
	for {
		p.mu.Lock()
		running, changed := p.process, p.changed
		p.mu.Unlock()
		if running != nil {
			return running, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (p *plane) url() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.process.URL()
}

// testLog shows what a process printed if the test fails.
type testLog struct {
	t    testing.TB
	name string

	mu    sync.Mutex
	lines bytes.Buffer
}

func (l *testLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(line)
}

func (l *testLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t.Failed() {
		fmt.Fprintf(os.Stderr, "--- %s: %s\n%s", l.t.Name(), l.name, &l.lines)
	}
	return nil
}

// link is a wire to a plane that comes and goes.
type link struct {
	*wire.Wire
	to *plane
}

func newLink(t testing.TB, to *plane) *link {
	w, err := wire.Listen(func() string {
		to.mu.Lock()
		defer to.mu.Unlock()
		if to.process == nil {
			return ""
		}
		return strings.TrimPrefix(to.process.KDS(), "grpcs://")
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	return &link{w, to}
}

// federation starts a global and zones that have received its mesh.
func federation(t testing.TB, zones ...string) (global *plane, byName map[string]*plane) {
	global = newGlobal(t)
	w := newLink(t, global)
	byName = map[string]*plane{}
	for _, name := range zones {
		byName[name] = newZone(t, name, w)
		byName[name].await("/meshes/default")
	}
	return global, byName
}

// request sends one request to wherever the plane listens now.
func (p *plane) request(ctx context.Context, method, path, body string, header ...string) (int, http.Header, string, error) {
	running, err := p.up(ctx)
	if err != nil {
		return 0, nil, "", err
	}
	req, err := http.NewRequestWithContext(ctx, method, running.URL()+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(data), err
}

// put writes one document and returns when it is acknowledged.
func (p *plane) put(path, doc string) {
	p.t.Helper()
	code, _, body, err := p.request(p.t.Context(), http.MethodPut, path, doc)
	require.NoError(p.t, err)
	require.Equal(p.t, 2, code/100, "PUT %s on %s: %s", path, p.name, body)
}

// await returns the document at path as soon as it exists.
func (p *plane) await(path string) string {
	p.t.Helper()
	code, _, body, err := p.request(p.t.Context(), http.MethodGet, path+"?wait="+settle.String(), "")
	require.NoError(p.t, err)
	require.Equal(p.t, http.StatusOK, code, "GET %s on %s: %s", path, p.name, body)
	return body
}

// names returns the author's names of a collection.
func (p *plane) names(path string) []string {
	p.t.Helper()
	var names []string
	for next := path + "?size=1000"; next != ""; {
		code, _, body, err := p.request(p.t.Context(), http.MethodGet, next, "")
		require.NoError(p.t, err)
		require.Equal(p.t, http.StatusOK, code, body)
		var page struct {
			Items []struct {
				Name   string
				Labels map[string]string
			}
			Next string
		}
		require.NoError(p.t, json.Unmarshal([]byte(body), &page))
		for _, item := range page.Items {
			r := resource.Resource{Key: resource.Key{Name: item.Name}, Labels: item.Labels}
			names = append(names, r.Display())
		}
		next = strings.TrimPrefix(page.Next, p.url())
	}
	return names
}

// cli runs the command line against the plane.
func (p *plane) cli(args ...string) (code int, stdout, stderr string) {
	p.t.Helper()
	return meridian(p.t, []string{"MERIDIAN_ADDRESS=" + p.url()}, args...)
}

func meridian(t testing.TB, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "meridian"), args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errOut.String()
}

// requireNoProcess fails if a process is left that has word on its command line. It looks where /proc is.
func requireNoProcess(t testing.TB, word string) {
	t.Helper()
	require.Empty(t, processesWith(t, word), "left behind")
}

// processesWith returns the command lines of processes that have word in them, where /proc is.
func processesWith(t testing.TB, word string) (lines []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err == nil && bytes.Contains(line, []byte(word)) && !strings.Contains(file, fmt.Sprintf("/%d/", os.Getpid())) {
			lines = append(lines, fmt.Sprintf("%s %s", file, bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return lines
}

// timeoutDoc returns a MeshTimeout. In a namespace it names a MeshService there, which makes it a producer policy.
func timeoutDoc(name, namespace, value string) string {
	target, labels := `{"kind":"Mesh"}`, ""
	if namespace != "" {
		target = `{"kind":"MeshService","name":"backend"}`
		labels = fmt.Sprintf(`"labels":{"kuma.io/origin":"zone","k8s.kuma.io/namespace":%q},`, namespace)
	}
	return fmt.Sprintf(`{"type":"MeshTimeout","mesh":"default","name":%q,%s"spec":{"to":[{"targetRef":%s,"default":{"connectionTimeout":%q}}]}}`,
		name, labels, target, value)
}

// timeoutPath returns the path of a MeshTimeout on the plane it was written on.
func timeoutPath(name, namespace string) string {
	return "/meshes/default/meshtimeouts/" + resource.StorageName(name, namespace)
}

// wirePath returns the path of a MeshTimeout on every other plane.
func wirePath(name, namespace, zone string) string {
	r := resource.Resource{Key: resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: name}, Labels: map[string]string{}}
	if namespace != "" {
		r.Labels[resource.LabelNamespace] = namespace
		r.Labels[resource.LabelDisplayName] = name
	}
	if zone != "" {
		r.Labels[resource.LabelZone] = zone
	}
	return "/meshes/default/meshtimeouts/" + resource.WireName(r)
}
