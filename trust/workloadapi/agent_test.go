package workloadapi_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"verigate/devpki"
	"verigate/trust/mirror"
	"verigate/trust/workloadapi"
	"verigate/workloadid"
)

var (
	prod    = origin("spiffe://prod.example")
	partner = origin("spiffe://partner.example")
)

const edge = "spiffe://prod.example/edge"

func origin(s string) workloadid.Origin {
	o, err := workloadid.ParseOrigin(s)
	if err != nil {
		panic(err)
	}
	return o
}

func identifier(s string) workloadid.ID {
	id, err := workloadid.Parse(s)
	if err != nil {
		panic(err)
	}
	return id
}

func newRoot(t testing.TB) *devpki.CA {
	t.Helper()
	ca, err := devpki.NewRoot(devpki.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// svid issues an SVID of ca, which is also its bundle.
func svid(t testing.TB, ca *devpki.CA, id string) *workload.X509SVID {
	t.Helper()
	return svidOf(t, ca, id, devpki.LeafOptions{URIs: []string{id}})
}

func svidOf(t testing.TB, ca *devpki.CA, id string, o devpki.LeafOptions) *workload.X509SVID {
	t.Helper()
	leaf, err := ca.Issue(o)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(leaf.Key)
	if err != nil {
		t.Fatal(err)
	}
	var chain []byte
	for _, certificate := range leaf.Chain {
		chain = append(chain, certificate.Raw...)
	}
	return &workload.X509SVID{SpiffeId: id, X509Svid: chain, X509SvidKey: key, Bundle: der(ca)}
}

func der(anchors ...*devpki.CA) (all []byte) {
	for _, anchor := range anchors {
		all = append(all, anchor.Certificate.Raw...)
	}
	return all
}

func pemOf(anchors ...*devpki.CA) string {
	var all []*x509.Certificate
	for _, anchor := range anchors {
		all = append(all, anchor.Certificate)
	}
	return string(devpki.CertificatesPEM(all...))
}

// agent is a Workload API: every stream gets what was told last, and then every
// change.
type agent struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	address string

	mu      sync.Mutex
	svids   *workload.X509SVIDResponse
	bundles *workload.X509BundlesResponse
	fail    error         // what streams end with
	changed chan struct{} // closed when any of these is another
	opened  int           // streams
}

// errInOrder ends streams without an error.
var errInOrder = errors.New("end of stream")

// startAgent serves on a socket. Nothing is sent before the first tell.
func startAgent(t testing.TB) *agent {
	t.Helper()
	folder, err := os.MkdirTemp("", "agent") // t.TempDir() can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return startAgentAt(t, "unix", filepath.Join(folder, "socket"), "unix://")
}

func startAgentAt(t testing.TB, network, address, scheme string) *agent {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{address: scheme + listener.Addr().String(), changed: make(chan struct{})}
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, a)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() { server.Stop(); <-served })
	return a
}

func (a *agent) change(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	close(a.changed)
	a.changed = make(chan struct{})
}

// tell sends a message on every stream of SVIDs.
func (a *agent) tell(federated map[string][]byte, svids ...*workload.X509SVID) {
	a.change(func() {
		a.svids, a.fail = &workload.X509SVIDResponse{Svids: svids, FederatedBundles: federated}, nil
	})
}

// tellBundles sends a message on every stream of bundles.
func (a *agent) tellBundles(bundles map[string][]byte) {
	a.change(func() { a.bundles, a.fail = &workload.X509BundlesResponse{Bundles: bundles}, nil })
}

// end ends every stream, and those that will be opened.
func (a *agent) end(err error) { a.change(func() { a.fail = err }) }

func (a *agent) streams() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.opened
}

func (a *agent) FetchX509SVID(_ *workload.X509SVIDRequest, stream grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	return serve(a, stream, func() *workload.X509SVIDResponse { return a.svids })
}

func (a *agent) FetchX509Bundles(_ *workload.X509BundlesRequest, stream grpc.ServerStreamingServer[workload.X509BundlesResponse]) error {
	return serve(a, stream, func() *workload.X509BundlesResponse { return a.bundles })
}

func serve[M any](a *agent, stream grpc.ServerStreamingServer[M], current func() *M) error {
	header, _ := metadata.FromIncomingContext(stream.Context())
	if got := header.Get("workload.spiffe.io"); len(got) != 1 || got[0] != "true" {
		return status.Error(codes.InvalidArgument, "security header missing from request")
	}
	a.mu.Lock()
	a.opened++
	a.mu.Unlock()
	var sent *M
	for {
		a.mu.Lock()
		message, fail, changed := current(), a.fail, a.changed
		a.mu.Unlock()
		if errors.Is(fail, errInOrder) {
			return nil
		} else if fail != nil {
			return fail
		}
		if message != nil && message != sent {
			if err := stream.Send(message); err != nil {
				return err
			}
			sent = message
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// following is a source that runs, and what it reports.
type following struct {
	*workloadapi.Source
	news  chan struct{}
	ended chan error
	stop  context.CancelFunc

	mu     sync.Mutex
	events []mirror.Status // that nobody has looked at
	told   chan struct{}   // there are more
}

// follow runs a source for a, with whatever is wanted, until the end of the test.
func follow(t testing.TB, a *agent, o workloadapi.Options) *following {
	t.Helper()
	f := &following{told: make(chan struct{}, 1), news: make(chan struct{}, 100), ended: make(chan error, 1)}
	o.Address = a.address
	o.OnAttempt = f.record
	o.Changed = func() { f.news <- struct{}{} }
	if o.MinBackoff == 0 {
		o.MinBackoff, o.MaxBackoff = time.Millisecond, 10*time.Millisecond
	}
	source, err := workloadapi.New(o)
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	f.Source = source
	ctx, cancel := context.WithCancel(t.Context())
	f.stop = cancel
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.ended <- source.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return f
}

// await returns the first event that is right and that was not looked at before, and
// fails the test if none comes.
func (f *following) await(t testing.TB, what string, right func(mirror.Status) bool) mirror.Status {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		if s, ok := f.next(); ok {
			if right(s) {
				return s
			}
			continue
		}
		select {
		case <-f.told:
		case <-late:
			t.Fatalf("nobody reported %s; Status() = %+v", what, f.Status())
		}
	}
}

// record keeps what is reported, all of it: a source that fails every few milliseconds
// must not push out what a test on a busy machine has not looked at yet.
func (f *following) record(s mirror.Status) {
	f.mu.Lock()
	f.events = append(f.events, s)
	f.mu.Unlock()
	select {
	case f.told <- struct{}{}:
	default:
	}
}

func (f *following) next() (s mirror.Status, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.events) == 0 {
		return s, false
	}
	s, f.events = f.events[0], f.events[1:]
	return s, true
}

// drain forgets what was reported so far.
func (f *following) drain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = nil
}

func good(name string) func(mirror.Status) bool {
	return func(s mirror.Status) bool { return s.Name == name && s.Err == nil }
}

func bad(name string, reason mirror.Reason) func(mirror.Status) bool {
	return func(s mirror.Status) bool { return s.Name == name && mirror.ReasonOf(s.Err) == reason }
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(data)
}

// copies returns a path for each origin.
func copies(t testing.TB, origins ...workloadid.Origin) map[workloadid.Origin]string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "state")
	paths := map[workloadid.Origin]string{}
	for _, o := range origins {
		paths[o] = filepath.Join(folder, "bundle-"+o.TrustDomain())
	}
	return paths
}
