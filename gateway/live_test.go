package gateway_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"verigate/assurance"
	"verigate/devpki"
	"verigate/gateway"
	"verigate/policy"
	"verigate/tlsterm"
	"verigate/trust"
	"verigate/verifycache"
)

// crls returns a set with one CRL of ca, asked about leaves alone.
func crls(t testing.TB, ca *devpki.CA, o devpki.CRLOptions) *trust.CRLSet {
	t.Helper()
	der := must(ca.MakeCRL(o))(t)
	return must(trust.NewCRLSet(must(trust.ParseCRLs("test.crl", der))(t), trust.CRLOptions{LeafOnly: true}))(t)
}

// prodOnly applies edit to the bundle of prod.example.
func prodOnly(edit func(*trust.BundleOptions)) func(string, *trust.BundleOptions) {
	return func(origin string, o *trust.BundleOptions) {
		if origin == prodOrigin {
			edit(o)
		}
	}
}

// catalogCall is a request that every caller of these tests is granted.
var catalogCall = get("catalog.example", "/x")

// served fails the test unless the connection is open and requests on it are
// decided. The backends take no part: they are of prod.example, and come and go with
// it.
func (c *client) served(who string) {
	c.t.Helper()
	if r := c.do(get("catalog.example", "/nobody")); r.StatusCode != 403 || r.reason() != "policy_denied" || r.Close {
		c.t.Errorf("%s: %d %s, close %v", who, r.StatusCode, r.body, r.Close)
	}
}

// open connects as leaf and makes a request.
func (w *world) open(leaf *devpki.Leaf) *client {
	w.t.Helper()
	c := w.dial(leaf, "catalog.example")
	if r := c.do(catalogCall); r.StatusCode != 200 {
		w.t.Fatalf("before: %d %s", r.StatusCode, r.body)
	}
	return c
}

// established connects as leaf and waits until the gateway is done with the handshake
// too: in TLS 1.3 the client is first.
func (w *world) established(leaf *devpki.Leaf) *client {
	w.t.Helper()
	before := w.gateway.Connections()[0].Active
	c := w.dial(leaf, "catalog.example")
	w.until(w.t, "the gateway had one more connection", func() bool { return w.gateway.Connections()[0].Active > before })
	return c
}

// ends returns the records of connections that ended because their caller was
// refused, as far as they are written.
func (a *auditLog) ends() (ends []record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.records {
		if r.text("event") == "connection_refused" {
			ends = append(ends, r)
		}
	}
	return ends
}

// end waits for the record of the end of a connection of id.
func (a *auditLog) end(t testing.TB, id string) record {
	t.Helper()
	return a.find(t, "the end of a connection of "+id, func(r record) bool {
		return r.text("event") == "connection_refused" && r.text("identity") == id
	})
}

