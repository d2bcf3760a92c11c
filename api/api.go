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

	// InitialPolicies returns the policies that are written with a Mesh in the batch that creates it, but for those whose
	// keys the store or the batch has: somebody wrote them. nil: none are.
	InitialPolicies func(mesh resource.Resource) ([]resource.Resource, error)

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
	mux := sync.OnceValue(s.mux)
	return s.stale(s.guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux().ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), serverKey{}, s)))
	})))
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

// shape is what routes depend on.
type shape struct {
	link, sync, drain, metrics, backup, tokens, envoy bool
	kinds                                             string // that are served
}

// muxes has a *http.ServeMux for each shape. There are hundreds of routes and they are dear to make, so the many planes of a
// simulation share them, and a plane that nobody asks makes none.
var muxes sync.Map

// mux returns the routes for servers such as this one.
func (s *server) mux() *http.ServeMux {
	like := shape{
		link: s.Link != nil, sync: s.Sync != nil, drain: s.Sync != nil && s.Sync.Drain != nil,
		metrics: s.Metrics != nil, backup: s.Backup != nil, tokens: s.Tokens != nil, envoy: s.Envoy != nil,
	}
	for _, d := range s.served {
		like.kinds += d.Kind + " "
	}
	mux, ok := muxes.Load(like)
	if !ok {
		mux, _ = muxes.LoadOrStore(like, routes(like, s.served))
	}
	return mux.(*http.ServeMux)
}

// serverKey is the key of a request's *server in its context.
type serverKey struct{}

// handler answers a request to a server, or says why it does not.
type handler = func(*server, http.ResponseWriter, *http.Request) error

// routes returns the routes of all servers of a shape. They find the server in the context of the request.
func routes(like shape, served []resource.Descriptor) *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(pattern, title string, h handler) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			s := r.Context().Value(serverKey{}).(*server)
			if err := h(s, w, r); err != nil {
				s.fail(w, r, title, err)
			}
		})
	}
	serves := func(kind string) bool {
		return slices.ContainsFunc(served, func(d resource.Descriptor) bool { return d.Kind == kind })
	}
	handle("GET /{$}", titleGet, (*server).index)
	handle("GET /healthz", titleGet, (*server).healthy)
	handle("GET /readyz", "Not ready", (*server).ready)
	handle("GET /_resources", titleList, (*server).resourceTypes)
	handle("GET /policies", titleList, (*server).policyTypes)
	handle("GET /status/zones", titleList, (*server).zoneStatus)
	if like.link {
		handle("GET /status/global", titleGet, (*server).globalStatus)
	}
	if like.sync {
		handle("GET /status/sync", titleGet, (*server).syncStatus)
		handle("POST /status/sync/of", titleGet, (*server).syncOfMany)
		handle("POST /status/sync/confirm", "Could not confirm", (*server).syncConfirm)
		handle("POST /status/sync/retry", "Could not retry", (*server).syncRetry)
		if like.drain {
			handle("GET /zones/{name}/_drain", titleGet, (*server).zoneDrain)
			for action := range zoneActions {
				handle("POST /zones/{name}/"+action, titlePut, zoneAction(action))
			}
		}
	}
	if like.metrics {
		handle("GET /metrics", titleGet, func(s *server, w http.ResponseWriter, r *http.Request) error {
			s.Metrics.ServeHTTP(w, r)
			return nil
		})
	}
	if like.backup {
		handle("GET /_backup", "Could not back up", (*server).backup)
	}
	handle("GET /who-am-i", titleGet, (*server).whoAmI)
	if like.tokens {
		handle("POST /tokens/zone", titleToken, (*server).zoneToken)
		handle("POST /tokens/user", titleToken, (*server).userToken)
	}
	handle("POST /_apply", titlePut, (*server).apply)
	for _, d := range served {
		of := func(h func(*server, resource.Descriptor, http.ResponseWriter, *http.Request) error) handler {
			return func(s *server, w http.ResponseWriter, r *http.Request) error {
				if err := allowed(d, r); err != nil {
					return err
				}
				return h(s, d, w, r)
			}
		}
		base := "/" + d.Plural
		hasOverview := slices.ContainsFunc(overviews, func(o overviewKind) bool { return o.kind == d.Kind })
		if d.Scope == resource.ScopeMesh {
			handle("GET "+base, titleList, of((*server).list)) // over all meshes
			if hasOverview {
				handle("GET "+base+"/_overview", titleList, of((*server).listOverviews))
			}
			base = "/meshes/{mesh}" + base
		}
		item := base + "/{name}"
		handle("GET "+base, titleList, of((*server).list))
		handle("GET "+item, titleGet, of((*server).get))
		handle("PUT "+item, titlePut, of((*server).put))
		handle("DELETE "+item, titleDelete, of((*server).delete))
		if hasOverview {
			handle("GET "+base+"/_overview", titleList, of((*server).listOverviews))
			handle("GET "+item+"/_overview", titleGet, of((*server).overview))
		}
		if like.sync {
			handle("GET "+item+"/_sync", titleGet, of((*server).syncOf))
			handle("GET "+item+"/_trace", titleGet, of((*server).syncTrace))
		}
		if d.TargetRef {
			handle("GET "+item+"/_effect", "Could not retrieve policy", of((*server).effect))
		}
		if d.TargetRef || d.Kind == "MeshService" {
			for _, view := range []string{"_resources", "-resources"} { // kumactl 2.10 asks with the hyphen
				handle("GET "+item+"/"+view+"/dataplanes", "Could not retrieve policy", of((*server).matchedDataplanes))
			}
		}
	}
	for kind, path := range envoyPaths {
		d, _ := resource.LookupKind(kind)
		for _, view := range []string{"xds", "stats", "clusters"} {
			if like.envoy && serves(kind) {
				handle("GET "+path+"/"+view, "Could not execute admin operation", envoy(d, view))
			}
		}
	}
	if serves("Dataplane") {
		handle("GET /meshes/{mesh}/dataplanes/{name}/_rules", "Could not retrieve Dataplane", (*server).rules)
		handle("GET /meshes/{mesh}/meshgateways/{name}/_rules", "Could not retrieve MeshGateway", (*server).gatewayRules)
		handle("GET /meshes/{mesh}/dataplanes/{name}/_effective", "Could not retrieve Dataplane", (*server).effective)
		handle("GET /meshes/{mesh}/dataplanes/{name}/_policies", "Could not retrieve Dataplane", (*server).policies)
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
