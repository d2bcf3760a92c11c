package api

import (
	"cmp"
	"context"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

const (
	defaultMaxBody = 1 << 20
	batchFactor    = 32 // how many times as large a body of _apply may be
)

// kumaVersion is the release of Kuma whose API this is. kumactl compares it with its own.
const kumaVersion = "2.10.11"

// Store is what the API needs of a store; storage.Store says what the methods promise.
type Store interface {
	Apply(ctx context.Context, ops ...resource.Op) (resource.Revision, error)
	Get(ctx context.Context, key resource.Key) (resource.Resource, error)
	View(ctx context.Context, kind string, fn func(resource.Revision, iter.Seq2[resource.Resource, error]) error) error
	Since(ctx context.Context, kind string, rev resource.Revision) ([]resource.Change, resource.Revision, error)
	Advanced(rev resource.Revision) <-chan struct{}
	Revision() resource.Revision
	Epoch() string
}

// Resolver is what the API needs of zone/resolver: what is in force on the proxies of this plane. Answers include what
// was written before the question. Errors: resource.ErrNotFound for a proxy or policy that is not there.
type Resolver interface {
	Rules(ctx context.Context, mesh, dataplane string) (policy.Answer, error)
	GatewayRules(ctx context.Context, mesh, gateway string) (policy.Answer, error)
	Matching(ctx context.Context, kind, mesh, name string) ([]resource.Resource, error)
	// Unresolved returns, for each policy, a warning for each reference that finds nothing, neither in the store nor in
	// also.
	Unresolved(ctx context.Context, policies, also []resource.Resource) ([][]string, error)
}

// Config is everything the API depends on.
type Config struct {
	Store    Store
	Resolver Resolver
	// Effective, Policies and Effect are the resolver's answers to _effective, _policies and _effect, any values that are
	// JSON; errors as of Resolver. zones are those of the proxies in an answer; who knows all at first hand says none.
	Effective func(ctx context.Context, mesh, dataplane string, f policy.Filter) (any, error)
	Policies  func(ctx context.Context, mesh, dataplane string) (any, error)
	Effect    func(ctx context.Context, kind, mesh, name string, page policy.Page) (_ any, zones []string, _ error)
	Plane     resource.Plane   // which control plane this is: decides what may be written here
	Schemas   resource.Schemas // the kinds that are served
	Version   string           // of this program
	Instance  string           // of this process; any word, new with every start
	Hostname  string

	// Link returns the state of the connection to the global control plane. nil on global and on a stand-alone zone.
	Link func() LinkStatus
	// Sync answers about the sync with other control planes. nil: there are none, or nobody asks.
	Sync *Sync
	// Metrics answers GET /metrics. nil: there is no such path.
	Metrics http.Handler

	// Envoy asks the Envoy of a proxy, a Dataplane, ZoneIngress or ZoneEgress of this store. nil: nobody can.
	Envoy func(ctx context.Context, proxy resource.Resource, q EnvoyQuestion) ([]byte, error)

	// Backup returns a snapshot of the store, which the caller closes. nil: there are no backups.
	Backup func(context.Context) (Snapshot, error)

	Access Access  // who may do what
	Tokens *Tokens // issues tokens; nil: nobody does here

	// MaxSynced is what a resource that goes to other control planes may weigh, in bytes as stored, so that a message can
	// hold it; 0: anything.
	MaxSynced int

	MaxBody int64        // of a request with one document, in bytes; 0: 1 MiB. A batch may be 32 times as large.
	Log     hclog.Logger // nil discards
}

// LinkStatus is the state of a zone's connection to its global control plane.
type LinkStatus struct {
	Address      string    `json:"address"`
	Connected    bool      `json:"connected"`
	Since        time.Time `json:"since"`                 // when Connected last changed
	LastReceived time.Time `json:"lastReceived,omitzero"` // zero: never
	LastError    string    `json:"lastError,omitempty"`   // why the last connection, or attempt, ended
}

type server struct {
	Config
	served []resource.Descriptor // the kinds with a schema, by name

	origins *http.CrossOriginProtection

	// cascade keeps resources from being written into a mesh that is being deleted: writes hold it shared.
	cascade sync.RWMutex
}

// New returns the API as a handler. It starts nothing and holds no state besides c's.
func New(c Config) http.Handler {
	c.MaxBody = cmp.Or(c.MaxBody, defaultMaxBody)
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	s := &server{Config: c, origins: http.NewCrossOriginProtection()}
	for _, d := range resource.Kinds {
		if _, ok := c.Schemas[d.Kind]; ok && d.Plural != "" {
			s.served = append(s.served, d)
		}
	}
	// A plane that nobody asks, one of a thousand in a simulation, needs no routes.
	routes := sync.OnceValue(s.routes)
	return s.stale(s.guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { routes().ServeHTTP(w, r) })))
}