// REV-05, FED-09: whatever takes trust from a caller closes its connections, though
// nothing happens on them, and no others.
func TestTrustChangeReachesOpenConnections(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		claim  string
		change func(w *world, revoked *devpki.Leaf)
		reason string
		others bool // of the same trust domain end as well
	}{
		{"an identity is denied", func(w *world, _ *devpki.Leaf) { w.publish(denied(w.t, checkoutID)) }, "deny_listed", false},
		{"a serial number is denied", func(w *world, l *devpki.Leaf) {
			w.publish(trust.NewDenyList(trust.DenyOptions{Serials: []trust.IssuerSerial{{
				IssuerSPKI: trust.RefOf(l.Chain[0], w.prod.Certificate).IssuerSPKI, Serial: trust.SerialOf(l.Chain[0].SerialNumber),
			}}}))
		}, "deny_listed", false},
		{"a key is denied", func(w *world, l *devpki.Leaf) {
			w.publish(trust.NewDenyList(trust.DenyOptions{Keys: []trust.Digest{trust.RefOf(l.Chain[0], nil).SPKI}}))
		}, "deny_listed", false},
		{"a CRL revokes a certificate", func(w *world, l *devpki.Leaf) {
			set := crls(w.t, w.prod, devpki.CRLOptions{Revoked: []*big.Int{l.Chain[0].SerialNumber}})
			w.publishBut(nil, prodOnly(func(o *trust.BundleOptions) { o.CRLs = set }))
		}, "revoked", false},
		{"an anchor is replaced", func(w *world, _ *devpki.Leaf) {
			other := must(devpki.NewRoot(devpki.CAOptions{}))(w.t)
			w.publishBut(nil, prodOnly(func(o *trust.BundleOptions) { o.Anchors = []*x509.Certificate{other.Certificate} }))
		}, "untrusted_chain", true},
		{"a trust domain is removed", func(w *world, _ *devpki.Leaf) {
			w.publishBut(nil, prodOnly(func(o *trust.BundleOptions) { o.Anchors = nil }))
		}, "", true},
		{"a level is demanded", func(w *world, _ *devpki.Leaf) {
			w.publishBut(nil, prodOnly(func(o *trust.BundleOptions) { o.MinMIAL = 3 }))
		}, "assurance_below_minimum", true},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			bothCaches(t, func(t *testing.T, cache verifycache.Options) {
				w := newWorld(t, setting{cache: cache})
				checkout := w.issue(checkoutID)
				used, unused := w.open(checkout), w.established(checkout)
				cart := w.open(w.issue(cartID))
				report := w.open(must(w.partner.Issue(devpki.LeafOptions{URIs: []string{reportID}}))(t))

				tt.change(w, checkout)
				used.ended()
				unused.ended()
				want := 2
				if tt.others {
					cart.ended()
					want = 3
				} else {
					cart.served("another caller of the domain")
				}
				report.served("a caller of another domain")
				w.close()
				ends := w.audit.ends()
				if len(ends) != want {
					t.Fatalf("%d connections ended for want of trust, want %d: %v", len(ends), want, ends)
				}
				seen := map[int]bool{}
				for _, e := range ends {
					if e.text("cause") != "trust" || e["cut"] != false || tt.reason != "" && e.text("reason") != tt.reason ||
						e.text("reason") == "" || e.text("listener") != "edge" {
						t.Errorf("the record says %v, want reason %s", e, tt.reason)
					}
					if seen[e.number("connection")] {
						t.Errorf("connection %d ended twice", e.number("connection"))
					}
					seen[e.number("connection")] = true
				}
			})
		})
	}
}

// held is an observer of trust that keeps the gateway from hearing of changes.
type held struct{ entered, release chan struct{} }

func newHeld() *held { return &held{make(chan struct{}), make(chan struct{})} }

func (h *held) observe(_, _ *trust.Snapshot) {
	h.entered <- struct{}{}
	<-h.release
}

// REV-05: the next request is refused even if nothing but itself brings the change
// to light.
func TestNextRequestIsRefused(t *testing.T) {
	t.Parallel()
	bothCaches(t, func(t *testing.T, cache verifycache.Options) {
		h := newHeld()
		w := newWorld(t, setting{cache: cache, observer: h.observe})
		kept, refused := w.open(w.issue(cartID)), w.dial(w.issue(checkoutID), "pay.example")
		if r := refused.do(get("pay.example", "/v1/x")); r.StatusCode != 200 {
			t.Fatalf("before: %d %s", r.StatusCode, r.body)
		}
		w.pay.next(t)
		go w.publish(denied(t, checkoutID)) // does not return while the observer is held
		<-h.entered
		r := refused.do(get("pay.example", "/v1/x"))
		if r.StatusCode != 403 || r.reason() != "trust_changed" || !r.Close {
			t.Errorf("denied: %d %s, close %v", r.StatusCode, r.body, r.Close)
		}
		refused.ended()
		w.pay.none(t)
		if a := w.audit.request(t, r.id()); a.text("reason") != "trust_changed" || a.text("decision") != "denied" || a.text("identity") != checkoutID {
			t.Errorf("the record says %v", a)
		}
		if e := w.audit.end(t, checkoutID); e.text("reason") != "deny_listed" || e["cut"] != false {
			t.Errorf("the record of the connection says %v", e)
		}
		if r := kept.do(catalogCall); r.StatusCode != 200 {
			t.Errorf("somebody else: %d %s", r.StatusCode, r.body)
		}
		close(h.release)
		w.close()
		if ends := w.audit.ends(); len(ends) != 1 {
			t.Errorf("%d connections ended, want 1: %v", len(ends), ends)
		}
	})
}

