package workloadapi_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"verigate/devpki"
	"verigate/trust"
	"verigate/trust/files"
	"verigate/trust/mirror"
	"verigate/trust/workloadapi"
	"verigate/workloadid"
)

const empty = `{"keys":[]}` + "\n"

var wanted = []workloadapi.Credential{{Name: "own"}}

func TestStateReachesTheStoreAndTheHandle(t *testing.T) {
	t.Parallel()
	a, ca, foreign := startAgent(t), newRoot(t), newRoot(t)
	own := svid(t, ca, edge)
	a.tell(map[string][]byte{partner.String(): der(foreign)}, own)
	paths := copies(t, prod, partner)
	f := follow(t, a, workloadapi.Options{Bundles: paths, Credentials: wanted})
	if err := f.Wait(t.Context()); err != nil {
		t.Fatalf("Wait() = %v", err)
	}
	<-f.news
	var store trust.Store
	_, err := files.Open(files.Options{Bundles: []files.BundleFile{
		{Origin: prod, Path: paths[prod]}, {Origin: partner, Path: paths[partner]},
	}}, &store)
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	for o, ca := range map[workloadid.Origin]*devpki.CA{prod: ca, partner: foreign} {
		if got := store.Load().Bundle(o).Anchors(); len(got) != 1 || !got[0].Equal(ca.Certificate) {
			t.Errorf("the store has %d anchors of %v, want the one that was given", len(got), o)
		}
	}
	credential := f.Credential("own").Credential()
	if credential.ID().String() != edge || !bytes.Equal(credential.TLS().Certificate[0], own.GetX509Svid()) {
		t.Errorf("Credential() = %v, want the one that was given", credential)
	}
	if got := f.Credential("other"); got != nil {
		t.Errorf("Credential() of no name = %v, want nil", got)
	}
	if status := f.Status(); len(status) != 3 || status[0].Name != partner.String() || status[2].Kind != workloadapi.KindCredential {
		t.Errorf("Status() = %+v, want partner, prod and the credential", status)
	}
}

// KEY-01: keys are in memory, and nowhere in the state folder.
func TestKeysNeverReachTheDisk(t *testing.T) {
	t.Parallel()
	a, ca := startAgent(t), newRoot(t)
	own := svid(t, ca, edge)
	a.tell(nil, own)
	paths := copies(t, prod)
	f := follow(t, a, workloadapi.Options{Bundles: paths, Credentials: wanted})
	if err := f.Wait(t.Context()); err != nil {
		t.Fatalf("Wait() = %v", err)
	}
	<-f.news
	seen := 0
	err := filepath.WalkDir(filepath.Dir(paths[prod]), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		seen++
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte("PRIVATE")) || bytes.Contains(data, own.GetX509SvidKey()) {
			t.Errorf("%s has the private key", path)
		}
		return err
	})
	if err != nil || seen == 0 {
		t.Errorf("looked at %d files, %v", seen, err)
	}
}

// KEY-03: users of the handle get the next SVID without asking for another handle.
func TestRotation(t *testing.T) {
	t.Parallel()
	a, first, second := startAgent(t), newRoot(t), newRoot(t)
	a.tell(nil, svid(t, first, edge))
	paths := copies(t, prod)
	f := follow(t, a, workloadapi.Options{Bundles: paths, Credentials: wanted})
	if err := f.Wait(t.Context()); err != nil {
		t.Fatalf("Wait() = %v", err)
	}
	<-f.news
	handle := f.Credential("own")
	before := handle.Credential()

	next := svid(t, second, edge)
	next.Bundle = der(first, second)
	a.tell(nil, next)
	<-f.news
	if after := handle.Credential(); after.Digest() == before.Digest() || !bytes.Equal(after.TLS().Certificate[0], next.GetX509Svid()) {
		t.Errorf("after the rotation Credential() = %v, want another than %v", after, before)
	}
	if got, want := read(t, paths[prod]), pemOf(first, second); got != want {
		t.Errorf("after the rotation the copy is %q, want %q", got, want)
	}
	if n := a.streams(); n != 1 {
		t.Errorf("%d streams were opened, want 1", n)
	}
	held := handle.Credential()
	f.drain()
	a.tell(nil, next) // the same again
	f.await(t, "the same again", good("own"))
	if handle.Credential() != held {
		t.Error("an SVID that did not change was replaced")
	}
	if len(f.news) != 0 {
		t.Error("what did not change was told as news")
	}
}

