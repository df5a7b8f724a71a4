package federation_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"verigate/certpath"
	"verigate/devpki"
	"verigate/trust"
	"verigate/trust/federation"
	"verigate/trust/files"
	"verigate/trust/mirror"
	"verigate/workloadid"
)

// quiet is for servers whose clients are to fail.
var quiet = log.New(io.Discard, "", 0)

// FED-01: both profiles, from the endpoint through the copy into the store.
func TestBothProfilesReachTheStore(t *testing.T) {
	t.Parallel()
	root, anchor := newRoot(t), newRoot(t)
	for name, tt := range map[string]struct {
		endpoint    federation.Endpoint
		certificate tls.Certificate
	}{
		"https_web":    {web(t, root), issue(t, root, devpki.LeafOptions{DNS: []string{"bundle.partner.example"}})},
		"https_spiffe": {spiffe(t, root), svid(t, root, server)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := publish(t, tt.certificate, document(1, 0, anchor))
			var store trust.Store
			var opened atomic.Pointer[files.Source]
			source := open(t, federation.Options{
				Endpoints: []federation.Endpoint{tt.endpoint},
				Transport: p.transport,
				Changed: func() {
					if err := opened.Load().Reload(); err != nil {
						t.Errorf("Reload() = %v", err)
					}
				},
			})
			followed, err := files.Open(files.Options{
				Bundles: []files.BundleFile{{Origin: partner, Path: tt.endpoint.Path, Optional: true}},
			}, &store)
			if err != nil {
				t.Fatalf("Open() before anything was fetched = %v", err)
			}
			opened.Store(followed)
			refresh(t, source)
			if got := store.Load().Bundle(partner).Anchors(); len(got) != 1 || !got[0].Equal(anchor.Certificate) {
				t.Errorf("the store has %d anchors, want the one that was published", len(got))
			}
		})
	}
}

// FED-02, FED-03: every parameter is stated, and none stands for another.
func TestNewRefuses(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	garbage := writeFile(t, filepath.Join(t.TempDir(), "garbage"), []byte("garbage"))
	empty := writeFile(t, filepath.Join(t.TempDir(), "empty.json"), []byte(document(1, 0)))
	for name, edit := range map[string]func(web, spiffe *federation.Endpoint){
		"no URL":                           func(w, _ *federation.Endpoint) { w.URL = "" },
		"no trust domain":                  func(w, _ *federation.Endpoint) { w.Origin = workloadid.Origin{} },
		"no profile":                       func(w, _ *federation.Endpoint) { w.Profile = "" },
		"another profile":                  func(w, _ *federation.Endpoint) { w.Profile = "https" },
		"no copy":                          func(w, _ *federation.Endpoint) { w.Path = "" },
		"http":                             func(w, _ *federation.Endpoint) { w.URL = "http://bundle.partner.example/" },
		"a user":                           func(w, _ *federation.Endpoint) { w.URL = "https://user@bundle.partner.example/" },
		"a fragment":                       func(w, _ *federation.Endpoint) { w.URL = "https://bundle.partner.example/#x" },
		"https_web with an identity":       func(w, _ *federation.Endpoint) { w.ID = server },
		"https_web with a bootstrap":       func(w, s *federation.Endpoint) { w.BootstrapPath = s.BootstrapPath },
		"https_web with roots that aren't": func(w, _ *federation.Endpoint) { w.RootsPath = garbage },
		"https_web with missing roots":     func(w, _ *federation.Endpoint) { w.RootsPath += ".missing" },
		"https_spiffe without an identity": func(_, s *federation.Endpoint) { s.ID = workloadid.ID{} },
		"https_spiffe, a trust domain":     func(_, s *federation.Endpoint) { s.ID = identifier("spiffe://partner.example") },
		"https_spiffe without a bootstrap": func(_, s *federation.Endpoint) { s.BootstrapPath = "" },
		"https_spiffe, missing bootstrap":  func(_, s *federation.Endpoint) { s.BootstrapPath += ".missing" },
		"https_spiffe, garbled bootstrap":  func(_, s *federation.Endpoint) { s.BootstrapPath = garbage },
		"https_spiffe, empty bootstrap":    func(_, s *federation.Endpoint) { s.BootstrapPath = empty },
		"https_spiffe with roots":          func(w, s *federation.Endpoint) { s.RootsPath = w.RootsPath },
		"two endpoints for a trust domain": func(w, s *federation.Endpoint) { s.Origin = w.Origin },
		"two endpoints with one copy":      func(w, s *federation.Endpoint) { s.Path = w.Path },
	} {
		w, s := web(t, root), spiffe(t, root)
		s.Origin = other // served by partner's endpoint
		if _, err := federation.New(federation.Options{Endpoints: []federation.Endpoint{w, s}}); err != nil {
			t.Fatalf("New() of two good endpoints = %v", err)
		}
		edit(&w, &s)
		if _, err := federation.New(federation.Options{Endpoints: []federation.Endpoint{w, s}}); mirror.ReasonOf(err) != mirror.ReasonOptions {
			t.Errorf("New() with %s = %v, want reason %v", name, err, mirror.ReasonOptions)
		}
	}
	for name, o := range map[string]federation.Options{
		"a negative interval": {Interval: -1}, "a negative time-out": {Timeout: -1}, "a negative gap": {HintGap: -1},
		"crossed bounds": {MinInterval: time.Hour, MaxInterval: time.Minute},
	} {
		if _, err := federation.New(o); mirror.ReasonOf(err) != mirror.ReasonOptions {
			t.Errorf("New() with %s = %v, want reason %v", name, err, mirror.ReasonOptions)
		}
	}
}