// A caller that is refused while its request arrives hears of that and nothing else.
func TestCallerRefusedWhileItSends(t *testing.T) {
	t.Parallel()
	t.Run("before the body that it was told to send", func(t *testing.T) {
		t.Parallel()
		h := newHeld()
		w := newWorld(t, setting{observer: h.observe})
		c := w.dial(w.issue(cartID), "catalog.example")
		if r := c.do("POST /x HTTP/1.1\r\nHost: catalog.example\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"); r.StatusCode != 100 {
			t.Fatalf("before: %d %s", r.StatusCode, r.body)
		}
		go w.publish(denied(t, cartID))
		<-h.entered
		c.send("body")
		r := c.receive("POST")
		close(h.release)
		if r.StatusCode != 403 || r.reason() != "trust_changed" || !r.Close {
			t.Errorf("%d %s, close %v", r.StatusCode, r.body, r.Close)
		}
		_ = c.CloseWrite()
		c.ended()
		w.catalog.none(t)
		if a := w.audit.request(t, r.id()); a.text("reason") != "trust_changed" {
			t.Errorf("the record says %v", a)
		}
		w.audit.end(t, cartID)
	})
	t.Run("in the middle of its body", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, setting{})
		c := w.dial(w.issue(cartID), "catalog.example")
		c.send("POST /x HTTP/1.1\r\nHost: catalog.example\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("x", 15000))
		w.until(t, "the upload is under way", func() bool { return w.gateway.Program().Backends()[0].Upstream.Status().Endpoints[0].InFlight == 1 })
		later := w.established(w.issue(cartID))
		w.publish(denied(t, cartID))
		later.ended()                     // they are judged in the order in which they came
		c.send(strings.Repeat("x", 5000)) // it was granted, and may finish
		if r := c.receive("POST"); r.StatusCode != 200 || !r.Close {
			t.Errorf("%d %s, close %v", r.StatusCode, r.body, r.Close)
		}
		c.ended()
	})
	t.Run("in the middle of its header", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, setting{})
		c := w.established(w.issue(cartID))
		c.send("GET /x HTTP/1.1\r\nHost: cata")
		w.publish(denied(t, cartID))
		// Nothing, if the gateway had not seen the header yet.
		if r, err := c.tryReceive("GET"); err == nil && r.reason() != "trust_changed" {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
		w.audit.end(t, cartID)
	})
}

// A response in flight was granted, and finishes.
func TestResponseInFlightFinishes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	release := make(chan struct{})
	body := strings.Repeat("0123456789abcdef", 8<<10)
	w.pay.answerWith(func(c net.Conn, _ *http.Request) {
		half := len(body) / 2
		_, _ = io.WriteString(c, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:half]))
		<-release
		_, _ = io.WriteString(c, body[half:])
	})
	checkout := w.issue(checkoutID)
	idle, busy, later := w.open(checkout), w.dial(checkout, "pay.example"), w.dial(checkout, "pay.example")
	busy.send(get("pay.example", "/v1/x"))
	if _, err := busy.in.Peek(1); err != nil { // the header is on its way, and does not say "close"
		t.Fatal(err)
	}
	later.send(get("pay.example", "/v1/x"))
	w.pay.next(t)
	w.pay.next(t)
	w.publish(denied(t, checkoutID))
	idle.ended()
	close(release)
	for name, c := range map[string]*client{"begun": busy, "to come": later} {
		r := c.receive("GET")
		if r.StatusCode != 200 || r.body != body {
			t.Errorf("the response that was %s: %d, %d octets", name, r.StatusCode, len(r.body))
		}
		c.ended()
		if a := w.audit.request(t, r.id()); a.text("decision") != "allowed" || a.text("reason") != "" {
			t.Errorf("the record says %v", a)
		}
	}
	w.close()
	ends := w.audit.ends()
	for _, e := range ends {
		if e["cut"] != false || e.text("reason") != "deny_listed" {
			t.Errorf("the record says %v", e)
		}
	}
	if len(ends) != 3 {
		t.Errorf("%d connections ended, want 3: %v", len(ends), ends)
	}
}

// halfAnswer is the beginning of a response, too much to be held back.
var halfAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("x", 100000)

