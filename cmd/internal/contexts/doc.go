// Package contexts remembers control planes by name, so that people need not copy addresses from one terminal to another: those that they have
// written down, and those of a federation that `meridian up` runs, for as long as it runs.
//
//	file, err := contexts.Path(os.LookupEnv)                 // ~/.config/meridian/contexts.yaml
//	err = contexts.Change(file, func(l *contexts.List) error {
//		return l.Put("prod", contexts.Context{Address: "https://global.example:5682", Token: "@/run/token"})
//	})
//	l, err := contexts.Read(file)
//	name, c, err := l.Find("prod")
//
// Its nouns: a Context is an address and how to be let in there; the List has them by name, and says which is current. `meridian up` gives those
// of a federation the name of the scenario, a slash, and the name of the control plane: shop/global, shop/east. Find takes the last part, too.
//
// Invariants: the file is replaced as a whole, and changes wait for one another, so that no reader sees half of one and none is lost; it is
// readable for its owner only. A context of a process that has ended is not there, whether or not the process came to remove it.
//
// Not here: flags and variables, and which of them comes first (package main).
package contexts
