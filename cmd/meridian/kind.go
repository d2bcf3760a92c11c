package main

import (
	"strings"

	"github.com/meridian-mesh/meridian/resource"
)

// kindNamed returns the kind that a word on the command line means: meshtimeout, meshtimeouts, mt or MeshTimeout.
func kindNamed(word string) (resource.Descriptor, error) {
	var names []string
	for _, d := range resource.Kinds {
		if d.Plural == "" {
			continue // not served
		}
		for _, name := range []string{d.Singular, d.Plural, d.Short} {
			switch {
			case name == "":
			case plain(name) == plain(word):
				return d, nil
			default:
				names = append(names, name)
			}
		}
	}
	return resource.Descriptor{}, usage("unknown kind %q%s", word, nearest(strings.ToLower(word), names))
}

// plain returns a word without what people may leave out: GlobalSecret, global-secret, globalsecret.
func plain(word string) string { return strings.ToLower(strings.ReplaceAll(word, "-", "")) }

// commandName returns the word for a kind in output: meshtimeout.
func commandName(kind string) string {
	if d, ok := resource.LookupKind(kind); ok && d.Singular != "" {
		return d.Singular
	}
	return strings.ToLower(kind)
}