// A file of the operator's is no copy: what is wrong with it is for the operator to
// put right, and the error says which file it is and how.
func TestOperatorsFilesAreNoCopies(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	p := publish(t, svid(t, root, server), document(1, 0, root))
	site, workload := web(t, root), spiffe(t, root)
	for option, e := range map[string]federation.Endpoint{"bootstrap_file": workload, "roots_file": site} {
		file := e.BootstrapPath + e.RootsPath // one of them is none
		o := federation.Options{Endpoints: []federation.Endpoint{e}, Transport: p.transport}
		source := open(t, o)
		check := func(what, does string, err error) {
			t.Helper()
			if text := fmt.Sprint(err); mirror.ReasonOf(err) != mirror.ReasonOptions || !strings.Contains(text, option+" "+file) || !strings.Contains(text, does) || strings.Contains(text, "the copy") {
				t.Errorf("%s = %v, want reason %v, with the option, the file and %q", what, err, mirror.ReasonOptions, does)
			}
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		check("Refresh() without the file", "put it there", source.Refresh(t.Context()))
		if err := os.Mkdir(file, 0o700); err != nil {
			t.Fatal(err)
		}
		check("Refresh() with a directory in its place", "make it a file", source.Refresh(t.Context()))
		_, err := federation.New(o)
		check("New() with a directory in its place", "make it a file", err)
	}
}

// FED-04: an https_web endpoint is a site of the web: its name counts, and the anchors
// of a trust domain, the fetched one included, vouch for nothing there.
func TestWebEndpointIsJudgedAsASite(t *testing.T) {
	t.Parallel()
	root, anchor := newRoot(t), newRoot(t)
	dns := devpki.LeafOptions{DNS: []string{"bundle.partner.example"}}
	good := issue(t, root, dns)
	p := publish(t, good, document(1, 0, anchor))
	e := web(t, root)
	s := follow(t, p, e)
	refresh(t, s)
	for name, certificate := range map[string]tls.Certificate{
		"another host":                       issue(t, root, devpki.LeafOptions{DNS: []string{"partner.example"}}),
		"an anchor of the trust domain":      issue(t, anchor, dns),
		"an identity instead of a name":      svid(t, root, server),
		"an expired certificate":             issue(t, root, devpki.LeafOptions{DNS: dns.DNS, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}),
		"a certificate for clients":          issue(t, root, devpki.LeafOptions{DNS: dns.DNS, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}),
		"an issuer that nobody has heard of": issue(t, newRoot(t), dns),
	} {
		p.present(certificate)
		if err := s.Refresh(t.Context()); mirror.ReasonOf(err) != mirror.ReasonUnreachable {
			t.Errorf("Refresh() from %s = %v, want reason %v", name, err, mirror.ReasonUnreachable)
		}
	}
	p.present(good)
	refresh(t, s)
	e.RootsPath = "" // the system's roots do not know of ours
	if err := follow(t, p, e).Refresh(t.Context()); mirror.ReasonOf(err) != mirror.ReasonUnreachable {
		t.Errorf("Refresh() by the system's roots = %v, want reason %v", err, mirror.ReasonUnreachable)
	}
}

// FED-05: an https_spiffe endpoint is exactly the workload that was configured.
func TestSPIFFEEndpointIsJudgedAsAWorkload(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	id := server.String()
	p := publish(t, svid(t, root, server), document(1, 0, root))
	e := spiffe(t, root)
	for _, tt := range []struct {
		name        string
		certificate tls.Certificate
		reason      certpath.Reason
	}{
		{"another workload of the trust domain", issue(t, root, devpki.LeafOptions{URIs: []string{"spiffe://partner.example/spire/agent"}}), certpath.ReasonNone},
		{"a workload below it", issue(t, root, devpki.LeafOptions{URIs: []string{id + "/x"}}), certpath.ReasonNone},
		{"a workload of another trust domain", issue(t, root, devpki.LeafOptions{URIs: []string{"spiffe://other.example/spire/server"}}), certpath.ReasonOriginNotAllowed},
		{"the right name in other letters", issue(t, root, devpki.LeafOptions{URIs: []string{"spiffe://Partner.example/spire/server"}}), certpath.ReasonIdentifierSyntax},
		{"two identities", issue(t, root, devpki.LeafOptions{URIs: []string{id, id}}), certpath.ReasonIdentifierCount},
		{"no identity", issue(t, root, devpki.LeafOptions{DNS: []string{"bundle.partner.example"}}), certpath.ReasonIdentifierCount},
		{"a certificate for clients", issue(t, root, devpki.LeafOptions{URIs: []string{id}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}), certpath.ReasonEKU},
		{"an expired certificate", issue(t, root, devpki.LeafOptions{URIs: []string{id}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}), certpath.ReasonExpired},
		{"an issuer of somewhere else", svid(t, newRoot(t), server), certpath.ReasonUntrustedChain},
	} {
		p.present(tt.certificate)
		err := follow(t, p, e).Refresh(t.Context())
		got := certpath.ReasonOf(err)
		if mirror.ReasonOf(err) != mirror.ReasonIdentity || got != tt.reason && !(tt.reason == certpath.ReasonUntrustedChain && got == certpath.ReasonBadSignature) {
			t.Errorf("Refresh() from %s = %v, want reason %v because of %q", tt.name, err, mirror.ReasonIdentity, tt.reason)
		}
		if n := len(p.requests()); n != 0 {
			t.Errorf("%s got %d requests, want none", tt.name, n)
		}
	}
	if got := copyOf(t, e); got != "" {
		t.Errorf("the copy is %q, want none", got)
	}
}

// FED-05: an endpoint that serves its own trust domain is judged by what it served
// last, also after a restart; the bootstrap bundle, whose CA may have been dropped for
// a reason, does not come back.
func TestSelfServingEndpointFollowsItsRotation(t *testing.T) {
	t.Parallel()
	first, second := newRoot(t), newRoot(t)
	p := publish(t, svid(t, first, server), document(1, 0, first, second))
	e := spiffe(t, first)
	s := follow(t, p, e)
	refresh(t, s)

	p.present(svid(t, second, server)) // bootstrap knows nothing of it
	p.serve(document(2, 0, second))
	refresh(t, s)

	restarted := follow(t, p, e)
	refresh(t, restarted)
	p.present(svid(t, first, server))
	for name, s := range map[string]*federation.Source{"running": s, "restarted": restarted} {
		if err := s.Refresh(t.Context()); mirror.ReasonOf(err) != mirror.ReasonIdentity {
			t.Errorf("%s: Refresh() from an endpoint of the dropped CA = %v, want reason %v", name, err, mirror.ReasonIdentity)
		}
	}
	if err := os.Remove(e.Path); err != nil { // the operator begins anew
		t.Fatal(err)
	}
	p.serve(document(1, 0, first))
	refresh(t, s)
}

func TestEndpointOfAnotherTrustDomainIsJudgedByItsBootstrap(t *testing.T) {
	t.Parallel()
	root, foreign, renewed := newRoot(t), newRoot(t), newRoot(t)
	p := publish(t, svid(t, root, server), document(1, 0, foreign))
	e := spiffe(t, root)
	e.Origin = other // partner's endpoint serves the bundle of other
	s := follow(t, p, e)
	refresh(t, s)
	p.present(svid(t, foreign, server)) // what it serves says nothing about partner
	if err := s.Refresh(t.Context()); mirror.ReasonOf(err) != mirror.ReasonIdentity {
		t.Errorf("Refresh() from an endpoint of the fetched CA = %v, want reason %v", err, mirror.ReasonIdentity)
	}
	p.present(svid(t, renewed, server))
	writeFile(t, e.BootstrapPath, pemOf(renewed)) // the operator renews the file
	refresh(t, s)
}

// FED-06: what a redirect leads to is judged like the first address, and forgotten.
func TestRedirectsAreJudgedAndForgotten(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	p := publish(t, issue(t, root, devpki.LeafOptions{DNS: []string{"bundle.partner.example", "moved.partner.example"}}), "")
	to := "https://moved.partner.example/new"
	p.handle(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/new" {
			fmt.Fprint(w, document(1, 0, root))
			return
		}
		http.Redirect(w, r, to, http.StatusPermanentRedirect)
	})
	s := follow(t, p, web(t, root))
	refresh(t, s)
	refresh(t, s)
	var hosts []string
	for _, r := range p.requests() {
		hosts = append(hosts, r.Host)
	}
	if want := []string{"bundle.partner.example", "moved.partner.example", "bundle.partner.example", "moved.partner.example"}; !slices.Equal(hosts, want) {
		t.Errorf("asked %q, want %q: each fetch begins at the configured address", hosts, want)
	}
	for target, want := range map[string]mirror.Reason{
		"http://moved.partner.example/new":      mirror.ReasonRedirect,
		"https://user@moved.partner.example/":   mirror.ReasonRedirect,
		"https://elsewhere.partner.example/new": mirror.ReasonUnreachable, // the certificate is not for it
	} {
		to = target
		if err := s.Refresh(t.Context()); mirror.ReasonOf(err) != want {
			t.Errorf("Refresh() sent to %s = %v, want reason %v", target, err, want)
		}
	}
}

