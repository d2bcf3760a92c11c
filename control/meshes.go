package control

import (
	"slices"

	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

// initial is what a mesh of Kuma 2.10 starts with, in the canonical form that Schemas.Read gives a document. A name is
// that of the mesh after the prefix.
var initial = []struct{ kind, prefix, spec string }{
	{"MeshCircuitBreaker", "mesh-circuit-breaker-all-", `{"targetRef":{"kind":"Mesh"},"to":[{"default":` +
		`{"connectionLimits":{"maxConnections":1024,"maxPendingRequests":1024,"maxRequests":1024,"maxRetries":3}},"targetRef":{"kind":"Mesh"}}]}`},
	{"MeshRetry", "mesh-retry-all-", `{"targetRef":{"kind":"Mesh"},"to":[{"default":` +
		`{"grpc":{"backOff":{"baseInterval":"25ms","maxInterval":"250ms"},"numRetries":5,"perTryTimeout":"16s"},` +
		`"http":{"backOff":{"baseInterval":"25ms","maxInterval":"250ms"},"numRetries":5,"perTryTimeout":"16s"},` +
		`"tcp":{"maxConnectAttempt":5}},"targetRef":{"kind":"Mesh"}}]}`},
	{"MeshTimeout", "mesh-gateways-timeout-all-", `{"from":[{"default":` +
		`{"http":{"requestHeadersTimeout":"500ms","streamIdleTimeout":"5s"},"idleTimeout":"5m0s"},"targetRef":{"kind":"Mesh"}}],` +
		`"targetRef":{"kind":"Mesh","proxyTypes":["Gateway"]},"to":[{"default":` +
		`{"http":{"streamIdleTimeout":"5s"},"idleTimeout":"1h0m0s"},"targetRef":{"kind":"Mesh"}}]}`},
	{"MeshTimeout", "mesh-timeout-all-", `{"from":[{"default":` +
		`{"connectionTimeout":"10s","http":{"maxStreamDuration":"0s","requestTimeout":"0s","streamIdleTimeout":"1h0m0s"},"idleTimeout":"2h0m0s"},` +
		`"targetRef":{"kind":"Mesh"}}],"targetRef":{"kind":"Mesh","proxyTypes":["Sidecar"]},"to":[{"default":` +
		`{"connectionTimeout":"5s","http":{"requestTimeout":"15s","streamIdleTimeout":"30m0s"},"idleTimeout":"1h0m0s"},"targetRef":{"kind":"Mesh"}}]}`},
}

// initialPolicies returns the policies that Kuma 2.10 makes with a Mesh, by kind and name: but for those of a kind that
// its skipCreatingInitialPolicies lists, and none if that has a "*". They have no labels, as those of Kuma's control planes.
//
// Errors: those of a mesh whose spec does not decode.
func initialPolicies(mesh resource.Resource) ([]resource.Resource, error) {
	spec, err := resource.Spec[*meshv1.Mesh](mesh)
	if err != nil {
		return nil, err
	}
	skip := spec.GetSkipCreatingInitialPolicies()
	var policies []resource.Resource
	for _, p := range initial {
		if !slices.Contains(skip, "*") && !slices.Contains(skip, p.kind) {
			policies = append(policies, resource.Resource{
				Key: resource.Key{Kind: p.kind, Mesh: mesh.Name, Name: p.prefix + mesh.Name}, Spec: []byte(p.spec),
			})
		}
	}
	return policies, nil
}

// FirstMesh returns the ops that give a new store the mesh default and what c wants a new mesh to have.
func (c Config) FirstMesh() ([]resource.Op, error) {
	mesh := resource.Resource{Key: resource.Key{Kind: "Mesh", Name: resource.DefaultMesh}, Spec: []byte{}}
	ops := []resource.Op{resource.Put(mesh)}
	if !c.DefaultPolicies {
		return ops, nil
	}
	policies, err := initialPolicies(mesh)
	for _, p := range policies {
		ops = append(ops, resource.Put(p))
	}
	return ops, err
}
