package policy

import (
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/resource"
)

var meshLoadBalancingStrategy = Type{
	Kind: "MeshLoadBalancingStrategy", To: true, Egress: true,
	matrix: matrix{
		top:          []RefKind{kindMesh, kindSubset, kindGateway, kindService, kindServiceSet, kindDataplane},
		listenerTags: true,
		to:           []RefKind{kindMesh, kindService, kindMultiZone},
		need:         []string{"to"},
	},
	spec: func() spec { return &MeshLoadBalancingStrategy{} },
}

// MeshLoadBalancingStrategy says which endpoint of a service a request goes to: near or far, and how to choose among
// the near ones.
type MeshLoadBalancingStrategy struct {
	// TargetRef selects the proxies. Default: all of the mesh.
	TargetRef *TargetRef `json:"targetRef,omitempty"`
	// To is about traffic that the proxies send; at least one item.
	To []Peer[LoadBalancingConf] `json:"to,omitempty"`
}

// LoadBalancingConf is the conf of a MeshLoadBalancingStrategy.
type LoadBalancingConf struct {
	// LocalityAwareness prefers endpoints that are near.
	LocalityAwareness *LocalityAwareness `json:"localityAwareness,omitempty"`
	// LoadBalancer chooses among the endpoints that are preferred. At a MeshGateway it is for all traffic, so the item's
	// targetRef is Mesh.
	LoadBalancer *LoadBalancer `json:"loadBalancer,omitempty"`
}

// LocalityAwareness prefers endpoints that are near.
type LocalityAwareness struct {
	// Disabled spreads traffic over all endpoints of all zones. Default: false, own zone first.
	Disabled *bool `json:"disabled,omitempty"`
	// LocalZone prefers some endpoints of the own zone.
	LocalZone *LocalZone `json:"localZone,omitempty"`
	// CrossZone says which zones take over. Default: any. Not for a MeshService with labels or a section: its endpoints
	// are of one zone.
	CrossZone *CrossZone `json:"crossZone,omitempty"`
}

// LocalZone is preferences within the own zone.
type LocalZone struct {
	// AffinityTags are tags of an endpoint's inbound that count if they equal the client's, the first most. Either all
	// have a weight or none.
	AffinityTags []AffinityTag `json:"affinityTags,omitzero"`
}

// AffinityTag is a tag that an endpoint should share with the client.
type AffinityTag struct {
	// Key of the tag. Required.
	Key string `json:"key" check:"required"`
	// Weight of the traffic to endpoints that share the tag. From 1. Default: 9 times that of the next tag, which is 90
	// percent.
	Weight *uint32 `json:"weight,omitempty" check:"min=1"`
}

// CrossZone says which zones take over when the own one cannot serve.
type CrossZone struct {
	// Failover is the rules, in the order of preference. Default: every zone alike.
	Failover []Failover `json:"failover,omitzero"`
	// FailoverThreshold is when they take over.
	FailoverThreshold *FailoverThreshold `json:"failoverThreshold,omitempty"`
}

// Failover is one rule about zones.
type Failover struct {
	// From narrows the rule to clients in some zones. Default: all.
	From *FailoverFrom `json:"from,omitempty"`
	// To is where their traffic goes. Required.
	To FailoverTo `json:"to" check:"required"`
}

// FailoverFrom is zones of clients.
type FailoverFrom struct {
	// Zones by name; at least one. Required.
	Zones []string `json:"zones" check:"required"`
}

// FailoverTo is zones that take over.
type FailoverTo struct {
	// Type says which zones. Required.
	Type FailoverType `json:"type" check:"required"`
	// Zones by name: at least one with types Only and AnyExcept, none with Any and None.
	Zones []string `json:"zones,omitzero"`
}

// FailoverType is which zones take over.
type FailoverType string

const (
	FailoverNone      FailoverType = "None"      // none: the traffic fails
	FailoverOnly      FailoverType = "Only"      // those of the list
	FailoverAny       FailoverType = "Any"       // every zone
	FailoverAnyExcept FailoverType = "AnyExcept" // every zone but those of the list
)

