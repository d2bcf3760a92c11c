package federation

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim/planes"
)

func dataplane(namespace, name, service string) string {
	return fmt.Sprintf(`
apiVersion: kuma.io/v1alpha1
kind: Dataplane
metadata: {name: %s, namespace: %s}
spec:
  networking: {address: 10.0.0.1, inbound: [{port: 5000, tags: {kuma.io/service: %s}}]}
`, name, namespace, service)
}

func meshService(namespace, name string) string {
	return fmt.Sprintf(`
apiVersion: kuma.io/v1alpha1
kind: MeshService
metadata: {name: %[1]s, namespace: %[2]s, labels: {k8s.kuma.io/service-name: %[1]s}}
spec: {selector: {dataplaneTags: {kuma.io/service: %[1]s}}, ports: [{port: 5000, targetPort: 5000, appProtocol: http}]}
`, name, namespace)
}

// timeout is a MeshTimeout with one `to` item; target is the body of its targetRef.
func timeout(namespace, name, target, value string) string {
	metadata := "name: " + name
	if namespace != "" {
		metadata += ", namespace: " + namespace
	}
	return fmt.Sprintf(`
apiVersion: kuma.io/v1alpha1
kind: MeshTimeout
metadata: {%s}
spec: {to: [{targetRef: {%s}, default: {http: {requestTimeout: %s}}}]}
`, metadata, target, value)
}

const (
	byName   = "kind: MeshService, name: demo-app"
	byLabels = "kind: MeshService, labels: {k8s.kuma.io/service-name: demo-app}"
	toMesh   = "kind: Mesh"
)

var (
	producer = timeout("kuma-demo", "producer-timeout", byName, "1s")
	consumer = timeout("first-consumer", "consumer-timeout", byLabels, "3s")
)

// shop is a federation with demo-app in east and a consumer in both zones.
func shop(t *testing.T) *Federation {
	f := New(t, "east", "west")
	f.Zone("east").Apply(dataplane("kuma-demo", "demo-app", "demo-app") + "---" + meshService("kuma-demo", "demo-app") +
		"---" + dataplane("first-consumer", "consumer", "consumer") + "---" + dataplane("second-consumer", "consumer", "consumer"))
	f.Zone("west").Apply(dataplane("first-consumer", "consumer", "consumer"))
	f.Settle()
	return f
}

func bubble(t *testing.T, test func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, test)
}

func requireTimeout(t *testing.T, p *Plane, proxy, value, policy string) {
	t.Helper()
	gotValue, gotPolicy := p.Effective(proxy, "demo-app.kuma-demo", "MeshTimeout", "http.requestTimeout")
	require.Equal(t, value, gotValue, "%s %s", p, proxy)
	require.Equal(t, policy, gotPolicy, "%s %s", p, proxy)
}

func TestProducerPolicyReachesEveryZoneAndConsumerPolicyNone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := shop(t)
		east, west := f.Zone("east"), f.Zone("west")
		east.Apply(producer)
		f.RequirePresent(west, producer)
		f.RequirePresent(f.Global(), producer)
		requireTimeout(t, west, "consumer.first-consumer", "1s", "producer-timeout")
		requireTimeout(t, east, "consumer.second-consumer", "1s", "producer-timeout")

		east.Apply(consumer)
		f.RequirePresent(f.Global(), consumer)
		f.RequireAbsent(west, consumer)
		requireTimeout(t, east, "consumer.first-consumer", "3s", "consumer-timeout")
		requireTimeout(t, east, "consumer.second-consumer", "1s", "producer-timeout")
		requireTimeout(t, west, "consumer.first-consumer", "1s", "producer-timeout")

		everywhere := timeout("", "everywhere", toMesh, "9s")
		f.Global().Apply(everywhere)
		f.RequirePresent(west, everywhere)
		requireTimeout(t, west, "consumer.first-consumer", "1s", "producer-timeout")
		east.Delete(producer)
		synctest.Wait()
		requireTimeout(t, west, "consumer.first-consumer", "9s", "everywhere")
	})
}