// A response that does not finish is cut, towards the backend too, wherever it is
// stuck.
func TestResponseInFlightIsCut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		claim  string
		answer string // that the backend gives before it falls silent
		flood  bool   // or it sends without end, to a client that does not read
	}{
		{"before its header", "", false},
		{"in its body", halfAnswer, false},
		{"at the client", "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", true},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setting{options: func(o *gateway.Options) { o.RefusalGrace = 20 * time.Millisecond }})
			hungUp := make(chan struct{})
			w.pay.answerWith(func(c net.Conn, _ *http.Request) {
				defer close(hungUp)
				_, _ = io.WriteString(c, tt.answer)
				for piece := make([]byte, 64<<10); tt.flood; {
					if _, err := c.Write(piece); err != nil {
						return
					}
				}
				_, _ = io.Copy(io.Discard, c)
			})
			c := w.dial(w.issue(checkoutID), "pay.example")
			c.send(get("pay.example", "/v1/x"))
			w.pay.next(t)
			if tt.answer != "" {
				if _, err := c.in.Peek(1); err != nil {
					t.Fatal(err)
				}
			}
			w.publish(denied(t, checkoutID))
			select {
			case <-hungUp:
			case <-time.After(patience):
				t.Fatal("the connection to the backend is still open")
			}
			if a := w.audit.because(t, "trust_changed"); a.text("identity") != checkoutID {
				t.Errorf("the record of the request says %v", a)
			}
			if e := w.audit.end(t, checkoutID); e["cut"] != true || e.text("reason") != "deny_listed" {
				t.Errorf("the record of the connection says %v", e)
			}
			if r, err := c.tryReceive("GET"); err == nil {
				t.Errorf("the client got a complete response: %d, %d octets", r.StatusCode, len(r.body))
			}
		})
	}
}

// A handshake that trust overtakes is seen by the one side or by the other.
func TestTrustOvertakesAHandshake(t *testing.T) {
	t.Parallel()
	for claim, at := range map[string]func(overtake func()) setting{
		// The next to ask is the judge of the client, who has its snapshot.
		"while its chain is judged": func(overtake func()) setting {
			return setting{cache: verifycache.Options{Now: func() time.Time { overtake(); return time.Now() }}}
		},
		"before it is registered": func(overtake func()) setting { return setting{arriving: overtake} },
	} {
		t.Run(claim, func(t *testing.T) {
			t.Parallel()
			var w *world
			var armed atomic.Bool
			w = newWorld(t, at(func() {
				if armed.CompareAndSwap(true, false) {
					w.publish(denied(t, cartID))
				}
			}))
			leaf := w.issue(cartID)
			armed.Store(true)
			c := w.dial(leaf, "catalog.example")
			c.ended() // unasked
			if e := w.audit.end(t, cartID); e.text("cause") != "trust" || e.text("reason") != "deny_listed" {
				t.Errorf("the record says %v", e)
			}
			w.close()
			if ends := w.audit.ends(); len(ends) != 1 {
				t.Errorf("%d connections ended, want 1: %v", len(ends), ends)
			}
		})
	}
}

// The passing of time takes trust as well (REV-04), and so does a path that ends
// earlier than the one that the handshake found (REV-06).
func TestConnectionsEndWithTime(t *testing.T) {
	t.Parallel()
	soon := func() time.Time { return time.Now().Add(2 * time.Second).Truncate(time.Second) }
	// With another end, of the same name and key: the chains of its callers lead to it.
	ending := func(t *testing.T, w *world, end time.Time) *x509.Certificate {
		template := *w.prodRoot.Certificate
		template.SerialNumber, template.NotAfter = big.NewInt(2), end
		der := must(x509.CreateCertificate(rand.Reader, &template, &template, w.prodRoot.Key.Public(), w.prodRoot.Key))(t)
		return must(x509.ParseCertificate(der))(t)
	}
	for _, tt := range []struct {
		claim  string
		before bool // the caller connects after the change
		change func(t *testing.T, w *world, end time.Time)
		reason string
	}{
		{"a CRL that was there grows stale", true, func(t *testing.T, w *world, end time.Time) {
			set := crls(t, w.prod, devpki.CRLOptions{NextUpdate: end})
			w.publishBut(nil, prodOnly(func(o *trust.BundleOptions) { o.CRLs = set }))
		}, "revocation_stale"},
		{"a CRL that came grows stale", false, func(t *testing.T, w *world, end time.Time) {
			set := crls(t, w.prod, devpki.CRLOptions{NextUpdate: end})
			w.publishBut(nil, prodOnly(func(o *trust.BundleOptions) { o.CRLs = set }))
		}, "revocation_stale"},
		{"the anchor that came ends", false, func(t *testing.T, w *world, end time.Time) {
			anchor := ending(t, w, end)
			w.publishBut(nil, prodOnly(func(o *trust.BundleOptions) { o.Anchors = []*x509.Certificate{anchor} }))
		}, "expired"},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			bothCaches(t, func(t *testing.T, cache verifycache.Options) {
				w := newWorld(t, setting{cache: cache})
				report := w.open(must(w.partner.Issue(devpki.LeafOptions{URIs: []string{reportID}}))(t))
				cart := w.issue(cartID)
				end := soon()
				var c *client
				if tt.before {
					tt.change(t, w, end)
					c = w.open(cart)
				} else {
					c = w.open(cart)
					tt.change(t, w, end)
				}
				if r := c.do(catalogCall); r.StatusCode != 200 {
					t.Fatalf("before the end: %d %s", r.StatusCode, r.body)
				}
				c.ended()
				if early := time.Until(end); early > 0 {
					t.Errorf("the connection ended %v too early", early)
				}
				if e := w.audit.end(t, cartID); e.text("cause") != "time" || e.text("reason") != tt.reason {
					t.Errorf("the record says %v", e)
				}
				report.served("a caller of another domain")
			})
		})
	}
}