// Enum returns the allowed words.
func (FailoverType) Enum() []string {
	return []string{string(FailoverNone), string(FailoverOnly), string(FailoverAny), string(FailoverAnyExcept)}
}

// FailoverThreshold is when other zones take over.
type FailoverThreshold struct {
	// Percentage of endpoints that must be healthy for a zone to keep all of its traffic. Above 0, at most 100, with
	// decimals if it is a text. Required. Default without a FailoverThreshold: 50.
	Percentage *resource.IntOrString `json:"percentage" check:"required"`
}

// LoadBalancer is a way to choose among endpoints. The object of its type can be given beside it; those of other types
// have no effect.
type LoadBalancer struct {
	// Type says how an endpoint is chosen. Required.
	Type LoadBalancerType `json:"type" check:"required"`
	// RoundRobin is for type RoundRobin.
	RoundRobin *RoundRobin `json:"roundRobin,omitempty"`
	// LeastRequest is for type LeastRequest.
	LeastRequest *LeastRequest `json:"leastRequest,omitempty"`
	// RingHash is for type RingHash.
	RingHash *RingHash `json:"ringHash,omitempty"`
	// Random is for type Random.
	Random *Random `json:"random,omitempty"`
	// Maglev is for type Maglev.
	Maglev *Maglev `json:"maglev,omitempty"`
}

// LoadBalancerType is how an endpoint is chosen.
type LoadBalancerType string

const (
	RoundRobinBalancer   LoadBalancerType = "RoundRobin"   // one after the other
	LeastRequestBalancer LoadBalancerType = "LeastRequest" // of a few random ones that with the fewest open requests
	RingHashBalancer     LoadBalancerType = "RingHash"     // by a hash of the request, on a ring
	RandomBalancer       LoadBalancerType = "Random"
	MaglevBalancer       LoadBalancerType = "Maglev" // by a hash of the request, in a table
)

// Enum returns the allowed words.
func (LoadBalancerType) Enum() []string {
	return []string{
		string(RoundRobinBalancer), string(LeastRequestBalancer), string(RingHashBalancer), string(RandomBalancer), string(MaglevBalancer),
	}
}

// RoundRobin is how type RoundRobin chooses: there is nothing to say about it.
type RoundRobin struct{}

// LeastRequest is how type LeastRequest chooses.
type LeastRequest struct {
	// ChoiceCount is how many random endpoints are compared. From 2. Default: 2.
	ChoiceCount *uint32 `json:"choiceCount,omitempty" check:"min=2"`
	// ActiveRequestBias is how much open requests count where endpoints have weights: 0 not at all. From 0, with decimals
	// if it is a text. Default: 1.
	ActiveRequestBias *resource.IntOrString `json:"activeRequestBias,omitempty"`
}

// RingHash is how type RingHash chooses.
type RingHash struct {
	// HashFunction that places endpoints and requests on the ring. Default: XXHash.
	HashFunction HashFunction `json:"hashFunction,omitempty"`
	// MinRingSize is the least number of places on the ring. 1 to 8000000. Default: 1024.
	MinRingSize *uint32 `json:"minRingSize,omitempty" check:"min=1,max=8000000"`
	// MaxRingSize is the greatest number of places on the ring. 1 to 8000000. Default: 8000000.
	MaxRingSize *uint32 `json:"maxRingSize,omitempty" check:"min=1,max=8000000"`
	// HashPolicies say what of a request is hashed, all of it together. Default: nothing; every request is random.
	HashPolicies []HashPolicy `json:"hashPolicies,omitzero"`
}

// HashFunction is a hash function.
type HashFunction string

// Enum returns the allowed words.
func (HashFunction) Enum() []string { return []string{"XXHash", "MurmurHash2"} }

// Random is how type Random chooses: there is nothing to say about it.
type Random struct{}