func TestZoneWritesWhileCutOffAndCatchesUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := shop(t)
		f.Zone("east").Apply(producer)
		f.RequirePresent(f.Zone("west"), producer)

		f.Link("east").Cut()
		global := timeout("", "while-cut", toMesh, "5s")
		f.Global().Apply(global)
		f.Zone("east").Delete(producer)
		f.Zone("east").Apply(consumer)
		f.RequireAbsent(f.Zone("east"), global)
		f.RequirePresent(f.Zone("west"), producer) // global cannot know yet
		requireTimeout(t, f.Zone("east"), "consumer.first-consumer", "3s", "consumer-timeout")

		f.Link("east").Heal()
		f.Settle()
		f.RequirePresent(f.Zone("east"), global)
		f.RequireAbsent(f.Zone("west"), producer)
	})
}

func TestSilentLinkIsNoticedAndReplaced(t *testing.T) {
	for name, direction := range map[string]planes.Direction{"from the zone": Up, "to the zone": Down} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := shop(t)
				f.Link("west").Stall(direction)
				policy := timeout("", "into-the-silence", toMesh, "5s")
				f.Global().Apply(policy)
				f.Settle() // longer than keepalive allows
				assert.NotEmpty(t, f.Zone("west").Do(http.MethodGet, "/", nil).Header().Get("Meridian-Stale-Since"), "the zone should know that it is cut off")
				f.Link("west").Heal()
				f.Settle()
				f.RequirePresent(f.Zone("west"), policy)
				assert.Empty(t, f.Zone("west").Do(http.MethodGet, "/", nil).Header().Get("Meridian-Stale-Since"))
			})
		})
	}
}

func TestGlobalRestartLosesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := shop(t)
		before := timeout("", "before", toMesh, "5s")
		f.Global().Apply(before)
		synctest.Wait()
		f.Global().Stop()
		f.Zone("east").Apply(producer) // accepted while global is down
		requireTimeout(t, f.Zone("east"), "consumer.first-consumer", "1s", "producer-timeout")
		f.Settle()
		f.Global().Start()
		f.Settle()
		f.RequirePresent(f.Zone("west"), producer)
		f.RequirePresent(f.Zone("west"), before)
	})
}

func TestZoneRestartLosesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := shop(t)
		f.Zone("east").Apply(producer)
		synctest.Wait()
		f.Zone("east").Stop()
		gone := timeout("", "gone", toMesh, "5s")
		f.Global().Apply(gone)
		f.Global().Delete(gone)
		kept := timeout("", "kept", toMesh, "6s")
		f.Global().Apply(kept)
		f.Settle()
		f.RequirePresent(f.Zone("west"), producer) // a zone that is away is not a zone that deleted
		f.Zone("east").Start()
		f.Settle()
		f.RequirePresent(f.Zone("east"), kept)
	})
}

func TestPolicyThatStopsBeingAProducersIsWithdrawn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := shop(t)
		f.Zone("east").Apply(producer)
		f.RequirePresent(f.Zone("west"), producer)
		f.Zone("east").Apply(timeout("kuma-demo", "producer-timeout", toMesh, "2s"))
		f.RequireAbsent(f.Zone("west"), producer)
		f.RequirePresent(f.Global(), producer)
	})
}

func TestOneNameInTwoZonesStaysTwoResources(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := shop(t)
		f.Zone("west").Apply(meshService("kuma-demo", "demo-app") + "---" + timeout("kuma-demo", "producer-timeout", byName, "7s"))
		f.Zone("east").Apply(producer)
		f.Settle()
		f.Zone("west").Delete(producer)
		f.Settle()
		f.RequirePresent(f.Zone("west"), producer) // east's
		f.RequirePresent(f.Zone("east"), producer)
	})
}

