// Package storagetest is the contract of storage.Store as tests: each promise is a subtest, named as a sentence. The
// test of an implementation is one call:
//
//	func TestContract(t *testing.T) {
//		storagetest.Run(t, func(t testing.TB, dir string) storage.Store {
//			st, err := bolt.Open(filepath.Join(dir, "store.db"), bolt.Options{})
//			require.NoError(t, err)
//			return st
//		})
//	}
//
// The open function is called with a folder that is empty at first, and again with the same one after Close: then it
// must return the same store. What only one implementation promises (locks, formats, what a fault does) is tested next
// to it.
//
// The tests need no clock and no sleep: they wait for states. Each runs in parallel with the others, on stores of
// its own. A promise about waiting that is broken (a lost wake-up, a Close that never returns) shows as a test that
// hangs until go test gives up and prints who waits for what.
package storagetest