// Maglev is how type Maglev chooses.
type Maglev struct {
	// TableSize is the number of places in the table, which should be a prime. 1 to 5000011. Default: 65537.
	TableSize *uint32 `json:"tableSize,omitempty" check:"min=1,max=5000011"`
	// HashPolicies say what of a request is hashed, all of it together. Default: nothing; every request is random.
	HashPolicies []HashPolicy `json:"hashPolicies,omitzero"`
}

// HashPolicy is a part of a request that is hashed. The object that its type names must be given.
type HashPolicy struct {
	// Type says which part. Required.
	Type HashPolicyType `json:"type" check:"required"`
	// Terminal ends the list here if this part was there to hash. Default: false.
	Terminal *bool `json:"terminal,omitempty"`
	// Header is for type Header.
	Header *HashHeader `json:"header,omitempty"`
	// Cookie is for type Cookie.
	Cookie *HashCookie `json:"cookie,omitempty"`
	// Connection is for types Connection and SourceIP.
	Connection *HashConnection `json:"connection,omitempty"`
	// QueryParameter is for type QueryParameter.
	QueryParameter *HashQueryParameter `json:"queryParameter,omitempty"`
	// FilterState is for type FilterState.
	FilterState *HashFilterState `json:"filterState,omitempty"`
}

// HashPolicyType is a part of a request.
type HashPolicyType string

const (
	HashByHeader         HashPolicyType = "Header"
	HashByCookie         HashPolicyType = "Cookie"
	HashByConnection     HashPolicyType = "Connection"
	HashBySourceIP       HashPolicyType = "SourceIP" // deprecated: Connection
	HashByQueryParameter HashPolicyType = "QueryParameter"
	HashByFilterState    HashPolicyType = "FilterState"
)

// Enum returns the allowed words. SourceIP is an old word for Connection.
func (HashPolicyType) Enum() []string {
	return []string{
		string(HashByHeader), string(HashByCookie), string(HashByConnection), string(HashBySourceIP), string(HashByQueryParameter), string(HashByFilterState),
	}
}

// HashHeader is a header whose value is hashed.
type HashHeader struct {
	// Name of the header. Required.
	Name string `json:"name" check:"required"`
}

// HashCookie is a cookie whose value is hashed.
type HashCookie struct {
	// Name of the cookie. Required.
	Name string `json:"name" check:"required"`
	// TTL gives a client that has no such cookie one that lives so long; 0s until the client ends. Default: none is given.
	TTL *resource.Duration `json:"ttl,omitempty"`
	// Path of a cookie that is given; begins with /.
	Path *string `json:"path,omitempty"`
}

// HashConnection is the address of the client.
type HashConnection struct {
	// SourceIP hashes the IP address that the connection comes from. Default: false.
	SourceIP *bool `json:"sourceIP,omitempty"`
}

// HashQueryParameter is a parameter of the query whose value is hashed.
type HashQueryParameter struct {
	// Name of the parameter. Required.
	Name string `json:"name" check:"required"`
}

// HashFilterState is an object that a filter of the proxy left, and that is hashed.
type HashFilterState struct {
	// Key of the object. Required.
	Key string `json:"key" check:"required"`
}

func (s *MeshLoadBalancingStrategy) validate(c *check) {
	c.target(s.TargetRef, false)
	c.have(len(s.To), 0, 0)
	for i, to := range s.To {
		at := c.toRef(i, to.TargetRef)
		lb := to.Default.LoadBalancer
		if lb != nil && c.atGateway() && to.TargetRef.Kind != kindMesh && slices.Contains(c.t.matrix.to, to.TargetRef.Kind) {
			c.report(at+".targetRef.kind", "found %q, want %s: a gateway has one loadBalancer for all of its traffic", to.TargetRef.Kind, kindMesh)
		}
		if la := to.Default.LocalityAwareness; la != nil {
			la.validate(c, at+".default.localityAwareness", to.TargetRef)
		}
		if lb != nil {
			lb.validate(c, at+".default.loadBalancer")
		}
	}
}

