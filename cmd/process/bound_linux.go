package process

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// starter runs functions on one thread, which ends with the process and not before: a child that is bound to its parent is bound to the thread
// that made it.
var starter = sync.OnceValue(func() chan<- func() {
	all := make(chan func())
	go func() {
		runtime.LockOSThread()
		for fn := range all {
			fn()
		}
	}()
	return all
})

// startBound starts a child that is asked to end when this process ends, however it does.
func startBound(cmd *exec.Cmd) error {
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	err := make(chan error, 1)
	starter() <- func() { err <- cmd.Start() }
	return <-err
}
