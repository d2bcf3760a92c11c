package process_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/cmd/process"
)

const asParent = "MERIDIAN_TEST_PARENT"

// TestAChildEndsWithAParentThatIsKilled runs itself as the parent.
func TestAChildEndsWithAParentThatIsKilled(t *testing.T) {
	if os.Getenv(asParent) != "" {
		p, err := process.Start(t.Context(), program("echo x ready\nexec sleep 1000"))
		require.NoError(t, err)
		fmt.Println("child", p.Pid())
		<-p.Done()
		return
	}
	t.Parallel()
	parent := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	parent.Env = append(os.Environ(), asParent+"=1")
	out, err := parent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, parent.Start())
	child := ""
	for lines := bufio.NewScanner(out); child == "" && lines.Scan(); {
		child, _ = strings.CutPrefix(lines.Text(), "child ")
		if child == lines.Text() {
			child = ""
		}
	}
	require.NotEmpty(t, child)
	require.NoError(t, parent.Process.Kill())
	require.Error(t, parent.Wait())
	require.Eventually(t, func() bool { // its new parent may take a moment to bury it
		state, err := os.ReadFile("/proc/" + child + "/stat")
		return err != nil || bytes.Contains(state, []byte(") Z "))
	}, time.Minute, time.Millisecond)
}