// A change concerns the callers of one trust domain, or everybody, and nobody else is
// judged.
func TestOnlyThoseConcernedAreJudged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	for range 3 {
		w.open(w.issue(cartID))
	}
	report := w.established(must(w.partner.Issue(devpki.LeafOptions{URIs: []string{reportID}}))(t))
	report.served("before") // or it could arrive after the change, and be judged on arrival
	judged := func(n int) {
		t.Helper()
		w.until(t, fmt.Sprintf("%d connections were judged anew", n), func() bool {
			return strings.Contains(w.metrics(), fmt.Sprintf("verigate_connection_rejudged_total{cause=\"trust\"} %d\n", n))
		})
	}
	another := must(devpki.NewRoot(devpki.CAOptions{Name: "another"}))(t).Certificate
	w.publishBut(nil, func(origin string, o *trust.BundleOptions) {
		if origin == partnerOrigin {
			o.Anchors = append(o.Anchors, another)
		}
	})
	judged(1)
	w.publishBut(denied(t, reportID), func(origin string, o *trust.BundleOptions) {
		if origin == partnerOrigin {
			o.Anchors = append(o.Anchors, another)
		}
	})
	report.ended()
	judged(1 + 4)
}

// ASR-10: the grade of the latest verdict counts, on a connection that is open too.
func TestGradeFollowsTrustOnOpenConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	c := w.open(w.issue(cartID))
	assured := get("catalog.example", "/assured")
	if r := c.do(assured); r.StatusCode != 200 {
		t.Fatalf("with MIAL-2: %d %s", r.StatusCode, r.body)
	}
	w.publishBut(nil, prodOnly(func(o *trust.BundleOptions) { o.Assurance = nil }))
	r := c.do(assured)
	if r.StatusCode != 403 || r.reason() != "assurance_insufficient" || r.Close {
		t.Errorf("with MIAL-1: %d %s, close %v", r.StatusCode, r.body, r.Close)
	}
	if a := w.audit.request(t, r.id()); a.number("mial") != 1 {
		t.Errorf("the record says %v", a)
	}
	w.publish(nil)
	if r := c.do(assured); r.StatusCode != 200 {
		t.Errorf("with MIAL-2 again: %d %s", r.StatusCode, r.body)
	}
}

// reissued is leaf's key certified for another identity.
func (w *world) reissued(leaf *devpki.Leaf, id string) *devpki.Leaf {
	w.t.Helper()
	template := *leaf.Chain[0]
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.URIs = []*url.URL{must(url.Parse(id))(w.t)}
	template.ExtraExtensions = nil
	der := must(x509.CreateCertificate(rand.Reader, &template, w.prod.Certificate, leaf.Key.Public(), w.prod.Key))(w.t)
	chain := append([]*x509.Certificate{must(x509.ParseCertificate(der))(w.t)}, leaf.Chain[1:]...)
	return &devpki.Leaf{Chain: chain, Key: leaf.Key}
}