// FED-06: with https_spiffe the redirect leads to the same workload or nowhere.
func TestRedirectLeadsToTheSameWorkload(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	p := publish(t, svid(t, root, server), "")
	p.handle(func(w http.ResponseWriter, r *http.Request) {
		p.present(issue(t, root, devpki.LeafOptions{URIs: []string{"spiffe://partner.example/other"}})) // answers the next connection
		http.Redirect(w, r, "https://moved.partner.example/", http.StatusFound)
	})
	e := spiffe(t, root)
	if err := follow(t, p, e).Refresh(t.Context()); mirror.ReasonOf(err) != mirror.ReasonIdentity {
		t.Errorf("Refresh() sent to another workload = %v, want reason %v", err, mirror.ReasonIdentity)
	}
}

// FED-08: the endpoint must not ask for a client certificate, and gets none.
func TestNoClientCertificateIsSent(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	p := publish(t, svid(t, root, server), document(1, 0, root))
	refresh(t, follow(t, p, spiffe(t, root)))
	for _, r := range p.requests() {
		if n := len(r.TLS.PeerCertificates); n != 0 {
			t.Errorf("the endpoint got %d certificates, want none", n)
		}
	}
}

func TestWhatIsRefusedLeavesTheCopy(t *testing.T) {
	t.Parallel()
	root, foreign := newRoot(t), newRoot(t)
	named, err := devpki.NewRoot(devpki.CAOptions{Edit: func(c *x509.Certificate) {
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: "other.example"}}
	}})
	if err != nil {
		t.Fatal(err)
	}
	p := publish(t, issue(t, root, devpki.LeafOptions{DNS: []string{"bundle.partner.example"}}), "")
	e := web(t, root)
	s := follow(t, p, e)
	good := document(7, 0, root)
	p.serve(good)
	refresh(t, s)
	for _, tt := range []struct {
		name, body string
		reason     mirror.Reason
		because    trust.Reason
	}{
		{"nothing", "", mirror.ReasonDocument, trust.ReasonEmpty},
		{"a web page", "<html>Sign in</html>", mirror.ReasonDocument, trust.ReasonJSON},
		{"PEM", string(pemOf(foreign)), mirror.ReasonDocument, trust.ReasonJSON},
		{"half of a document", good[:len(good)/2], mirror.ReasonDocument, trust.ReasonJSON},
		{"no keys", `{"spiffe_sequence":8}`, mirror.ReasonDocument, trust.ReasonMember},
		{"a repeated member", strings.Replace(good, `{"keys"`, `{"keys":[],"keys"`, 1), mirror.ReasonDocument, trust.ReasonDuplicateMember},
		{"an anchor of another trust domain", document(8, 0, named), mirror.ReasonDocument, trust.ReasonForeignAnchor},
		{"an older sequence (BUN-05)", document(6, 0, foreign), mirror.ReasonDocument, trust.ReasonRollback},
		{"more than fits", good + strings.Repeat(" ", federation.MaxBundleBytes), mirror.ReasonTooLarge, trust.ReasonNone},
	} {
		p.serve(tt.body)
		err := s.Refresh(t.Context())
		if mirror.ReasonOf(err) != tt.reason || trust.ReasonOf(err) != tt.because {
			t.Errorf("Refresh() of %s = %v, want reason %v because of %q", tt.name, err, tt.reason, tt.because)
		}
		if got := copyOf(t, e); got != good {
			t.Errorf("after %s the copy is %.60q…, want the last good one", tt.name, got)
		}
		if status := s.Status()[0]; mirror.ReasonOf(status.Err) != tt.reason || status.Digest.IsZero() || *status.Sequence != 7 {
			t.Errorf("after %s Status() = %+v, want what is held, and the error", tt.name, status)
		}
		// The validators of what was refused are forgotten: it does not count as confirmed.
		if err := s.Refresh(t.Context()); err == nil {
			t.Errorf("the second Refresh() of %s succeeded", tt.name)
		}
	}
	p.serve(document(8, 0)) // BUN-02: empty is a statement
	refresh(t, s)
	if got, want := copyOf(t, e), document(8, 0); got != want {
		t.Errorf("the copy is %q, want %q", got, want)
	}
}

