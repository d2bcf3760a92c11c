// Package cow has maps and sorted lists that can be kept as they are while a copy of them is changed.
//
// An index that is read all the time and changed now and then is a value of such maps and lists. A reader takes a copy
// of the value, which costs nothing, and reads it for as long as it likes. The writer changes its own copy under an
// Edit: what it touches for the first time under that Edit is copied, a 256th of a map or one list at a time; what is
// its own already is changed in place, so a large batch does not copy things over and over:
//
//	next := now               // a struct of Maps and Lists
//	e := cow.NewEdit()
//	next.byName.Set(e, "a", 1) // now does not change
//	publish(next)             // e must not be used any more
//
// The nouns:
//
//   - Edit: the right to change in place what was copied or made under it.
//   - Map: a map. Get costs what it costs in a Go map and a little more.
//   - List: values in ascending order. Inserting costs one copy of the list, of 8 bytes a pointer: 10 us at 30,000.
//   - Lists: a Map whose values are Lists; a list that gets empty is gone.
//
// Invariants: no method changes what an earlier copy of the same value shows, provided that each Edit is used by one
// goroutine, and not any more once a copy that was changed under it has been given away.
//
// Not here: anything that blocks, and anything about policies.
package cow