// ASR-04: who shares a key with somebody else is no more than MIAL-1, whatever is
// stated of its issuer.
func TestSharedCredentialIsGradedDown(t *testing.T) {
	t.Parallel()
	detector := must(assurance.NewDetector(assurance.DetectorOptions{}))(t)
	w := newWorld(t, setting{options: func(o *gateway.Options) { o.Detector = detector }})
	cart := w.issue(cartID)
	assured := get("catalog.example", "/assured")
	if r := w.open(cart).do(assured); r.StatusCode != 200 {
		t.Fatalf("the first to use its key: %d %s", r.StatusCode, r.body)
	}
	second := w.open(w.reissued(cart, "spiffe://prod.example/ns/shop/sa/other"))
	r := second.do(assured)
	if r.StatusCode != 403 || r.reason() != "assurance_insufficient" {
		t.Errorf("the second to use it: %d %s", r.StatusCode, r.body)
	}
	if a := w.audit.request(t, r.id()); a.number("mial") != 1 {
		t.Errorf("the record says %v", a)
	}
	// Judging it anew does not forget what was found.
	w.publish(denied(t, checkoutID))
	if r := second.do(assured); r.StatusCode != 403 {
		t.Errorf("after trust changed: %d %s", r.StatusCode, r.body)
	}
	// A trust domain that demands more does not take it.
	w.publishBut(nil, prodOnly(func(o *trust.BundleOptions) { o.MinMIAL = 2 }))
	second.ended()
	if e := w.audit.end(t, "spiffe://prod.example/ns/shop/sa/other"); e.text("reason") != "assurance_below_minimum" {
		t.Errorf("the record says %v", e)
	}
}

// A replaced program decides the next request of a connection that is older.
func TestSwapReachesOpenConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	c := w.open(w.issue(cartID))
	old := w.newProgram(nil)
	nobody := must(policy.Compile(policy.Options{Allow: map[string][]policy.Rule{
		"catalog": {{Name: "nobody", Caller: pattern(t, checkoutID)}},
	}}, old.Routes()))(t)
	w.gateway.Swap(must(gateway.NewProgram(old.Routes(), nobody, backendsOf(old)))(t))
	if r := c.do(catalogCall); r.StatusCode != 403 || r.reason() != "policy_denied" || r.Close {
		t.Errorf("%d %s, close %v", r.StatusCode, r.body, r.Close)
	}
}

// anySession offers the last session, whoever the client connects to.
type anySession struct{ sessions tls.ClientSessionCache }

func (s anySession) Get(string) (*tls.ClientSessionState, bool) { return s.sessions.Get("") }

func (s anySession) Put(_ string, session *tls.ClientSessionState) { s.sessions.Put("", session) }

// withTickets lets sessions be resumed.
func withTickets(t *testing.T) func(*gateway.ListenerOptions) {
	return func(o *gateway.ListenerOptions) { o.TLS.Tickets = must(tlsterm.NewTickets(tlsterm.TicketOptions{}))(t) }
}

// Test 5: a session is of one listener and server name, and ends with the trust in
// its client; what resumes it is a caller like any other.
func TestSessionsEndWithTrust(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{listener: withTickets(t)})
	config := w.config(w.issue(cartID).TLS(), "catalog.example")
	config.ClientSessionCache = anySession{tls.NewLRUClientSessionCache(1)}
	connect := func(sni string) *client {
		t.Helper()
		config := config.Clone()
		config.ServerName = sni
		c := must(tls.Dial("tcp", w.address(), config))(t)
		_ = c.SetDeadline(time.Now().Add(patience))
		t.Cleanup(func() { c.Close() })
		return &client{t, c, bufio.NewReader(c)}
	}
	connect("catalog.example").served("the first connection") // with the response came the ticket
	resumed := connect("catalog.example")
	resumed.served("the second connection")
	if !resumed.ConnectionState().DidResume {
		t.Fatal("the second connection did not resume the first")
	}
	if c := connect("pay.example"); c.ConnectionState().DidResume {
		t.Error("a session was resumed for another server name")
	}
	connect("catalog.example").served("a third connection, for a ticket of the right name")
	w.publishBut(nil, prodOnly(func(o *trust.BundleOptions) { o.Anchors = nil }))
	resumed.ended()
	if e := w.audit.end(t, cartID); e.text("cause") != "trust" {
		t.Errorf("the record says %v", e)
	}
	after := connect("catalog.example")
	if after.ConnectionState().DidResume {
		t.Error("a session was resumed after its trust domain was removed")
	}
	after.ended() // it was refused in the handshake
}