func (la *LocalityAwareness) validate(c *check, at string, to TargetRef) {
	if la.LocalZone != nil {
		tags := at + ".localZone.affinityTags"
		weights := 0
		for i, t := range la.LocalZone.AffinityTags {
			c.notEmpty(item(tags, i)+".key", t.Key)
			if t.Weight != nil {
				weights++
			}
		}
		if weights > 0 && weights < len(la.LocalZone.AffinityTags) {
			c.report(tags, "%d of %d have a weight, want all or none", weights, len(la.LocalZone.AffinityTags))
		}
	}
	if la.CrossZone == nil {
		return
	}
	at += ".crossZone"
	if to.Kind == kindService && (to.SectionName != "" || len(to.Labels) > 0) {
		c.report(at, "must not be given with a %s that has labels or a sectionName: its endpoints are of one zone; use a %s", kindService, kindMultiZone)
	}
	for i, f := range la.CrossZone.Failover {
		f.validate(c, item(at+".failover", i))
	}
	if t := la.CrossZone.FailoverThreshold; t != nil {
		c.number(at+".failoverThreshold.percentage", t.Percentage, func(f float64) bool { return f > 0 && f <= 100 }, "a percentage above 0, up to 100")
	}
}

func (f Failover) validate(c *check, at string) {
	if f.From != nil {
		zones := at + ".from.zones"
		if len(f.From.Zones) == 0 {
			c.report(zones, "must have at least one item; leave from out for all zones")
		}
		for i, z := range f.From.Zones {
			c.notEmpty(item(zones, i), z)
		}
	}
	switch zones := f.To.Zones; f.To.Type {
	case FailoverAny, FailoverNone:
		if len(zones) > 0 {
			c.report(at+".to.zones", "must not be given with type %s", f.To.Type)
		}
	case FailoverOnly, FailoverAnyExcept:
		if len(zones) == 0 {
			c.report(at+".to.zones", "must have at least one item with type %s", f.To.Type)
		}
	}
}

func (lb *LoadBalancer) validate(c *check, at string) {
	switch lb.Type {
	case LeastRequestBalancer:
		if lb.LeastRequest != nil {
			c.number(at+".leastRequest.activeRequestBias", lb.LeastRequest.ActiveRequestBias, func(f float64) bool { return f >= 0 }, "a number from 0")
		}
	case RingHashBalancer:
		if lb.RingHash != nil {
			c.hashPolicies(at+".ringHash.hashPolicies", lb.RingHash.HashPolicies)
		}
	case MaglevBalancer:
		if lb.Maglev != nil {
			c.hashPolicies(at+".maglev.hashPolicies", lb.Maglev.HashPolicies)
		}
	}
}

func (c *check) hashPolicies(at string, policies []HashPolicy) {
	for i, p := range policies {
		at := item(at, i)
		switch p.Type {
		case HashByHeader:
			c.selected(at, "header", p.Header != nil, p.Type)
		case HashByCookie:
			c.selected(at, "cookie", p.Cookie != nil, p.Type)
			if p.Cookie != nil && p.Cookie.Path != nil && !strings.HasPrefix(*p.Cookie.Path, "/") {
				c.report(at+".cookie.path", "found %q, want a path that begins with /", *p.Cookie.Path)
			}
		case HashByConnection, HashBySourceIP:
			c.selected(at, "connection", p.Connection != nil, p.Type)
		case HashByQueryParameter:
			c.selected(at, "queryParameter", p.QueryParameter != nil, p.Type)
		case HashByFilterState:
			c.selected(at, "filterState", p.FilterState != nil, p.Type)
		}
		if p.Type == HashBySourceIP {
			c.warn(resource.WarnDeprecatedField, at+".type", "%s.type: %s is deprecated: use %s", at, HashBySourceIP, HashByConnection)
		}
	}
}