// WL-01: each message is the whole state, so a bundle that is not in it was withdrawn.
func TestWithdrawnBundleTrustsNobody(t *testing.T) {
	t.Parallel()
	a, ca, foreign := startAgent(t), newRoot(t), newRoot(t)
	own := svid(t, ca, edge)
	federated := map[string][]byte{partner.String(): der(foreign)}
	a.tell(federated, own)
	paths := copies(t, prod, partner)
	f := follow(t, a, workloadapi.Options{Bundles: paths, Credentials: wanted})
	for _, tt := range []struct {
		name      string
		federated map[string][]byte
		want      string
	}{
		{"given", federated, pemOf(foreign)},
		{"gone", nil, empty},
		{"given again", federated, pemOf(foreign)},
		{"given empty", map[string][]byte{partner.String(): nil}, empty},
		{"given again", federated, pemOf(foreign)},
		{"of a name in other letters", map[string][]byte{"spiffe://Partner.example": der(foreign)}, empty},
		{"given again", federated, pemOf(foreign)},
		{"of a name with a path", map[string][]byte{partner.String() + "/": der(foreign)}, empty},
	} {
		a.tell(tt.federated, own)
		<-f.news
		if got := read(t, paths[partner]); got != tt.want {
			t.Errorf("%s: the copy is %q, want %q", tt.name, got, tt.want)
		}
		if got := read(t, paths[prod]); got != pemOf(ca) {
			t.Errorf("%s: the copy of the own bundle is %q, want %q", tt.name, got, pemOf(ca))
		}
		var told mirror.Status
		for _, s := range f.Status() {
			if s.Name == partner.String() {
				told = s
			}
		}
		if len(told.Notes) == 0 && tt.want == empty && !strings.Contains(tt.name, "empty") {
			t.Errorf("%s: Status() = %+v, want a note", tt.name, told)
		}
	}
}

