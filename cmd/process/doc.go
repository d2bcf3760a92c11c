// Package process runs a control plane as a child process: for `meridian demo` and `meridian up`, and for the tests
// that need real processes to kill.
//
// A child gets a process group of its own, so that Ctrl-C in a terminal reaches only the parent, which then stops its
// children in order, and so that Kill takes whatever the child may have started with it. Start returns once the child
// has printed its ready line; the line says which addresses it chose when it was told port 0:
//
//	p, err := process.Start(ctx, process.Config{Path: "bin/meridian-zone", Args: []string{"--name", "east", "--http-addr", "127.0.0.1:0"}})
//	if err != nil {
//		return err // it ended before it was ready: the error quotes what it printed last
//	}
//	defer p.Stop()
//	http.Get(p.URL() + "/readyz")
//
// Invariants: after Stop, Kill or a closed Done nothing of the child's group is left, and all that it printed has
// reached Config.Log. On Linux a child gets SIGTERM when this process ends in a way that leaves it no time for that. What the child means, and which flags it takes, is the caller's business.
package process