// A session is of a caller, not of a version of HTTP: either resumes the other's, and what was
// agreed on is of no consequence for what may be asked.
func TestSessionsAreAlikeForBothVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{listener: withTickets(t)})
	config := w.config(w.issue(checkoutID).TLS(), "pay.example")
	config.ClientSessionCache = anySession{tls.NewLRUClientSessionCache(1)}
	const version10 = "GET /v1/x HTTP/1.0\r\nHost: pay.example\r\nConnection: keep-alive\r\n\r\n"
	for i, agreed := range []string{"http/1.1", "http/1.0", "http/1.0", "http/1.1"} {
		config := config.Clone()
		config.NextProtos = []string{agreed}
		conn := must(tls.Dial("tcp", w.address(), config))(t)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		c := &client{t, conn, bufio.NewReader(conn)}
		for _, send := range []string{version10, get("pay.example", "/v1/x"), request("POST", "pay.example", "/v1/x", "", "Transfer-Encoding: chunked") + "2\r\nhi\r\n0\r\n\r\n", version10} {
			if r := c.do(send); r.StatusCode != 200 || r.body != "ok" || r.Close {
				t.Errorf("connection %d, agreed on %s: %d %q, close %v, to %q", i+1, agreed, r.StatusCode, r.body, r.Close, send)
			}
		}
		if state := c.ConnectionState(); state.NegotiatedProtocol != agreed || state.DidResume != (i > 0) {
			t.Errorf("connection %d agreed on %q, resumed %v; want %q, %v", i+1, state.NegotiatedProtocol, state.DidResume, agreed, i > 0)
		}
	}
}

// REV-05, UP-12: an idle connection to a backend ends with the trust in it.
func TestIdleUpstreamConnectionsEndWhenTrustChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	hungUp := make(chan struct{})
	w.catalog.answerWith(func(c net.Conn, _ *http.Request) {
		_, _ = io.WriteString(c, plainAnswer)
		_, _ = io.Copy(io.Discard, c) // there is no second request
		close(hungUp)
	})
	c := w.open(w.issue(cartID))
	w.publish(denied(t, catalogID))
	select {
	case <-hungUp:
	case <-time.After(patience):
		t.Fatal("the connection to the backend is still open")
	}
	if r := c.do(catalogCall); r.StatusCode != 502 || r.reason() != "upstream_untrusted" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// What a change means for hundreds of connections at once, while others are busy.
func TestTrustChangeReachesManyConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	const each = 70
	leaves := map[string]*devpki.Leaf{cartID: w.issue(cartID), checkoutID: w.issue(checkoutID)}
	leaves[reportID] = must(w.partner.Issue(devpki.LeafOptions{URIs: []string{reportID}}))(t)
	conns := map[string][]*client{}
	for range each {
		for id, leaf := range leaves {
			conns[id] = append(conns[id], w.dial(leaf, "catalog.example"))
		}
	}
	busy := w.open(leaves[reportID])
	w.until(t, "all handshakes were done", func() bool { return w.gateway.Connections()[0].Active == 3*each+1 })
	stop := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := io.WriteString(busy.Conn, get("catalog.example", "/nobody")); err != nil {
				t.Errorf("a caller of another domain: %v", err)
				return
			}
			if r, err := busy.tryReceive("GET"); err != nil || r.StatusCode != 403 {
				t.Errorf("a caller of another domain: %v %v", r.Response, err)
				return
			}
		}
	})
	began := time.Now()
	w.publish(denied(t, checkoutID))
	for _, c := range conns[checkoutID] {
		c.ended()
	}
	w.publishBut(nil, prodOnly(func(o *trust.BundleOptions) { o.Anchors = nil }))
	for _, c := range conns[cartID] {
		c.ended()
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %v", took)
	}
	close(stop)
	load.Wait()
	for _, c := range conns[reportID] {
		c.served("a caller of another domain")
	}
	w.close()
	if got := len(w.audit.ends()); got != 2*each {
		t.Errorf("%d connections ended, want %d", got, 2*each)
	}
}

