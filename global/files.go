package global

import "github.com/meridian-mesh/meridian/storage/bolt"

// StoreFiles backs up, restores and verifies the stores of global control planes while they do not run. One that runs is backed up through
// GET /_backup of its REST API.
var StoreFiles = bolt.Files{Name: storeFile, Kind: "global"}

// StoreReport is what is in a store or a backup.
type StoreReport = bolt.Report

// ErrStoreInUse says that a control plane runs over the store.
var ErrStoreInUse = bolt.ErrInUse

// ErrStoreExists says that there is a store already.
var ErrStoreExists = bolt.ErrExists
