package kds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

const (
	envoyTime = 10 * time.Second // for one answer, Kuma's
	// envoyIdle is how long a stream that the zone was asked to open stays without a question.
	envoyIdle = time.Minute
	// maxEnvoyAnswers is how many questions a zone works on at once; further ones wait on the stream.
	maxEnvoyAnswers = 16
	// maxEnvoyQuestions is how many questions about one view may be open at a zone, those included that nobody waits for
	// any more.
	maxEnvoyQuestions = 256
)

// EnvoyView is what can be asked of the Envoy of a proxy. Each has a stream of its own, on which global asks and the
// zone answers.
type EnvoyView string

const (
	EnvoyConfig   EnvoyView = "xds"
	EnvoyStats    EnvoyView = "stats"
	EnvoyClusters EnvoyView = "clusters"
)

// envoyCalls are the names of a view's call and of its request, Kuma's.
var envoyCalls = map[EnvoyView]struct{ stream, request string }{
	EnvoyConfig:   {"StreamXDSConfigs", "XDSConfigRequest"},
	EnvoyStats:    {"StreamStats", "StatsRequest"},
	EnvoyClusters: {"StreamClusters", "ClustersRequest"},
}

// EnvoyQuestion is a question about one proxy.
type EnvoyQuestion struct {
	View       EnvoyView
	Proxy      resource.Key // a Dataplane, ZoneIngress or ZoneEgress, by its name in the zone
	IncludeEDS bool         // of EnvoyConfig: with endpoints
	JSON       bool         // of the others: as JSON rather than text
}

func (q EnvoyQuestion) format() meshv1.AdminOutputFormat {
	if q.JSON {
		return meshv1.AdminOutputFormat_JSON
	}
	return meshv1.AdminOutputFormat_TEXT
}

// envoyAnswer is what a zone says: data, or why not.
type envoyAnswer struct {
	data []byte
	err  string // "": data it is
}

// envoyLine is one open stream for one view, on global.
type envoyLine struct {
	post   func(id string, q EnvoyQuestion) error // sends; not concurrently
	listen func()                                 // begins to receive answers: a zone that is never asked costs no goroutine for that

	sending sync.Mutex
	mu      sync.Mutex                  // guards what follows
	waiting map[string]chan envoyAnswer // by request; nil: nobody has asked yet
	asked   time.Time                   // when somebody did last, or the stream was opened
	ended   error                       // nil while the stream is open
}

type envoyKey struct {
	zone string
	view EnvoyView
}

// envoyLines are the open streams of all zones, and the ways to have more opened: a Kuma zone has all of them open all the
// time, a Meridian zone opens one when it is asked to.
type envoyLines struct {
	mu      sync.Mutex // guards what follows
	lines   map[envoyKey]*envoyLine
	summons map[string]chan EnvoyView           // by zone: those that can be asked
	waiting map[envoyKey]map[chan struct{}]bool // each is closed once there is a line, or no way to have one
}

func newEnvoyLines() *envoyLines {
	return &envoyLines{lines: map[envoyKey]*envoyLine{}, summons: map[string]chan EnvoyView{}, waiting: map[envoyKey]map[chan struct{}]bool{}}
}

// set makes line the one for k, until the returned function is called.
func (l *envoyLines) set(k envoyKey, line *envoyLine) (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines[k] = line
	l.tell(k)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.lines[k] == line {
			delete(l.lines, k)
		}
	}
}

// tell wakes those who wait for a line. The caller holds mu.
func (l *envoyLines) tell(k envoyKey) {
	for told := range l.waiting[k] {
		close(told)
	}
	delete(l.waiting, k)
}

// summonable returns what the session of a zone is to tell it to open, until the returned function is called.
func (l *envoyLines) summonable(zone string) (<-chan EnvoyView, func()) {
	ch := make(chan EnvoyView, len(envoyCalls))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.summons[zone] = ch
	return ch, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.summons[zone] != ch {
			return
		}
		delete(l.summons, zone)
		for view := range envoyCalls {
			l.tell(envoyKey{zone, view})
		}
	}
}

// reach says whether there is a line, or a way to have one.
func (l *envoyLines) reach(k envoyKey) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines[k] != nil || l.summons[k.zone] != nil
}

