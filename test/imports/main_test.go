package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestImportsPointDown(t *testing.T) {
	t.Parallel()
	for _, edge := range []struct {
		from, to string
		ok       bool
	}{
		{"resource", "proto/mesh/v1alpha1", true},
		{"proto/gen", "resource", false},
		{"kds", "kds/scope", true},
		{"kds", "storage", false},
		{"kds", "auth", false},
		{"global", "auth", true},
		{"zone", "control", true},
		{"control", "global", false},
		{"api", "control", false},
		{"auth", "resource", true},
		{"api", "zone/resolver", false},
		{"zone/resolver", "policy", true},
		{"zone", "zone/resolver", true},
		{"zone/resolver", "zone", false},
		{"zone", "global", false},
		{"cmd/meridian", "kds/scope", true},
		{"cmd/meridian", "storage/bolt", false},
		{"cmd/meridian", "zone", true},
		{"cmd/meridian", "sim", true},
		{"sim/planes", "global", true},
		{"sim", "storage", true},
		{"zone", "sim", false},
		{"test/federation", "storage/bolt", true},
		{"storage", "test/federation", false},
		{"somewhere", "resource", false},
	} {
		assert.Equal(t, edge.ok, wrong(edge.from, edge.to) == "", "%s -> %s: %s", edge.from, edge.to, wrong(edge.from, edge.to))
	}
}
