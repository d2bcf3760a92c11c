package resource_test

import (
	"fmt"

	"github.com/meridian-mesh/meridian/resource"
)

func Example() {
	docs, err := resource.BaseSchemas().Read("redis.yaml", []byte(`
apiVersion: kuma.io/v1alpha1
kind: MeshService
metadata:
  name: redis
  namespace: kuma-demo
spec:
  ports:
  - {port: 6379, targetPort: main}
`), resource.ReadOptions{})
	if err != nil {
		panic(err)
	}
	r := docs[0].Resource
	d, _ := resource.LookupKind(r.Kind)
	r.Labels = resource.ComputeLabels(r, d, resource.Plane{Zone: "east", Federated: true}, "")

	fmt.Println("key:      ", r.Key)
	fmt.Println("identity: ", r.Identity())
	fmt.Println("elsewhere:", resource.WireName(r))
	fmt.Println("spec:     ", string(r.Spec))
	// Output:
	// key:       MeshService default/redis.kuma-demo
	// identity:  kri_msvc_default_east_kuma-demo_redis_
	// elsewhere: redis-x5874724v674bxb2
	// spec:      {"ports":[{"appProtocol":"tcp","port":6379,"targetPort":"main"}],"state":"Unavailable"}
}

func ExampleSchemas_Read() {
	docs, err := resource.BaseSchemas().Read("demo.yaml", []byte(`type: Mesh
name: default
mtls:
  enabledBakend: ca-1
---
type: Dataplane
name: demo-app
networking:
  address: 10.0.0.1
  inbound:
  - port: eighty
    tags: {kuma.io/service: demo-app}
---
type: Zone
name: east
`), resource.ReadOptions{})
	fmt.Println(err)
	for _, d := range docs {
		fmt.Printf("document %d, line %d: %v\n", d.Index, d.Line, d.Resource.Key)
	}
	// Output:
	// demo.yaml:4: document 1: Mesh default: mtls.enabledBakend: unknown field; did you mean enabledBackend?
	// demo.yaml:11: document 2: Dataplane default/demo-app: networking.inbound[0].port: found the text "eighty", want a whole number from 0 to 4294967295
	// document 3, line 14: Zone east
}

func ExampleSpec() {
	docs, err := resource.BaseSchemas().Read("", []byte(`{"type": "MeshService", "name": "redis", "spec": {"ports": [{"port": 6379}]}}`), resource.ReadOptions{})
	if err != nil {
		panic(err)
	}
	svc, err := resource.Spec[resource.MeshService](docs[0].Resource)
	fmt.Println(svc.Ports[0].Port, svc.State, err)
	// Output: 6379 Unavailable <nil>
}

func ExampleToYAML() {
	docs, err := resource.BaseSchemas().Read("", []byte(`{"type": "Zone", "name": "east", "enabled": true}`), resource.ReadOptions{})
	if err != nil {
		panic(err)
	}
	doc, _ := resource.ToKubernetes(docs[0].Resource)
	yaml, _ := resource.ToYAML(doc)
	fmt.Print(string(yaml))
	// Output:
	// apiVersion: kuma.io/v1alpha1
	// kind: Zone
	// metadata:
	//   name: east
	// spec:
	//   enabled: true
}

func ExampleNearest() {
	fmt.Println(resource.Nearest("MeshTimout", []string{"MeshHTTPRoute", "MeshTimeout", "MeshTrace"}))
	// Output: MeshTimeout
}

func ExampleParseKRI() {
	id, section, err := resource.ParseKRI("kri_msvc_default_east_kuma-demo_redis_main")
	fmt.Println(id.Kind, id.Mesh, id.Zone, id.Namespace, id.Name, section, err)
	// Output: MeshService default east kuma-demo redis main <nil>
}