// open returns the line for k, and has the zone open it if need be; nil if the zone is not connected.
func (l *envoyLines) open(ctx context.Context, k envoyKey) (*envoyLine, error) {
	l.mu.Lock()
	line, ch := l.lines[k], l.summons[k.zone]
	if line != nil || ch == nil {
		l.mu.Unlock()
		return line, nil
	}
	told := make(chan struct{})
	if l.waiting[k] == nil {
		l.waiting[k] = map[chan struct{}]bool{}
		select {
		case ch <- k.view:
		default: // the session has so much to tell already that it is stuck
		}
	}
	l.waiting[k][told] = true
	l.mu.Unlock()
	select {
	case <-told:
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.lines[k], nil
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		if delete(l.waiting[k], told); len(l.waiting[k]) == 0 {
			delete(l.waiting, k)
		}
		return nil, ctx.Err()
	}
}

// EnvoyError is why the Envoy of a proxy could not be asked, in the words of Kuma's API.
type EnvoyError struct {
	View   EnvoyView
	Reason string
}

func (e *EnvoyError) Error() string {
	return fmt.Sprintf("could not send %s: %s", envoyCalls[e.View].request, e.Reason)
}

// AskEnvoy asks the zone that proxy came from, a resource of this store, and returns what the Envoy of that proxy
// answers. It waits at most 10 s. Errors: *EnvoyError.
func (s *Server) AskEnvoy(ctx context.Context, proxy resource.Resource, q EnvoyQuestion) ([]byte, error) {
	fail := func(reason string, args ...any) error { return &EnvoyError{q.View, fmt.Sprintf(reason, args...)} }
	zone := proxy.Zone()
	k := envoyKey{zone, q.View}
	if !s.envoys.reach(k) {
		return nil, fail("client %s is not connected", zone)
	}
	q.Proxy = proxy.Key
	var err error
	if q.Proxy.Name, err = s.nameInZone(ctx, proxy); err != nil {
		return nil, fail("%v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, envoyTime)
	defer cancel()
	var answer envoyAnswer
	for err = error(errUnneeded); errors.Is(err, errUnneeded); { // it may just be closing
		var line *envoyLine
		line, err = s.envoys.open(ctx, k)
		switch {
		case line != nil:
			answer, err = line.ask(ctx, q)
		case err == nil:
			return nil, fail("client %s is not connected", zone)
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fail("zone %s does not answer", zone)
	case err != nil:
		return nil, fail("%v", err)
	case answer.err != "":
		return nil, fail("error response from zone %s: %s", zone, answer.err)
	}
	return answer.data, nil
}

// nameInZone returns the name that the zone of a proxy knows it under: with the namespace if the zone keeps its resources
// in Kubernetes, which its configuration says, or is a Meridian.
func (s *Server) nameInZone(ctx context.Context, proxy resource.Resource) (string, error) {
	name, ns := proxy.Display(), proxy.Namespace()
	if ns == "" || strings.HasPrefix(proxy.Name, proxy.Zone()+".") { // the latter is how Kuma named them once
		return name, nil
	}
	if s.ledger.account(proxy.Zone()).meridian() {
		return resource.StorageName(name, ns), nil
	}
	r, err := s.cfg.Store.Get(ctx, resource.Key{Kind: "ZoneInsight", Name: proxy.Zone()})
	if err != nil {
		return "", fmt.Errorf("cannot read control-plane configuration: %w", err)
	}
	insight, err := resource.Spec[*systemv1.ZoneInsight](r)
	if err != nil {
		return "", fmt.Errorf("cannot read control-plane configuration: %w", err)
	}
	var config struct{ Store struct{ Type string } }
	for _, sub := range insight.Subscriptions {
		if sub.DisconnectTime == nil {
			_ = json.Unmarshal([]byte(sub.Config), &config) // else it is no Kuma's, and says nothing
		}
	}
	if config.Store.Type == "kubernetes" {
		return name + "." + ns, nil
	}
	return name, nil // whatever namespace its label says
}

// ask sends q and waits for the answer.
func (l *envoyLine) ask(ctx context.Context, q EnvoyQuestion) (envoyAnswer, error) {
	id, answer := uuid.NewString(), make(chan envoyAnswer, 1)
	l.mu.Lock()
	if l.ended != nil {
		l.mu.Unlock()
		return envoyAnswer{}, l.ended
	}
	if len(l.waiting) >= maxEnvoyQuestions {
		l.mu.Unlock()
		return envoyAnswer{}, fmt.Errorf("%d requests have no answer yet", maxEnvoyQuestions)
	}
	if l.waiting == nil {
		l.waiting = map[string]chan envoyAnswer{}
		l.listen()
	}
	l.waiting[id] = answer
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.asked = time.Now()
		if _, waits := l.waiting[id]; waits {
			l.waiting[id] = nil // it may still come, and is then nothing that nobody asked for
		}
	}()
	l.sending.Lock()
	err := l.post(id, q)
	l.sending.Unlock()
	if err != nil {
		return envoyAnswer{}, fmt.Errorf("send: %w", err)
	}
	select {
	case <-ctx.Done():
		return envoyAnswer{}, ctx.Err()
	case a, open := <-answer:
		if !open {
			return envoyAnswer{}, l.reason()
		}
		return a, nil
	}
}

// answered hands an answer to who waits for it.
func (l *envoyLine) answered(id string, a envoyAnswer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	answer, asked := l.waiting[id]
	if !asked {
		return fmt.Errorf("%w: answer to request %q, which nobody made", errProtocol, id)
	}
	delete(l.waiting, id)
	if answer != nil {
		answer <- a
	}
	return nil
}

// end tells all who wait that nothing will come.
func (l *envoyLine) end(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = reason
	for _, answer := range l.waiting {
		if answer != nil {
			close(answer)
		}
	}
	l.waiting = nil
}

// retire ends the line if nobody has asked for idle, and otherwise returns how long to wait.
func (l *envoyLine) retire(idle time.Duration) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, answer := range l.waiting {
		if answer != nil {
			return idle
		}
	}
	if wait = idle - time.Since(l.asked); wait <= 0 {
		l.ended, l.waiting = errUnneeded, nil
	}
	return wait
}

func (l *envoyLine) reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// envoyStream serves one view of one zone: ask sends, read takes an answer apart.
func envoyStream[Answer, Question any](s *Server, view EnvoyView, stream grpc.BidiStreamingServer[Answer, Question],
	ask func(id string, q EnvoyQuestion) *Question, read func(*Answer) (id string, a envoyAnswer),
) error {
	return s.stream(stream.Context(), envoyCalls[view].stream, func(ctx context.Context, open *session) error {
		ctx, end := context.WithCancelCause(ctx)
		defer end(nil)
		line := &envoyLine{post: func(id string, q EnvoyQuestion) error { return stream.Send(ask(id, q)) }, asked: time.Now()}
		line.listen = func() {
			pull(&s.readers, stream, end, func(m *Answer) error { return line.answered(read(m)) })
		}
		defer s.envoys.set(envoyKey{open.zone, view}, line)()
		idle := newTimer()
		defer idle.Stop()
		if slices.Contains(open.extensions, FeatureSummons) {
			idle.Reset(envoyIdle)
		}
		for {
			select {
			case <-ctx.Done():
				line.end(context.Cause(ctx))
				return context.Cause(ctx)
			case <-idle.C:
				wait := line.retire(envoyIdle)
				if wait <= 0 {
					return errUnneeded
				}
				idle.Reset(wait)
			}
		}
	})
}

// StreamXDSConfigs asks a zone what Envoys are configured with.
func (g globalService) StreamXDSConfigs(stream grpc.BidiStreamingServer[meshv1.XDSConfigResponse, meshv1.XDSConfigRequest]) error {
	return envoyStream(g.server, EnvoyConfig, stream, func(id string, q EnvoyQuestion) *meshv1.XDSConfigRequest {
		return &meshv1.XDSConfigRequest{
			RequestId: id, ResourceType: q.Proxy.Kind, ResourceName: q.Proxy.Name, ResourceMesh: q.Proxy.Mesh, IncludeEds: q.IncludeEDS,
		}
	}, func(m *meshv1.XDSConfigResponse) (string, envoyAnswer) {
		return m.RequestId, envoyAnswer{m.GetConfig(), m.GetError()}
	})
}

// StreamStats asks a zone for the counters of Envoys.
func (g globalService) StreamStats(stream grpc.BidiStreamingServer[meshv1.StatsResponse, meshv1.StatsRequest]) error {
	return envoyStream(g.server, EnvoyStats, stream, func(id string, q EnvoyQuestion) *meshv1.StatsRequest {
		return &meshv1.StatsRequest{
			RequestId: id, ResourceType: q.Proxy.Kind, ResourceName: q.Proxy.Name, ResourceMesh: q.Proxy.Mesh, Format: q.format(),
		}
	}, func(m *meshv1.StatsResponse) (string, envoyAnswer) {
		return m.RequestId, envoyAnswer{m.GetStats(), m.GetError()}
	})
}

// StreamClusters asks a zone for the upstream clusters of Envoys.
func (g globalService) StreamClusters(stream grpc.BidiStreamingServer[meshv1.ClustersResponse, meshv1.ClustersRequest]) error {
	return envoyStream(g.server, EnvoyClusters, stream, func(id string, q EnvoyQuestion) *meshv1.ClustersRequest {
		return &meshv1.ClustersRequest{
			RequestId: id, ResourceType: q.Proxy.Kind, ResourceName: q.Proxy.Name, ResourceMesh: q.Proxy.Mesh, Format: q.format(),
		}
	}, func(m *meshv1.ClustersResponse) (string, envoyAnswer) {
		return m.RequestId, envoyAnswer{m.GetClusters(), m.GetError()}
	})
}

// envoyCall is the zone's end of one view. A global that does not have the call does without.
func envoyCall[Answer, Question any](c *Client, ctx context.Context, readers *sync.WaitGroup, stream grpc.BidiStreamingClient[Answer, Question], err error,
	question func(*Question) (id string, q EnvoyQuestion), answer func(id string, a envoyAnswer) *Answer,
) error {
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var sending sync.Mutex
	slots := make(chan struct{}, maxEnvoyAnswers)
	pull(readers, stream, end, func(m *Question) error {
		c.heard()
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		readers.Go(func() {
			defer func() { <-slots }()
			id, q := question(m)
			a := c.askEnvoy(ctx, q)
			sending.Lock()
			defer sending.Unlock()
			if err := stream.Send(answer(id, a)); err != nil {
				end(sendError(ctx, err))
			}
		})
		return nil
	})
	<-ctx.Done()
	err = context.Cause(ctx)
	if status.Code(err) == codes.Unimplemented {
		c.log.Debug("global does not ask about Envoys", "err", err)
		return nil
	}
	return err
}

// askEnvoy answers a question of global, with an error if nobody else does.
func (c *Client) askEnvoy(ctx context.Context, q EnvoyQuestion) envoyAnswer {
	if c.cfg.Envoy == nil {
		return envoyAnswer{err: "this control plane has no Envoy to ask"}
	}
	ctx, cancel := context.WithTimeout(ctx, envoyTime)
	defer cancel()
	data, err := c.cfg.Envoy(ctx, q)
	if limit := c.cfg.MaxResourceBytes(); err == nil && len(data) > limit { // to send it would end all streams
		err = fmt.Errorf("the answer is %d bytes, and a message takes %d", len(data), limit)
	}
	if err != nil {
		return envoyAnswer{err: oneLine(err)}
	}
	return envoyAnswer{data: data}
}

func (c *Client) answerConfigs(ctx context.Context, global meshv1.GlobalKDSServiceClient, readers *sync.WaitGroup) error {
	stream, err := global.StreamXDSConfigs(ctx)
	return envoyCall(c, ctx, readers, stream, err, func(m *meshv1.XDSConfigRequest) (string, EnvoyQuestion) {
		return m.RequestId, EnvoyQuestion{View: EnvoyConfig, Proxy: proxyKey(m), IncludeEDS: m.IncludeEds}
	}, func(id string, a envoyAnswer) *meshv1.XDSConfigResponse {
		if a.err != "" {
			return &meshv1.XDSConfigResponse{RequestId: id, Result: &meshv1.XDSConfigResponse_Error{Error: a.err}}
		}
		return &meshv1.XDSConfigResponse{RequestId: id, Result: &meshv1.XDSConfigResponse_Config{Config: a.data}}
	})
}

func (c *Client) answerStats(ctx context.Context, global meshv1.GlobalKDSServiceClient, readers *sync.WaitGroup) error {
	stream, err := global.StreamStats(ctx)
	return envoyCall(c, ctx, readers, stream, err, func(m *meshv1.StatsRequest) (string, EnvoyQuestion) {
		return m.RequestId, EnvoyQuestion{View: EnvoyStats, Proxy: proxyKey(m), JSON: m.Format == meshv1.AdminOutputFormat_JSON}
	}, func(id string, a envoyAnswer) *meshv1.StatsResponse {
		if a.err != "" {
			return &meshv1.StatsResponse{RequestId: id, Result: &meshv1.StatsResponse_Error{Error: a.err}}
		}
		return &meshv1.StatsResponse{RequestId: id, Result: &meshv1.StatsResponse_Stats{Stats: a.data}}
	})
}

func (c *Client) answerClusters(ctx context.Context, global meshv1.GlobalKDSServiceClient, readers *sync.WaitGroup) error {
	stream, err := global.StreamClusters(ctx)
	return envoyCall(c, ctx, readers, stream, err, func(m *meshv1.ClustersRequest) (string, EnvoyQuestion) {
		return m.RequestId, EnvoyQuestion{View: EnvoyClusters, Proxy: proxyKey(m), JSON: m.Format == meshv1.AdminOutputFormat_JSON}
	}, func(id string, a envoyAnswer) *meshv1.ClustersResponse {
		if a.err != "" {
			return &meshv1.ClustersResponse{RequestId: id, Result: &meshv1.ClustersResponse_Error{Error: a.err}}
		}
		return &meshv1.ClustersResponse{RequestId: id, Result: &meshv1.ClustersResponse_Clusters{Clusters: a.data}}
	})
}

// answer opens the stream for one view and answers on it until it ends.
func (c *Client) answer(ctx context.Context, view EnvoyView, global meshv1.GlobalKDSServiceClient, readers *sync.WaitGroup) error {
	switch view {
	case EnvoyConfig:
		return c.answerConfigs(ctx, global, readers)
	case EnvoyStats:
		return c.answerStats(ctx, global, readers)
	default:
		return c.answerClusters(ctx, global, readers)
	}
}

// answers has the streams for questions opened by answer, as calls: now, or if global says when, by the function that it
// returns.
func (c *Client) answers(features []string, calls *sync.WaitGroup, answer func(view EnvoyView, summoned bool)) (summoned func(EnvoyView)) {
	if !extended(features) || !slices.Contains(features, FeatureSummons) {
		for view := range envoyCalls {
			calls.Go(func() { answer(view, false) })
		}
		return nil
	}
	s := &summonable{asked: map[EnvoyView]int{}, answer: func(view EnvoyView) { answer(view, true) }}
	return func(view EnvoyView) { s.open(calls, view) }
}

// summonable opens streams when global asks for them.
type summonable struct {
	answer func(EnvoyView) // until global closes the stream

	mu    sync.Mutex        // guards asked
	asked map[EnvoyView]int // how often, since the stream was opened; 0: it is not
}

// open is called for each summons, by one of calls.
func (s *summonable) open(calls *sync.WaitGroup, view EnvoyView) {
	if view == "" { // a later global may want more
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked[view]++; s.asked[view] > 1 {
		return // when it ends it is opened again: it may be that global has just closed it
	}
	calls.Go(func() {
		for again := true; again; {
			s.mu.Lock()
			s.asked[view] = 1
			s.mu.Unlock()
			s.answer(view)
			s.mu.Lock()
			if again = s.asked[view] > 1; !again {
				delete(s.asked, view)
			}
			s.mu.Unlock()
		}
	})
}

func proxyKey(m interface {
	GetResourceType() string
	GetResourceName() string
	GetResourceMesh() string
}) resource.Key {
	return resource.Key{Kind: m.GetResourceType(), Mesh: m.GetResourceMesh(), Name: m.GetResourceName()}
}
