// Command imports checks the drawing of the house: imports point down, never sideways. It prints every edge that does
// not and exits 1; it also exits 1 when it saw no edge at all, since a guard must prove that it still guards.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

const module = "github.com/meridian-mesh/meridian/"

// rows lists the rooms from the ground up. A room may import any room of a lower row and itself.
var rows = [][]string{
	{"proto", "internal/mutation", "internal/wire"},
	{"resource"},
	{"policy"},
	{"api", "auth", "kds", "storage", "zone/resolver"},
	{"control"},
	{"global", "zone"},
	{"sim"},
	{"cmd"},
	{"test"},
}

// forbidden are edges that point down and still must not be: the command line talks HTTP, and only the planes wire
// stores and streams.
var forbidden = map[string][]string{"cmd": {"storage", "kds", "api"}}

// exceptions are packages that the forbidden rooms may share all the same: pure functions.
var exceptions = map[string]bool{"kds/scope": true}

// place returns the row and the room of a package path below the module; the longest room name wins.
func place(pkg string) (row int, room string) {
	row = -1
	for i, rooms := range rows {
		for _, r := range rooms {
			if (pkg == r || strings.HasPrefix(pkg, r+"/")) && len(r) > len(room) {
				row, room = i, r
			}
		}
	}
	return row, room
}

// wrong says what is wrong with an import of package to by package from, "" if nothing is.
func wrong(from, to string) string {
	fromRow, fromRoom := place(from)
	toRow, toRoom := place(to)
	switch {
	case fromRow < 0:
		return from + " is in no room of the drawing (test/imports)"
	case toRow < 0:
		return to + " is in no room of the drawing (test/imports)"
	case fromRoom == toRoom:
		return ""
	case toRow >= fromRow:
		return fmt.Sprintf("%s imports %s: %s may only import rooms below its row", from, to, fromRoom)
	}
	for _, room := range forbidden[fromRoom] {
		if room == toRoom && !exceptions[to] {
			return fmt.Sprintf("%s imports %s: %s must not reach into %s", from, to, fromRoom, toRoom)
		}
	}
	return ""
}

func main() {
	list := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		fmt.Fprintln(os.Stderr, "imports: go list:", err)
		os.Exit(1)
	}
	edges, bad := 0, 0
	for line := range strings.Lines(string(out)) {
		pkgs := strings.Fields(line)
		from := strings.TrimPrefix(pkgs[0], module)
		for _, pkg := range pkgs[1:] {
			to, ours := strings.CutPrefix(pkg, module)
			if !ours {
				continue
			}
			edges++
			if reason := wrong(from, to); reason != "" {
				bad++
				fmt.Println(reason)
			}
		}
	}
	if edges == 0 {
		fmt.Fprintln(os.Stderr, "imports: no edge between our packages was found: the check checked nothing")
		os.Exit(1)
	}
	if bad > 0 {
		os.Exit(1)
	}
	fmt.Printf("imports: %d edges, all point down\n", edges)
}