func TestOlderBundleIsRefusedEvenAfterOneWithoutASequence(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	p := publish(t, svid(t, root, server), document(7, 0, root))
	e := spiffe(t, root)
	s := follow(t, p, e)
	refresh(t, s)
	p.serve(document(0, 0, root))
	refresh(t, s)
	p.serve(document(6, 0, root, newRoot(t)))
	if err := s.Refresh(t.Context()); trust.ReasonOf(err) != trust.ReasonRollback {
		t.Errorf("Refresh() of an older bundle = %v, want reason %v", err, trust.ReasonRollback)
	}
	if err := os.Remove(e.Path); err != nil {
		t.Fatal(err)
	}
	p.serve(document(6, 0, root))
	refresh(t, s) // whoever removes the copy begins anew
}

// A confirmation renews the age of the copy and changes nothing else.
func TestConfirmationRenewsTheAge(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	p := publish(t, svid(t, root, server), document(1, 0, root))
	e := spiffe(t, root)
	now, told := newClock(), 0
	s := open(t, federation.Options{
		Endpoints: []federation.Endpoint{e}, Transport: p.transport, Now: now.Now, Changed: func() { told++ },
	})
	age := func() time.Time {
		t.Helper()
		info, err := os.Stat(e.Path)
		if err != nil {
			t.Fatal(err)
		}
		return info.ModTime()
	}
	refresh(t, s)
	now.advance(time.Hour)
	refresh(t, s) // 304
	if !age().Equal(now.Now()) {
		t.Errorf("after a confirmation the copy is of %v, want %v", age(), now.Now())
	}
	requests := p.requests()
	if got := requests[1].Header.Get("If-None-Match"); got == "" {
		t.Error("the second fetch was not conditional")
	}
	confirmed := age()
	p.handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	now.advance(time.Hour)
	if err := s.Refresh(t.Context()); mirror.ReasonOf(err) != mirror.ReasonAnswer {
		t.Errorf("Refresh() of a publisher in trouble = %v, want reason %v", err, mirror.ReasonAnswer)
	}
	if !age().Equal(confirmed) {
		t.Errorf("after a failure the copy is of %v, want %v", age(), confirmed)
	}
	if told != 1 {
		t.Errorf("told of %d changes, want 1", told)
	}
	// A copy that is another than what was fetched is not confirmed by a 304.
	p.serve(document(1, 0, root))
	writeFile(t, e.Path, []byte(document(0, 0, root, newRoot(t))))
	refresh(t, s)
	if got, want := copyOf(t, e), document(1, 0, root); got != want {
		t.Errorf("the copy is %.60q…, want what is published", got)
	}
}

