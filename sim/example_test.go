package sim_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/meridian-mesh/meridian/sim"
)

const checkout = `
zones:
  east:
    services: {kv: {namespace: shop, port: 6379}}
  west:
    proxies: {batch: {namespace: jobs}}
policies:
  east/shop/kv-timeout:
    kind: MeshTimeout
    to: [{MeshService: kv, default: {http: {requestTimeout: 1s}}}]
expect:
  - effective: {proxy: west/jobs/batch, type: MeshTimeout, to: east/shop/kv, set: {http.requestTimeout: 2s}}
`

// A scenario is run in a test of your own, or in a program.
func ExampleRun() {
	s, err := sim.Parse("checkout.scenario.yaml", ".", []byte(checkout))
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := sim.Run(context.Background(), s, sim.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, o := range result.Expectations {
		fmt.Printf("%s: %s\n  want %s\n  got  %s\n", o.Status, o.Subject, o.Want, o.Got)
	}
	// Output:
	// failed: west/jobs/batch -> east/shop/kv  MeshTimeout
	//   want http.requestTimeout = 2s
	//   got  http.requestTimeout = 1s from east/shop/kv-timeout
}

func ExampleResult_Effective() {
	s, _ := sim.Parse("checkout.scenario.yaml", ".", []byte(checkout))
	result, err := sim.Run(context.Background(), s, sim.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	answers, err := result.Effective(context.Background(), sim.Query{Proxy: "west/*/*", Type: "MeshTimeout", To: "east/shop/kv"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, a := range answers {
		for _, f := range a.Destinations[0].Rules[0].Fields {
			fmt.Println(a.Proxy, f.Path, f.Value, "from", f.Origin.Zone, f.Origin.Name)
		}
	}
	// Output: west/jobs/batch http.requestTimeout 1s from east kv-timeout
}

func ExampleResult_Sync() {
	s, _ := sim.Parse("checkout.scenario.yaml", ".", []byte(checkout))
	result, err := sim.Run(context.Background(), s, sim.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	rows, err := result.Sync("east/shop/kv-timeout")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, row := range rows {
		fmt.Printf("%s: %t, %s\n", row.Plane, row.Has, row.Because)
	}
	// Output:
	// global: true, written in this zone; global gets everything of its kind
	// east: true, written here
	// west: true, a producer policy of another zone: it configures whoever calls that service, in every zone
}

func ExamplePlan() {
	base, _ := sim.Parse("checkout.scenario.yaml", ".", []byte(checkout))
	head, _ := sim.Parse("checkout.scenario.yaml", ".", []byte(strings.Replace(checkout, "requestTimeout: 1s", "requestTimeout: 3s", 1)))
	plan, err := sim.Plan(context.Background(), base, head, sim.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range plan.Changes {
		fmt.Println(c.Proxy, c.Path, c.Before, "->", c.After)
	}
	// Output:
	// east/shop/kv-0 http.requestTimeout 1s -> 3s
	// west/jobs/batch http.requestTimeout 1s -> 3s
}