func TestManyChangesDuringOneSlowAnswerConverge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := shop(t)
		f.Link("west").Stall(Up)
		for i := range 50 {
			f.Global().Apply(timeout("", "busy", toMesh, fmt.Sprintf("%ds", i+1)))
			synctest.Wait()
		}
		time.Sleep(time.Second) // much less than a keepalive
		f.Link("west").Heal()
		synctest.Wait()
		value, _ := f.Zone("west").Effective("consumer.first-consumer", "demo-app.kuma-demo", "MeshTimeout", "http.requestTimeout")
		assert.Equal(t, "50s", value)
	})
}

func TestZoneRefusesWhatGlobalOwnsAndTheReverse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := shop(t)
		policy := timeout("", "owned", toMesh, "5s")
		f.Global().Apply(policy)
		f.Zone("east").Apply(producer)
		synctest.Wait()
		for _, r := range f.Zone("west").contents("MeshTimeout") {
			answer := f.Zone("west").Do(http.MethodDelete, "/meshes/default/meshtimeouts/"+r.Name, nil)
			assert.GreaterOrEqual(t, answer.Code, 400, "%s: %s", r.Key, answer.Body)
			owner := "global"
			if r.Zone() != "" {
				owner = `zone \"east\"`
			}
			assert.Contains(t, answer.Body.String(), owner)
		}
		f.RequirePresent(f.Zone("west"), policy)
		f.RequirePresent(f.Zone("west"), producer)
	})
}

func TestEveryPolicyRoleStaysInItsScope(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := shop(t)
		east := f.Zone("east")
		owner := `
apiVersion: kuma.io/v1alpha1
kind: MeshTrafficPermission
metadata: {name: mtp, namespace: kuma-demo}
spec: {targetRef: {kind: Mesh}, from: [{targetRef: {kind: Mesh}, default: {action: Allow}}]}
`
		zonal := timeout("", "zonal", toMesh, "4s")
		east.Apply(owner + "---" + zonal + "---" + consumer + "---" + producer)
		f.Settle()
		roles := map[string]string{}
		for _, kind := range []string{"MeshTimeout", "MeshTrafficPermission"} {
			for _, r := range f.Global().contents(kind) {
				roles[r.Display()] = r.Role()
			}
		}
		assert.Equal(t, map[string]string{
			"mtp": resource.RoleWorkloadOwner, "zonal": resource.RoleSystem,
			"consumer-timeout": resource.RoleConsumer, "producer-timeout": resource.RoleProducer,
		}, roles)
		for _, doc := range []string{owner, zonal, consumer} {
			f.RequireAbsent(f.Zone("west"), doc)
		}
		f.RequirePresent(f.Zone("west"), producer)
	})
}

func TestDisabledZoneIsWithdrawnFromTheOthersAndComesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := shop(t)
		service := meshService("kuma-demo", "demo-app")
		f.Zone("east").Apply(producer)
		f.RequirePresent(f.Zone("west"), producer)
		f.Global().Apply("{type: Zone, name: east, enabled: false}")
		f.RequireAbsent(f.Zone("west"), producer)
		f.RequireAbsent(f.Zone("west"), service)
		f.RequirePresent(f.Global(), producer)
		f.Global().Apply("{type: Zone, name: east, enabled: true}")
		f.RequirePresent(f.Zone("west"), producer)
		f.RequirePresent(f.Zone("west"), service)
	})
}

func TestZoneThatIsDeletedTakesItsResourcesAlong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := shop(t)
		f.Zone("east").Apply(producer)
		f.RequirePresent(f.Zone("west"), producer)
		answer := f.Global().Do(http.MethodDelete, "/zones/east", nil)
		assert.Equal(t, http.StatusBadRequest, answer.Code, "a zone that is connected: %s", answer.Body)
		f.Zone("east").Stop()
		synctest.Wait()
		answer = f.Global().Do(http.MethodDelete, "/zones/east", nil)
		require.Equal(t, http.StatusOK, answer.Code, "%s", answer.Body)
		f.RequireAbsent(f.Global(), producer)
		f.RequireAbsent(f.Zone("west"), producer)
		f.Zone("east").Start() // it has kept what it wrote, and joins anew
		f.Settle()
		f.RequirePresent(f.Zone("west"), producer)
	})
}