// instant answers without a network, in no time.
type instant func(*http.Request) (*http.Response, error)

func (f instant) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Request: r, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// times records when something happened.
type times struct {
	mu sync.Mutex
	at []time.Duration
}

func (x *times) add(d time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.at = append(x.at, d)
}

// take returns the record and begins another.
func (x *times) take() []time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	at := x.at
	x.at = nil
	return at
}

// BUN-06, FED-07: the hint of the bundle decides within bounds; failures are repeated
// with patience.
func TestScheduleFollowsTheHintWithinBounds(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	for _, tt := range []struct {
		name string
		hint int // seconds
		want time.Duration
	}{
		{"none", 0, 5 * time.Minute},
		{"a second", 1, trust.MinRefresh},
		{"ten minutes", 600, 10 * time.Minute},
		{"28 days", 28 * 24 * 3600, trust.MaxRefresh},
	} {
		e := web(t, root)
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			var polled times
			var away atomic.Bool
			s := open(t, federation.Options{
				Endpoints: []federation.Endpoint{e},
				Jitter:    func() float64 { return 0 },
				Transport: func(*tls.Config) http.RoundTripper {
					return instant(func(r *http.Request) (*http.Response, error) {
						polled.add(time.Since(start))
						if away.Load() {
							return answer(r, http.StatusBadGateway, ""), nil
						}
						return answer(r, http.StatusOK, document(1, tt.hint, root)), nil
					})
				},
			})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- s.Run(ctx) }()
			time.Sleep(tt.want + time.Second)
			if at, want := polled.take(), []time.Duration{0, tt.want}; !slices.Equal(at, want) {
				t.Errorf("hint of %s: polled at %v, want %v", tt.name, at, want)
			}
			if got, want := s.Status()[0].NextAttempt.Sub(start), 2*tt.want; got != want {
				t.Errorf("hint of %s: the next attempt is at %v, want %v", tt.name, got, want)
			}
			away.Store(true)
			time.Sleep(tt.want + 3*time.Hour)
			at := polled.take()
			for i := 1; i < len(at); i++ {
				if gap := at[i] - at[i-1]; gap < trust.MinRefresh || gap > max(tt.want, time.Hour) {
					t.Errorf("hint of %s: attempts at %v and %v, want patience", tt.name, at[i-1], at[i])
				}
			}
			if len(at) == 0 {
				t.Errorf("hint of %s: no attempt in hours of failures", tt.name)
			}
			if err := s.Run(ctx); err == nil {
				t.Error("a second Run() started")
			}
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run() = %v", err)
			}
		})
	}
}

// Unknown issuers bring the next poll forward, at a bounded rate whoever causes them.
func TestHintForAnUnknownIssuer(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	e := web(t, root)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var polled times
		s := open(t, federation.Options{
			Endpoints: []federation.Endpoint{e},
			Jitter:    func() float64 { return 0 },
			HintGap:   time.Minute,
			Transport: func(*tls.Config) http.RoundTripper {
				return instant(func(r *http.Request) (*http.Response, error) {
					polled.add(time.Since(start))
					return answer(r, http.StatusOK, document(1, 3600, root)), nil
				})
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		for range 250 { // a flood of strangers
			time.Sleep(time.Second)
			s.Hint(partner)
			s.Hint(other) // nobody polls for it
		}
		cancel()
		<-done
		if at, want := polled.take(), []time.Duration{0, 60 * time.Second, 120 * time.Second, 180 * time.Second, 240 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("polled at %v, want %v", at, want)
		}
	})
}
