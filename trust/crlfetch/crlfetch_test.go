package crlfetch_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"verigate/devpki"
	"verigate/trust"
	"verigate/trust/crlfetch"
	"verigate/trust/files"
	"verigate/trust/mirror"
	"verigate/workloadid"
)

func newRoot(t testing.TB, name string) *devpki.CA {
	t.Helper()
	ca, err := devpki.NewRoot(devpki.CAOptions{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// crl makes the CRL of ca with the number, which was issued age ago.
func crl(t testing.TB, ca *devpki.CA, number int64, age time.Duration) []byte {
	t.Helper()
	return crlAt(t, ca, number, began.Add(-age), 24*time.Hour)
}

// began is what ages count from: two lists of one age are of one date, which CRLs tell to the second.
var began = time.Now()

func crlAt(t testing.TB, ca *devpki.CA, number int64, issued time.Time, lifetime time.Duration) []byte {
	t.Helper()
	der, err := ca.MakeCRL(devpki.CRLOptions{Number: big.NewInt(number), ThisUpdate: issued, NextUpdate: issued.Add(lifetime)})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func pemOf(ders ...[]byte) []byte {
	var all []byte
	for _, der := range ders {
		all = append(all, devpki.CRLPEM(der)...)
	}
	return all
}

// publisher serves one document.
type publisher struct {
	mu       sync.Mutex
	body     []byte
	modified time.Time
	asked    []*http.Request
}

func (p *publisher) serve(body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.body, p.modified = body, p.modified.Add(time.Second)
}

func (p *publisher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, r)
	http.ServeContent(w, r, "", p.modified, bytes.NewReader(p.body))
}

func publish(t testing.TB, body []byte) (*publisher, *httptest.Server) {
	t.Helper()
	p := &publisher{modified: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	p.serve(body)
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return p, server
}

func follow(t testing.TB, url string, o crlfetch.Options) (s *crlfetch.Source, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "state", "crl")
	o.Lists = []crlfetch.List{{URL: url, Path: path}}
	s, err := crlfetch.New(o)
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	return s, path
}

func refresh(t testing.TB, s *crlfetch.Source) {
	t.Helper()
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatalf("Refresh() = %v", err)
	}
}

func copyOf(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return data
}

func TestListsReachTheStore(t *testing.T) {
	t.Parallel()
	origin, err := workloadid.ParseOrigin("spiffe://prod.example")
	if err != nil {
		t.Fatal(err)
	}
	root := newRoot(t, "root")
	anchors := filepath.Join(t.TempDir(), "anchors.pem")
	if err := os.WriteFile(anchors, devpki.CertificatesPEM(root.Certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	der := crl(t, root, 1, time.Minute)
	for name, body := range map[string][]byte{"DER": der, "PEM": pemOf(der)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, server := publish(t, body)
			var store trust.Store
			var source atomic.Pointer[files.Source]
			s, path := follow(t, server.URL, crlfetch.Options{Changed: func() {
				if err := source.Load().Reload(); err != nil {
					t.Errorf("Reload() = %v", err)
				}
			}})
			followed, err := files.Open(files.Options{Bundles: []files.BundleFile{{
				Origin: origin, Path: anchors, CRLs: []files.CRLFile{{Path: path, Optional: true}},
			}}}, &store)
			if err != nil {
				t.Fatalf("Open() before anything was fetched = %v", err)
			}
			source.Store(followed)
			refresh(t, s)
			if got := store.Load().Bundle(origin).CRLs().CRLs(); len(got) != 1 || got[0].Number() != "1" {
				t.Errorf("the store has the CRLs %v, want the one that was published", got)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	list := func(url string) []crlfetch.List { return []crlfetch.List{{URL: url, Path: "x"}} }
	for name, o := range map[string]crlfetch.Options{
		"a file":              {Lists: list("file:///etc/ca.crl")},
		"LDAP":                {Lists: list("ldap://ca.example/cn=ca")},
		"no host":             {Lists: list("http:///ca.crl")},
		"a user":              {Lists: list("http://user@ca.example/ca.crl")},
		"no copy":             {Lists: []crlfetch.List{{URL: "http://ca.example/"}}},
		"a URL twice":         {Lists: []crlfetch.List{{URL: "http://ca.example/", Path: "a"}, {URL: "http://ca.example/", Path: "b"}}},
		"a copy twice":        {Lists: []crlfetch.List{{URL: "http://ca.example/a", Path: "a"}, {URL: "http://ca.example/b", Path: "a"}}},
		"too much":            {MaxBytes: trust.MaxCRLBytes + 1},
		"less than nothing":   {MaxBytes: -1},
		"crossed bounds":      {MinInterval: time.Hour, MaxInterval: time.Minute},
		"a negative time-out": {Timeout: -1},
	} {
		if _, err := crlfetch.New(o); mirror.ReasonOf(err) != mirror.ReasonOptions {
			t.Errorf("New() with %s = %v, want reason %v", name, err, mirror.ReasonOptions)
		}
	}
}

// REV-03: what is refused leaves the copy as it was.
func TestWhatIsRefusedLeavesTheCopy(t *testing.T) {
	t.Parallel()
	ca, other := newRoot(t, "ca"), newRoot(t, "other")
	good := crl(t, ca, 100, time.Hour)
	p, server := publish(t, good)
	s, path := follow(t, server.URL, crlfetch.Options{MaxBytes: 1 << 20})
	refresh(t, s)
	for _, tt := range []struct {
		name    string
		body    []byte
		reason  mirror.Reason
		because trust.Reason
	}{
		{"nothing", nil, mirror.ReasonDocument, trust.ReasonEmpty},
		{"a web page", []byte("<html>Sign in</html>"), mirror.ReasonDocument, trust.ReasonOf(parseError("<html>Sign in</html>"))},
		{"half of a list", good[:len(good)/2], mirror.ReasonDocument, trust.ReasonOf(parseError(string(good[:len(good)/2])))},
		{"a lower number and an older date", crl(t, ca, 99, 2*time.Hour), mirror.ReasonDocument, trust.ReasonRollback},
		{"a lower number of the same date", crl(t, ca, 90, time.Hour), mirror.ReasonDocument, trust.ReasonRollback},
		{"a higher number with an older date", crl(t, ca, 101, 2*time.Hour), mirror.ReasonDocument, trust.ReasonRollback},
		{"an older one beside another issuer's", pemOf(crl(t, other, 500, 0), crl(t, ca, 99, 2*time.Hour)), mirror.ReasonDocument, trust.ReasonRollback},
		{"a list of tomorrow", crl(t, ca, 101, -24*time.Hour), mirror.ReasonDocument, trust.ReasonNotYetValid},
		{"more than fits", bytes.Repeat([]byte("x"), 1<<20+1), mirror.ReasonTooLarge, trust.ReasonNone},
	} {
		p.serve(tt.body)
		for range 2 { // a second time, because what was refused must not count as unchanged
			err := s.Refresh(t.Context())
			if mirror.ReasonOf(err) != tt.reason || trust.ReasonOf(err) != tt.because {
				t.Errorf("Refresh() of %s = %v, want reason %v because of %q", tt.name, err, tt.reason, tt.because)
			}
		}
		if !bytes.Equal(copyOf(t, path), good) {
			t.Errorf("after %s the copy is another", tt.name)
		}
		if status := s.Status()[0]; status.Err == nil || status.Digest.IsZero() {
			t.Errorf("after %s Status() = %+v, want what is held, and the error", tt.name, status)
		}
	}
}

func parseError(body string) error {
	_, err := trust.ParseCRLs("", []byte(body))
	return err
}

func TestNewerListsAreTakenUp(t *testing.T) {
	t.Parallel()
	ca, other := newRoot(t, "ca"), newRoot(t, "other")
	// The same name with another key counts by itself.
	renewed := newRoot(t, "ca")
	p, server := publish(t, nil)
	s, path := follow(t, server.URL, crlfetch.Options{})
	for i, body := range [][]byte{
		crl(t, ca, 100, 5*time.Hour),
		crl(t, ca, 101, 4*time.Hour),
		crl(t, ca, 101, 4*time.Hour), // signed again
		pemOf(crl(t, ca, 101, 4*time.Hour), crl(t, other, 3, 9*time.Hour)),
		pemOf(crl(t, other, 4, 3*time.Hour), crl(t, ca, 102, 3*time.Hour)),
		pemOf(crl(t, ca, 102, 3*time.Hour), crl(t, renewed, 1, 2*time.Hour)),
		crl(t, renewed, 2, time.Hour),
	} {
		p.serve(body)
		refresh(t, s)
		if !bytes.Equal(copyOf(t, path), body) {
			t.Errorf("list %d was not taken up", i+1)
		}
	}
}

// REV-03: a CA that was restored from a backup counts from there, and has forgotten what
// was revoked since. Its lists must not take the place of a genuine one, neither in
// memory nor on the disk, where they would count after a restart. A list that nobody
// verified may be a forgery, and must not lock the genuine ones out.
func TestALowerNumberDoesNotReplaceAVerifiedList(t *testing.T) {
	t.Parallel()
	root, other := newRoot(t, "root"), newRoot(t, "other")
	anchors := filepath.Join(t.TempDir(), "anchors.pem")
	if err := os.WriteFile(anchors, devpki.CertificatesPEM(root.Certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	forged, genuine := crl(t, root, 1<<40, 5*time.Hour), crl(t, root, 9, 4*time.Hour)
	restored := crl(t, root, 7, time.Hour)
	p, server := publish(t, forged)
	var verified func(trust.Digest) bool
	s, path := follow(t, server.URL, crlfetch.Options{Verified: func(list trust.Digest) bool { return verified != nil && verified(list) }})
	refresh(t, s)

	origin, err := workloadid.ParseOrigin("spiffe://prod.example")
	if err != nil {
		t.Fatal(err)
	}
	o := files.Options{Bundles: []files.BundleFile{{Origin: origin, Path: anchors, CRLs: []files.CRLFile{{Path: path}}}}}
	var store trust.Store
	source, err := files.Open(o, &store)
	if err != nil {
		t.Fatal(err)
	}
	verified = source.Verified
	take := func(what string, body []byte) {
		t.Helper()
		p.serve(body)
		refresh(t, s)
		if err := source.Reload(); err != nil || !bytes.Equal(copyOf(t, path), body) {
			t.Fatalf("%s is not held on the disk and in memory (%v)", what, err)
		}
	}
	number := func(store *trust.Store) string { return store.Load().Bundle(origin).CRLs().CRLs()[0].Number() }

	take("a genuine list, with a lower number than a forgery", genuine)
	held := store.Load().Bundle(origin).CRLs().CRLs()[0]
	if err := held.CheckSignature(trust.Digest{1}, func(trust.SignatureAlgorithm, []byte, []byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string][]byte{"alone": restored, "beside another CA's list": pemOf(crl(t, other, 100, time.Hour), restored)} {
		p.serve(body)
		if err := s.Refresh(t.Context()); mirror.ReasonOf(err) != mirror.ReasonDocument || trust.ReasonOf(err) != trust.ReasonRollback {
			t.Errorf("Refresh() of a lower number %s = %v, want reason %v because of %q", name, err, mirror.ReasonDocument, trust.ReasonRollback)
		}
	}
	var restarted trust.Store
	if _, err := files.Open(o, &restarted); err != nil || number(&restarted) != "9" {
		t.Errorf("after a restart the list has number %s, %v; want 9", number(&restarted), err)
	}
	take("its successor", crl(t, root, 10, 0))
}

func TestGarbledCopyIsReplaced(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, "ca")
	good := crl(t, ca, 100, time.Hour)
	_, server := publish(t, good)
	s, path := follow(t, server.URL, crlfetch.Options{})
	refresh(t, s)
	if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	refresh(t, s)
	if !bytes.Equal(copyOf(t, path), good) {
		t.Error("the copy is still garbled")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	refresh(t, s)
	if !bytes.Equal(copyOf(t, path), good) {
		t.Error("the copy is still missing")
	}
}

func TestConfirmationRenewsTheAge(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, "ca")
	p, server := publish(t, crl(t, ca, 100, time.Hour))
	now, told := time.Now().Truncate(time.Second), 0
	s, path := follow(t, server.URL, crlfetch.Options{Now: func() time.Time { return now }, Changed: func() { told++ }})
	refresh(t, s)
	now = now.Add(time.Hour)
	refresh(t, s)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if !info.ModTime().Equal(now) {
		t.Errorf("after a confirmation the copy is of %v, want %v", info.ModTime(), now)
	}
	if got := p.asked[1].Header.Get("If-Modified-Since"); got == "" {
		t.Error("the second fetch was not conditional")
	}
	if told != 1 {
		t.Errorf("told of %d changes, want 1", told)
	}
}

func TestPublisherOverHTTPSIsJudged(t *testing.T) {
	t.Parallel()
	web, ca := newRoot(t, "web"), newRoot(t, "ca")
	leaf, err := web.Issue(devpki.LeafOptions{DNS: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(&publisher{body: crl(t, ca, 1, time.Hour)})
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{leaf.TLS()}}
	server.StartTLS()
	t.Cleanup(server.Close)
	url := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate)
	s, _ := follow(t, url, crlfetch.Options{TLS: &tls.Config{RootCAs: roots}})
	refresh(t, s)
	s, _ = follow(t, url, crlfetch.Options{})
	if err := s.Refresh(t.Context()); mirror.ReasonOf(err) != mirror.ReasonUnreachable {
		t.Errorf("Refresh() from a publisher of an unknown CA = %v, want reason %v", err, mirror.ReasonUnreachable)
	}
}

// instant answers without a network, in no time.
type instant func(*http.Request) []byte

func (f instant) RoundTrip(r *http.Request) (*http.Response, error) {
	body := f(r)
	return &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", Request: r, Header: http.Header{},
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}, nil
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

func TestScheduleFollowsTheNextUpdate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca, err := devpki.NewRoot(devpki.CAOptions{})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for _, tt := range []struct {
			name     string
			lifetime time.Duration
			want     time.Duration
		}{
			{"a list for a month", 30 * 24 * time.Hour, time.Hour},
			{"a list for half an hour", 30 * time.Minute, 15 * time.Minute},
			{"a list for half a minute", 30 * time.Second, time.Minute},
			{"a list that is overdue", -time.Hour, time.Minute},
		} {
			issued := time.Now()
			if tt.lifetime < 0 {
				issued = issued.Add(2 * tt.lifetime)
				tt.lifetime = -tt.lifetime
			}
			body := crlAt(t, ca, 1, issued, tt.lifetime)
			var polled times
			s, _ := follow(t, "http://ca.example/crl", crlfetch.Options{
				Jitter: func() float64 { return 0 },
				Transport: func(*tls.Config) http.RoundTripper {
					return instant(func(*http.Request) []byte {
						polled.add(time.Since(start))
						return body
					})
				},
			})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			begun := time.Since(start)
			go func() { done <- s.Run(ctx) }()
			time.Sleep(tt.want + time.Second)
			if at, want := polled.take(), []time.Duration{begun, begun + tt.want}; !slices.Equal(at, want) {
				t.Errorf("%s: polled at %v, want %v", tt.name, at, want)
			}
			if err := s.Run(ctx); err == nil {
				t.Error("a second Run() started")
			}
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run() = %v", err)
			}
		}
	})
}

// An address in a certificate is never fetched: it would let whoever connects choose
// where the gateway connects to. The package has no way to be told of one but its
// options, and lists do not bring any either.
func TestAddressesInListsAreNotFollowed(t *testing.T) {
	t.Parallel()
	ca := newRoot(t, "ca")
	bait, baited := publish(t, nil)
	der, err := ca.MakeCRL(devpki.CRLOptions{Edit: func(l *x509.RevocationList) {
		l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{ // authority information access: caIssuers
			Id: []int{1, 3, 6, 1, 5, 5, 7, 1, 1}, Value: accessTo(baited.URL),
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, server := publish(t, der)
	s, path := follow(t, server.URL, crlfetch.Options{})
	refresh(t, s)
	if copyOf(t, path) == nil {
		t.Error("the list was not taken up")
	}
	if len(bait.asked) != 0 {
		t.Errorf("%d requests went to an address out of a list, want none", len(bait.asked))
	}
}

// accessTo is an AuthorityInfoAccessSyntax with one caIssuers.
func accessTo(url string) []byte {
	location := append([]byte{0x86, byte(len(url))}, url...)
	description := append([]byte{0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 2}, location...)
	sequence := append([]byte{0x30, byte(len(description))}, description...)
	return append([]byte{0x30, byte(len(sequence))}, sequence...)
}
