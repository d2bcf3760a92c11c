package process

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	readyTimeout = 20 * time.Second
	stopTimeout  = 10 * time.Second // from SIGTERM to SIGKILL
	tailLines    = 8                // quoted when a child ends before it is ready
)

// Config says what to run.
type Config struct {
	Path string         // the binary
	Args []string       // all that it is told: MERIDIAN_* variables of this process do not reach it
	Log  io.WriteCloser // gets every line that the child prints and is closed after the last; nil discards
}

// Process is a child that was ready once. Its methods may be called from any goroutine, and after its end.
type Process struct {
	cmd   *exec.Cmd
	lines *output
	ready map[string]string // the pairs of the ready line
	done  chan struct{}

	err error // what Wait said; written before done is closed
}

// Start runs the child and returns when it is ready. It fails if the child ends or stays silent before that, or if ctx
// ends; then nothing of it is left. Once Start has returned, ctx has no hold on the child.
func Start(ctx context.Context, c Config) (*Process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command(c.Path, c.Args...), done: make(chan struct{})}
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MERIDIAN_") })
	p.cmd.Stdout, p.cmd.Stderr = w, w
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = startBound(p.cmd)
	w.Close() // the child has its own; ours would keep the pipe open after its end
	if err != nil {
		r.Close()
		if c.Log != nil {
			c.Log.Close()
		}
		return nil, err
	}

	p.lines = &output{log: c.Log, ready: make(chan map[string]string, 1)}
	go func() {
		defer close(p.done)
		p.lines.follow(r)
		r.Close()
		if c.Log != nil {
			c.Log.Close()
		}
		p.err = p.cmd.Wait()
	}()

	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("not ready after %s", readyTimeout))
	defer cancel()
	select {
	case p.ready = <-p.lines.ready:
		return p, nil
	case <-p.done:
		return nil, fmt.Errorf("%s ended before it was ready (%s):\n%s", c.Path, p.cmd.ProcessState, p.Tail())
	case <-ctx.Done():
		p.Kill()
		return nil, fmt.Errorf("%s: %w:\n%s", c.Path, context.Cause(ctx), p.Tail())
	}
}

// output reads what a child prints, line by line.
type output struct {
	log   io.Writer              // may be nil
	ready chan map[string]string // gets the ready line, once

	mu   sync.Mutex
	last []string // up to tailLines, guarded by mu
}

func (o *output) follow(r io.Reader) {
	in := bufio.NewReader(r)
	waiting := true
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 && o.log != nil {
			o.log.Write(line)
		}
		if text := string(bytes.TrimSpace(line)); text != "" {
			o.keep(text)
			if pairs, ok := parseReady(text); ok && waiting {
				waiting = false
				o.ready <- pairs
			}
		}
		if err != nil {
			return
		}
	}
}

func (o *output) keep(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.last) == tailLines {
		o.last = o.last[1:]
	}
	o.last = append(o.last, line)
}

// Tail returns the last lines that the child printed.
func (p *Process) Tail() string { return p.lines.tail() }

func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return cmp.Or(strings.Join(o.last, "\n"), "it printed nothing")
}

// URL returns the address of its REST API, http://127.0.0.1:41234.
func (p *Process) URL() string { return p.ready["api"] }

// KDS returns the address of its KDS server, grpcs://127.0.0.1:41235; "" on a zone.
func (p *Process) KDS() string { return p.ready["kds"] }

// Done is closed when the child has ended, whatever the reason.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop asks the child to end, by force if it does not within stopTimeout, and returns when it is gone. The error says
// how it ended if that was not with exit code 0.
func (p *Process) Stop() error {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.err
	case <-time.After(stopTimeout):
		p.Kill()
		return fmt.Errorf("%s did not stop within %s and was killed", p.cmd.Path, stopTimeout)
	}
}

// Kill ends the child and all that it started at once, as a power cut would, and returns when it is gone.
func (p *Process) Kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// signal reaches the whole group. A child that is gone already is no error.
func (p *Process) signal(s syscall.Signal) {
	select {
	case <-p.done: // its id may belong to someone else by now
	default:
		if err := syscall.Kill(-p.cmd.Process.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			p.cmd.Process.Signal(s)
		}
	}
}

// Pid returns the process id of the child, which is also the id of its group.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// parseReady returns the pairs of the line by which a control plane says that it is ready:
// "meridian-zone ready zone=east api=http://127.0.0.1:41234".
func parseReady(line string) (map[string]string, bool) {
	words := strings.Fields(line)
	if len(words) < 2 || words[1] != "ready" {
		return nil, false
	}
	pairs := map[string]string{}
	for _, word := range words[2:] {
		if key, value, ok := strings.Cut(word, "="); ok {
			pairs[key] = value
		}
	}
	return pairs, true
}