// A copy of before does not outlive the first message that lacks the bundle.
func TestBundleWithdrawnWhileTheGatewayWasAway(t *testing.T) {
	t.Parallel()
	a, ca, foreign := startAgent(t), newRoot(t), newRoot(t)
	paths := copies(t, partner)
	if err := os.MkdirAll(filepath.Dir(paths[partner]), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(paths[partner], []byte(pemOf(foreign)), 0o600); err != nil {
		t.Fatal(err)
	}
	a.tell(nil, svid(t, ca, edge))
	f := follow(t, a, workloadapi.Options{Bundles: paths, Credentials: wanted})
	<-f.news
	if got := read(t, paths[partner]); got != empty {
		t.Errorf("the copy is %q, want %q", got, empty)
	}
}

// WL-01: whatever is wrong with a message, what was held stays, and so does the stream.
func TestInvalidMessagesAreDiscarded(t *testing.T) {
	t.Parallel()
	a, ca, foreign := startAgent(t), newRoot(t), newRoot(t)
	own := svid(t, ca, edge)
	federated := map[string][]byte{partner.String(): der(foreign)}
	a.tell(federated, own)
	paths := copies(t, prod, partner)
	f := follow(t, a, workloadapi.Options{Bundles: paths, Credentials: wanted})
	if err := f.Wait(t.Context()); err != nil {
		t.Fatalf("Wait() = %v", err)
	}
	<-f.news
	held := f.Credential("own").Credential()
	edited := func(edit func(*workload.X509SVID)) []*workload.X509SVID {
		other := svid(t, newRoot(t), edge)
		edit(other)
		return []*workload.X509SVID{other}
	}
	for _, tt := range []struct {
		name  string
		svids []*workload.X509SVID
	}{
		{"no SVID", nil},
		{"no identifier", edited(func(s *workload.X509SVID) { s.SpiffeId = "" })},
		{"no chain", edited(func(s *workload.X509SVID) { s.X509Svid = nil })},
		{"no key", edited(func(s *workload.X509SVID) { s.X509SvidKey = nil })},
		{"no bundle", edited(func(s *workload.X509SVID) { s.Bundle = nil })},
		{"a second SVID without a bundle", append(edited(func(*workload.X509SVID) {}), edited(func(s *workload.X509SVID) { s.Bundle = nil })...)},
	} {
		f.drain()
		a.tell(nil, tt.svids...)
		for _, name := range []string{partner.String(), prod.String(), "own"} {
			f.await(t, tt.name+" for "+name, bad(name, mirror.ReasonAnswer))
		}
		if got := read(t, paths[prod]) + read(t, paths[partner]); got != pemOf(ca)+pemOf(foreign) {
			t.Errorf("after %s a copy is another", tt.name)
		}
		if f.Credential("own").Credential() != held {
			t.Errorf("after %s the credential is another", tt.name)
		}
	}
	f.drain()
	a.tell(federated, own)
	f.await(t, "the recovery", good("own"))
	if n := a.streams(); n != 1 {
		t.Errorf("%d streams were opened, want 1: a bad message is no reason to ask again", n)
	}
}

// What does not parse leaves the last good one of its kind; the rest goes on.
func TestFaultsStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	a, ca, foreign, next := startAgent(t), newRoot(t), newRoot(t), newRoot(t)
	own := svid(t, ca, edge)
	paths := copies(t, prod, partner)
	a.tell(map[string][]byte{partner.String(): der(foreign)}, own)
	f := follow(t, a, workloadapi.Options{Bundles: paths, Credentials: wanted})
	if err := f.Wait(t.Context()); err != nil {
		t.Fatalf("Wait() = %v", err)
	}
	<-f.news
	held := f.Credential("own").Credential()

	f.drain()
	a.tell(map[string][]byte{partner.String(): []byte("garbage")}, svid(t, next, edge))
	f.await(t, "the garbled bundle", bad(partner.String(), mirror.ReasonDocument))
	f.await(t, "the credential", good("own"))
	if got := read(t, paths[partner]) + read(t, paths[prod]); got != pemOf(foreign)+pemOf(next) {
		t.Errorf("the copies are %q, want the last good one and the new one", got)
	}
	if f.Credential("own").Credential() == held {
		t.Error("the credential was not rotated")
	}
	held = f.Credential("own").Credential()

	other := svid(t, ca, edge)
	for _, tt := range []struct {
		name   string
		svid   *workload.X509SVID
		reason trust.Reason
	}{
		{"a chain that is none", &workload.X509SVID{SpiffeId: edge, X509Svid: []byte("x"), X509SvidKey: own.X509SvidKey, Bundle: own.Bundle}, trust.ReasonCertificate},
		{"a key that is none", &workload.X509SVID{SpiffeId: edge, X509Svid: own.X509Svid, X509SvidKey: []byte("x"), Bundle: own.Bundle}, trust.ReasonKey},
		{"the key of another", &workload.X509SVID{SpiffeId: edge, X509Svid: own.X509Svid, X509SvidKey: other.X509SvidKey, Bundle: own.Bundle}, trust.ReasonMismatch},
		{"a certificate that names another", svidOf(t, ca, edge, devpki.LeafOptions{URIs: []string{edge + "/x"}}), trust.ReasonIdentifier},
		{"a certificate without a name", svidOf(t, ca, edge, devpki.LeafOptions{DNS: []string{"edge"}}), trust.ReasonIdentifier},
		{"an expired one (KEY-02)", svidOf(t, ca, edge, devpki.LeafOptions{URIs: []string{edge}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}), trust.ReasonExpired},
	} {
		f.drain()
		a.tell(map[string][]byte{partner.String(): der(foreign)}, tt.svid)
		s := f.await(t, tt.name, bad("own", mirror.ReasonDocument))
		if got := trust.ReasonOf(s.Err); got != tt.reason {
			t.Errorf("%s: %v, want reason %q", tt.name, s.Err, tt.reason)
		}
		if f.Credential("own").Credential() != held {
			t.Errorf("%s took the place of the last good one", tt.name)
		}
	}

	f.drain()
	a.tell(nil, svid(t, ca, edge), svid(t, next, edge+"/x"))
	s := f.await(t, "two bundles for a trust domain", bad(prod.String(), mirror.ReasonDocument))
	if !strings.Contains(s.Err.Error(), "two different bundles") || read(t, paths[prod]) != pemOf(ca) {
		t.Errorf("two bundles for a trust domain: %v, and the copy is %q; want the last good one", s.Err, read(t, paths[prod]))
	}
}

func TestStreamIsOpenedAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		end    error
		reason mirror.Reason
	}{
		{"a reset", status.Error(codes.Unavailable, "restarting"), mirror.ReasonUnreachable},
		{"an internal error", status.Error(codes.Internal, "oops"), mirror.ReasonUnreachable},
		{"no identity any more", status.Error(codes.PermissionDenied, "no identity issued"), mirror.ReasonDenied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, ca, next := startAgent(t), newRoot(t), newRoot(t)
			a.tell(nil, svid(t, ca, edge))
			paths := copies(t, prod)
			f := follow(t, a, workloadapi.Options{
				Bundles: paths, Credentials: wanted, Jitter: func() float64 { return 0 },
				MinBackoff: time.Millisecond, MaxBackoff: 4 * time.Millisecond,
			})
			if err := f.Wait(t.Context()); err != nil {
				t.Fatalf("Wait() = %v", err)
			}
			<-f.news
			held := f.Credential("own").Credential()
			nth := func(n int) func(mirror.Status) bool {
				return func(s mirror.Status) bool { return s.Name == "own" && s.Failures == n }
			}
			a.end(tt.end)
			s := f.await(t, "the third failure", nth(3))
			if wait := s.NextAttempt.Sub(s.LastFailure); mirror.ReasonOf(s.Err) != tt.reason || wait != 4*time.Millisecond {
				t.Errorf("Status() = %+v, want reason %v and the next attempt after 4 ms", s, tt.reason)
			}
			if s := f.await(t, "the fourth failure", nth(4)); s.NextAttempt.Sub(s.LastFailure) != 4*time.Millisecond {
				t.Errorf("Status() = %+v, want the next attempt after 4 ms at the most", s)
			}
			if f.Credential("own").Credential() != held || read(t, paths[prod]) != pemOf(ca) {
				t.Error("what was held did not stay")
			}
			a.tell(nil, svid(t, next, edge))
			<-f.news
			if f.Credential("own").Credential() == held || read(t, paths[prod]) != pemOf(next) {
				t.Error("the new state was not taken up")
			}
			f.drain()
			a.end(tt.end)
			s = f.await(t, "the next failure", nth(1))
			if wait := s.NextAttempt.Sub(s.LastFailure); wait != time.Millisecond {
				t.Errorf("after a recovery the next attempt is after %v, want 1 ms again", wait)
			}
		})
	}
}

func TestStreamThatEndsInOrderIsOpenedAgain(t *testing.T) {
	t.Parallel()
	a, ca := startAgent(t), newRoot(t)
	a.tell(nil, svid(t, ca, edge))
	f := follow(t, a, workloadapi.Options{Credentials: wanted})
	<-f.news
	a.end(errInOrder)
	f.await(t, "the end", func(s mirror.Status) bool { return s.Failures >= 2 })
	a.tell(nil, svid(t, ca, edge))
	f.await(t, "the new stream", good("own"))
}

// WL-01: what is wrong with the request itself is not asked again.
func TestInvalidArgumentEndsTheRun(t *testing.T) {
	t.Parallel()
	a := startAgent(t)
	a.end(status.Error(codes.InvalidArgument, "no"))
	f := follow(t, a, workloadapi.Options{Credentials: wanted})
	if err := <-f.ended; status.Code(err) != codes.InvalidArgument {
		t.Errorf("Run() = %v, want code %v", err, codes.InvalidArgument)
	}
	if s := f.Status()[0]; mirror.ReasonOf(s.Err) != mirror.ReasonDenied || !s.NextAttempt.IsZero() {
		t.Errorf("Status() = %+v, want reason %v and no next attempt", s, mirror.ReasonDenied)
	}
	if n := a.streams(); n != 1 {
		t.Errorf("%d streams were opened, want 1", n)
	}
}

func TestSlowFirstAnswer(t *testing.T) {
	t.Parallel()
	a, ca := startAgent(t), newRoot(t)
	f := follow(t, a, workloadapi.Options{Credentials: wanted})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := f.Wait(ctx)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "has not answered yet") {
		t.Errorf("Wait() = %v, want what is missing", err)
	}
	if got := f.Credential("own"); got != nil {
		t.Errorf("Credential() before there is one = %v, want nil", got)
	}
	a.tell(nil, svid(t, ca, "spiffe://prod.example/other"))
	if err := f.Wait(t.Context()); err != nil {
		t.Errorf("Wait() = %v", err)
	}
	if got := f.Credential("own").Credential().ID().Path(); got != "/other" {
		t.Errorf("the credential is of %s, want /other", got)
	}
}

func TestWaitSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	a := startAgent(t)
	a.end(status.Error(codes.PermissionDenied, "no identity issued"))
	f := follow(t, a, workloadapi.Options{Credentials: wanted})
	f.await(t, "the refusal", bad("own", mirror.ReasonDenied))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Wait(ctx); mirror.ReasonOf(err) != mirror.ReasonDenied {
		t.Errorf("Wait() = %v, want reason %v", err, mirror.ReasonDenied)
	}
}

// Nothing to authenticate with is wanted, so none is asked for: bundles are also for
// workloads without an identity.
func TestBundlesAlone(t *testing.T) {
	t.Parallel()
	a, ca, foreign := startAgent(t), newRoot(t), newRoot(t)
	a.tellBundles(map[string][]byte{prod.String(): der(ca), partner.String(): der(foreign), "spiffe://unasked.example": der(foreign)})
	paths := copies(t, prod, partner)
	f := follow(t, a, workloadapi.Options{Bundles: paths})
	<-f.news
	if got := read(t, paths[prod]) + read(t, paths[partner]); got != pemOf(ca)+pemOf(foreign) {
		t.Errorf("the copies are %q, want what was given", got)
	}
	f.drain()
	a.tellBundles(nil)
	f.await(t, "the message without a bundle", bad(prod.String(), mirror.ReasonAnswer))
	a.tellBundles(map[string][]byte{prod.String(): der(ca)})
	<-f.news
	if got := read(t, paths[prod]) + read(t, paths[partner]); got != pemOf(ca)+empty {
		t.Errorf("the copies are %q, want the one that was withdrawn to be empty", got)
	}
}

func TestCredentialIsChosen(t *testing.T) {
	t.Parallel()
	a, ca := startAgent(t), newRoot(t)
	a.tell(nil, svid(t, ca, edge+"/1"), svid(t, ca, edge+"/2"), svid(t, ca, edge+"/3"))
	f := follow(t, a, workloadapi.Options{Credentials: []workloadapi.Credential{
		{Name: "/1"}, // the first
		{Name: "/2", ID: identifier(edge + "/2")},   // one between
		{Name: "/3", ID: identifier(edge + "/3")},   // the last
		{Name: "none", ID: identifier(edge + "/5")}, // not there
	}})
	f.await(t, "that one is missing", bad("none", mirror.ReasonDenied))
	for _, name := range []string{"/1", "/2", "/3"} {
		if got := f.Credential(name).Credential().ID().Path(); got != "/edge"+name {
			t.Errorf("Credential(%q) is of %s", name, got)
		}
	}
	if got := f.Credential("none"); got != nil {
		t.Errorf("Credential() that is not given = %v, want nil", got)
	}
}

func TestSuccessorKeepsTheHandles(t *testing.T) {
	t.Parallel()
	a, ca := startAgent(t), newRoot(t)
	a.tell(nil, svid(t, ca, edge))
	before := follow(t, a, workloadapi.Options{Credentials: wanted})
	if err := before.Wait(t.Context()); err != nil {
		t.Fatalf("Wait() = %v", err)
	}
	handle := before.Credential("own")
	held := handle.Credential()
	before.stop()
	if err := <-before.ended; err != nil {
		t.Fatalf("Run() = %v", err)
	}
	paths := copies(t, prod)
	after := follow(t, a, workloadapi.Options{Credentials: wanted, Bundles: paths, Before: before.Source})
	if err := after.Wait(t.Context()); err != nil || handle.Credential() != held {
		t.Errorf("Wait() of the successor = %v, want what was held", err)
	}
	a.tell(nil, svid(t, ca, edge))
	after.await(t, "the rotation", func(s mirror.Status) bool { return s.Name == "own" && s.Digest != held.Digest() })
	if handle.Credential() == held {
		t.Error("the handle of before does not follow the successor")
	}
}