// A drain that has to cut lets the record of no request go, wherever it waits.
func TestDrainCutsWhatWaitsForABackend(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{"for a header": "", "for a body": halfAnswer} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setting{})
			w.pay.answerWith(func(c net.Conn, _ *http.Request) {
				_, _ = io.WriteString(c, answer)
				_, _ = io.Copy(io.Discard, c)
			})
			stuck := w.dial(w.issue(checkoutID), "pay.example")
			stuck.send(get("pay.example", "/v1/x"))
			w.pay.next(t)
			if answer != "" {
				if _, err := stuck.in.Peek(1); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = w.gateway.Drain(ctx)
			w.close()
			if a := w.audit.because(t, "drained"); a.text("identity") != checkoutID || w.audit.count("request") != 1 {
				t.Errorf("AUD-01: one request, %d records, the last says %v", w.audit.count("request"), a)
			}
			if ends := w.audit.ends(); len(ends) != 0 {
				t.Errorf("a drain is no refusal: %v", ends)
			}
		})
	}
}

// The gateway's own part of an idle connection is small, and grows only on purpose.
func TestConnectionIsSmall(t *testing.T) {
	t.Parallel()
	const limit = 352 // a size class of the allocator
	if gateway.ConnectionBytes > limit {
		t.Errorf("a connection takes %d octets, want at most %d", gateway.ConnectionBytes, limit)
	}
}

// Whoever presented certificates that its path does not need is judged after all others,
// and sent away where that would take too long: junk in a chain makes the search for its
// path a hundred times as dear, and must not keep anybody else connected.
func TestPaddedChainsAreJudgedLast(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		claim  string
		budget time.Duration
		reason string // of the end of the connection whose caller is still accepted
	}{
		{"within the budget they fare like others", time.Minute, ""},
		{"beyond it they have to come back", 0, "limits_exceeded"},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setting{})
			w.gateway.SetPaddedBudget(tt.budget)
			junk := must(devpki.NewRoot(devpki.CAOptions{Name: "junk"}))(t).Certificate
			leaf := w.issue(cartID)
			padded := *leaf
			padded.Chain = append(slices.Clone(leaf.Chain), junk)
			lean, heavy := w.open(leaf), w.open(&padded)
			w.publishBut(denied(t, reportID), nil)
			if tt.reason == "" {
				w.until(t, "both were judged anew", func() bool {
					return strings.Contains(w.metrics(), "verigate_connection_rejudged_total{cause=\"trust\"} 2\n")
				})
				if r := heavy.do(catalogCall); r.StatusCode != 200 {
					t.Errorf("the padded one: %d %s", r.StatusCode, r.body)
				}
			} else {
				heavy.ended()
				if e := w.audit.end(t, cartID); e.text("reason") != tt.reason {
					t.Errorf("the record says %v, want reason %s", e, tt.reason)
				}
			}
			if r := lean.do(catalogCall); r.StatusCode != 200 {
				t.Errorf("the lean one: %d %s", r.StatusCode, r.body)
			}
		})
	}
}

// A reload that changes nothing about whom listeners admit judges nobody.
func TestScopesThatDoNotDifferJudgeNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	c := w.open(w.issue(cartID))
	for range 3 {
		w.gateway.SetScopes(nil)
	}
	w.publishBut(denied(t, reportID), nil)
	w.until(t, "the connection was judged anew once", func() bool {
		return strings.Contains(w.metrics(), "verigate_connection_rejudged_total{cause=\"trust\"} 1\n")
	})
	if r := c.do(catalogCall); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// Every request is judged by the time at which it is, not by that of the connection, of
// the request before, or of its own first octet (REV-05), and so is the gateway that vouches
// for it (ASR-08).
func TestRequestsAreJudgedByTheTimeOfNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	c := w.open(w.issue(cartID))
	const head = "POST /x HTTP/1.1\r\nHost: catalog.example\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
	for _, step := range []struct {
		claim, send string
		status      int
	}{
		{"a request", catalogCall, 200},
		{"one that waits to be told to continue", head, 100},
		{"its body", "body", 200},
	} {
		begun := time.Now()
		judged := w.gateway.EndVerdicts(begun)
		if r := c.do(step.send); r.StatusCode != step.status {
			t.Fatalf("%s: %d %s, want %d", step.claim, r.StatusCode, r.body, step.status)
		}
		if !judged() {
			t.Errorf("%s was judged by a time before it", step.claim)
		}
		if limited := time.Unix(0, w.limited.Load()); step.status == 200 && limited.Before(begun) {
			t.Errorf("%s: the gateway itself was judged by a time %v before it", step.claim, begun.Sub(limited))
		}
	}
}