// Titles of the error documents, Kuma's.
const (
	titleGet    = "Could not retrieve a resource"
	titleList   = "Could not retrieve resources"
	titlePut    = "Could not process a resource"
	titleDelete = "Could not delete a resource"
	titleToken  = "Could not issue a token"
	titleMesh   = "Failed to retrieve Mesh"
)

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern, title string, h func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := h(w, r); err != nil {
				s.fail(w, r, title, err)
			}
		})
	}
	handle("GET /{$}", titleGet, s.index)
	handle("GET /healthz", titleGet, s.healthy)
	handle("GET /readyz", "Not ready", s.ready)
	handle("GET /_resources", titleList, s.resourceTypes)
	handle("GET /policies", titleList, s.policyTypes)
	handle("GET /status/zones", titleList, s.zoneStatus)
	if s.Link != nil {
		handle("GET /status/global", titleGet, s.globalStatus)
	}
	if s.Sync != nil {
		handle("GET /status/sync", titleGet, s.syncStatus)
		handle("POST /status/sync/of", titleGet, s.syncOfMany)
		handle("POST /status/sync/confirm", "Could not confirm", s.syncConfirm)
		handle("POST /status/sync/retry", "Could not retry", s.syncRetry)
		if s.Sync.Drain != nil {
			handle("GET /zones/{name}/_drain", titleGet, s.zoneDrain)
			for action := range zoneActions {
				handle("POST /zones/{name}/"+action, titlePut, s.zoneAction(action))
			}
		}
	}
	if s.Metrics != nil {
		mux.Handle("GET /metrics", s.Metrics)
	}
	if s.Backup != nil {
		handle("GET /_backup", "Could not back up", s.backup)
	}
	handle("GET /who-am-i", titleGet, s.whoAmI)
	if s.Tokens != nil {
		handle("POST /tokens/zone", titleToken, s.zoneToken)
		handle("POST /tokens/user", titleToken, s.userToken)
	}
	handle("POST /_apply", titlePut, s.apply)
	for _, d := range s.served {
		of := func(h func(resource.Descriptor, http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
			return func(w http.ResponseWriter, r *http.Request) error {
				if err := allowed(d, r); err != nil {
					return err
				}
				return h(d, w, r)
			}
		}
		base := "/" + d.Plural
		hasOverview := slices.ContainsFunc(overviews, func(o overviewKind) bool { return o.kind == d.Kind })
		if d.Scope == resource.ScopeMesh {
			handle("GET "+base, titleList, of(s.list)) // over all meshes
			if hasOverview {
				handle("GET "+base+"/_overview", titleList, of(s.listOverviews))
			}
			base = "/meshes/{mesh}" + base
		}
		item := base + "/{name}"
		handle("GET "+base, titleList, of(s.list))
		handle("GET "+item, titleGet, of(s.get))
		handle("PUT "+item, titlePut, of(s.put))
		handle("DELETE "+item, titleDelete, of(s.delete))
		if hasOverview {
			handle("GET "+base+"/_overview", titleList, of(s.listOverviews))
			handle("GET "+item+"/_overview", titleGet, of(s.overview))
		}
		if s.Sync != nil {
			handle("GET "+item+"/_sync", titleGet, of(s.syncOf))
			handle("GET "+item+"/_trace", titleGet, of(s.syncTrace))
		}
		if d.TargetRef {
			handle("GET "+item+"/_effect", "Could not retrieve policy", of(s.effect))
		}
		if d.TargetRef || d.Kind == "MeshService" {
			for _, view := range []string{"_resources", "-resources"} { // kumactl 2.10 asks with the hyphen
				handle("GET "+item+"/"+view+"/dataplanes", "Could not retrieve policy", of(s.matchedDataplanes))
			}
		}
	}
	for kind, path := range envoyPaths {
		d, _ := resource.LookupKind(kind)
		for _, view := range []string{"xds", "stats", "clusters"} {
			if _, ok := s.Schemas[kind]; ok && s.Envoy != nil {
				handle("GET "+path+"/"+view, "Could not execute admin operation", s.envoy(d, view))
			}
		}
	}
	if _, ok := s.Schemas["Dataplane"]; ok {
		handle("GET /meshes/{mesh}/dataplanes/{name}/_rules", "Could not retrieve Dataplane", s.rules)
		handle("GET /meshes/{mesh}/meshgateways/{name}/_rules", "Could not retrieve MeshGateway", s.gatewayRules)
		handle("GET /meshes/{mesh}/dataplanes/{name}/_effective", "Could not retrieve Dataplane", s.effective)
		handle("GET /meshes/{mesh}/dataplanes/{name}/_policies", "Could not retrieve Dataplane", s.policies)
	}
	return mux
}

// stale marks every answer of a zone that has lost its global control plane with the time since when.
func (s *server) stale(next http.Handler) http.Handler {
	if s.Link == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if link := s.Link(); !link.Connected {
			w.Header().Set("Meridian-Stale-Since", link.Since.UTC().Format(time.RFC3339))
		}
		next.ServeHTTP(w, r)
	})
}

// requestMesh returns the mesh in the path of a mesh-scoped kind, "" otherwise.
func requestMesh(r *http.Request) string { return r.PathValue("mesh") }

// isJSON says whether the body claims to be JSON.
func isJSON(r *http.Request) bool {
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(media), "application/json")
}