// While the stream stands what it said is current, and the age of the copies is
// renewed; a stream that is gone renews nothing.
func TestStandingStreamConfirmsTheCopies(t *testing.T) {
	t.Parallel()
	a, ca := startAgent(t), newRoot(t)
	a.tell(nil, svid(t, ca, edge))
	paths := copies(t, prod)
	var mu sync.Mutex
	now, looks := time.Now(), make(chan struct{}, 1)
	f := follow(t, a, workloadapi.Options{
		Bundles: paths, Credentials: wanted, Confirm: time.Millisecond,
		Now: func() time.Time {
			select {
			case looks <- struct{}{}:
			default:
			}
			mu.Lock()
			defer mu.Unlock()
			return now
		},
	})
	<-f.news
	mu.Lock()
	now = now.Add(time.Hour)
	later := now
	mu.Unlock()
	for range 4 { // one may be left, one may have begun before, the next ends before the last begins
		<-looks
	}
	info, err := os.Stat(paths[prod])
	if err != nil {
		t.Fatal(err)
	}
	if info.ModTime().Before(later.Truncate(time.Second)) {
		t.Errorf("the copy is of %v, want %v", info.ModTime(), later)
	}
}

func TestTCP(t *testing.T) {
	t.Parallel()
	a, ca := startAgentAt(t, "tcp", "127.0.0.1:0", "tcp://"), newRoot(t)
	a.tell(nil, svid(t, ca, edge))
	f := follow(t, a, workloadapi.Options{Credentials: wanted})
	if err := f.Wait(t.Context()); err != nil {
		t.Errorf("Wait() = %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	bundles := map[workloadid.Origin]string{prod: filepath.Join(t.TempDir(), "bundle")}
	for address, good := range map[string]bool{
		"unix:///run/spire/agent.sock":     true,
		"tcp://127.0.0.1:8081":             true,
		"tcp://[::1]:8081":                 true,
		"unix://run/spire/agent.sock":      false,
		"unix:run/spire/agent.sock":        false,
		"unix:///":                         false,
		"unix:///run/agent.sock?x=y":       false,
		"unix:///run/agent.sock#x":         false,
		"unix://user@/run/agent.sock":      false,
		"tcp://localhost:8081":             false,
		"tcp://127.0.0.1":                  false,
		"tcp://127.0.0.1:0":                false,
		"tcp://127.0.0.1:8081/":            false,
		"tcp://[fe80::1%25eth0]:8081":      false,
		"http://127.0.0.1:8081":            false,
		"/run/spire/agent.sock":            false,
		"npipe:spire":                      false,
		"":                                 false,
		"unix:///run/spire/agent\x00.sock": false,
	} {
		_, err := workloadapi.New(workloadapi.Options{Address: address, Bundles: bundles})
		if (err == nil) != good || err != nil && mirror.ReasonOf(err) != mirror.ReasonOptions {
			t.Errorf("New() with the address %q = %v, want good: %v", address, err, good)
		}
	}
	for name, o := range map[string]workloadapi.Options{
		"nothing wanted":          {},
		"a wimse origin":          {Bundles: map[workloadid.Origin]string{origin("wimse://prod.example"): "x"}},
		"no path":                 {Bundles: map[workloadid.Origin]string{prod: ""}},
		"one path for two":        {Bundles: map[workloadid.Origin]string{prod: "x", partner: "x"}},
		"no name":                 {Credentials: []workloadapi.Credential{{}}},
		"a name twice":            {Credentials: []workloadapi.Credential{{Name: "a"}, {Name: "a"}}},
		"a trust domain":          {Credentials: []workloadapi.Credential{{Name: "a", ID: identifier(prod.String())}}},
		"a negative back-off":     {Credentials: wanted, MinBackoff: -1},
		"crossed back-offs":       {Credentials: wanted, MinBackoff: time.Hour},
		"a negative confirmation": {Credentials: wanted, Confirm: -1},
	} {
		o.Address = "unix:///run/spire/agent.sock"
		if _, err := workloadapi.New(o); mirror.ReasonOf(err) != mirror.ReasonOptions {
			t.Errorf("New() with %s = %v, want reason %v", name, err, mirror.ReasonOptions)
		}
	}
}

func TestOnlyOneRun(t *testing.T) {
	t.Parallel()
	a, ca := startAgent(t), newRoot(t)
	a.tell(nil, svid(t, ca, edge))
	f := follow(t, a, workloadapi.Options{Credentials: wanted})
	if err := f.Wait(t.Context()); err != nil {
		t.Fatalf("Wait() = %v", err)
	}
	if err := f.Run(t.Context()); err == nil {
		t.Error("a second Run() started")
	}
}
