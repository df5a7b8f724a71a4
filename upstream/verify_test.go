package upstream

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"verigate/certpath"
	"verigate/devpki"
	"verigate/trust"
	"verigate/workloadid"
)

// UP-01 to UP-09, OQ-03, OQ-11.
func TestBackendHasToProveWhoItIs(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	foreignRoot, err := devpki.NewRoot(devpki.CAOptions{Name: "partner root"})
	if err != nil {
		t.Fatal(err)
	}
	d.publish(t, nil, d.bundle, bundleOf(t, "spiffe://partner.example", foreignRoot))
	loopback := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	uris := func(u ...string) []string { return u }

	for _, tt := range []struct {
		name    string
		leaf    devpki.LeafOptions
		foreign bool // issued by the other domain's CA
		dnsName string
		reason  string
	}{
		{name: "UP-02: the expected identity is enough without DNS",
			leaf: devpki.LeafOptions{URIs: uris(apiID)}},
		{name: "UP-03: another workload of the same trust domain",
			leaf: devpki.LeafOptions{URIs: uris("spiffe://prod.example/ns/pay/sa/web")}, reason: ReasonIdentity},
		{name: "UP-04: a workload of another known trust domain",
			leaf: devpki.LeafOptions{URIs: uris("spiffe://partner.example/ns/pay/sa/api")}, foreign: true, reason: ReasonUntrusted},
		{name: "UP-04: the identity signed by another trust domain",
			leaf: devpki.LeafOptions{URIs: uris(apiID)}, foreign: true, reason: ReasonUntrusted},
		{name: "UP-04: a certificate for clients only",
			leaf: devpki.LeafOptions{URIs: uris(apiID), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, reason: ReasonUntrusted},
		{name: "an expired certificate",
			leaf: devpki.LeafOptions{URIs: uris(apiID), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}, reason: ReasonUntrusted},
		{name: "no identifier at all",
			leaf: devpki.LeafOptions{DNS: uris("pay.example")}, dnsName: "pay.example", reason: ReasonUntrusted},

		{name: "UP-01: identity and name",
			leaf: devpki.LeafOptions{URIs: uris(apiID), DNS: uris("pay.example")}, dnsName: "pay.example"},
		{name: "UP-01: identity, but another name",
			leaf: devpki.LeafOptions{URIs: uris(apiID), DNS: uris("web.example")}, dnsName: "pay.example", reason: ReasonName},
		{name: "UP-01: name, but another identity",
			leaf: devpki.LeafOptions{URIs: uris("spiffe://prod.example/web"), DNS: uris("pay.example")}, dnsName: "pay.example", reason: ReasonIdentity},
		{name: "UP-07: identity, but no name",
			leaf: devpki.LeafOptions{URIs: uris(apiID)}, dnsName: "pay.example", reason: ReasonName},
		{name: "UP-05: the trust domain is not a DNS name",
			leaf: devpki.LeafOptions{URIs: uris(apiID)}, dnsName: "prod.example", reason: ReasonName},
		{name: "UP-09: names are compared without regard to case",
			leaf: devpki.LeafOptions{URIs: uris(apiID), DNS: uris("Pay.Example")}, dnsName: "pAY.example"},
		{name: "UP-09: a wildcard stands for one label",
			leaf: devpki.LeafOptions{URIs: uris(apiID), DNS: uris("*.example")}, dnsName: "pay.example"},
		{name: "UP-09: a wildcard does not stand for two labels",
			leaf: devpki.LeafOptions{URIs: uris(apiID), DNS: uris("*.example")}, dnsName: "a.pay.example", reason: ReasonName},
		{name: "UP-09: a wildcard does not stand for a part of a label",
			leaf: devpki.LeafOptions{URIs: uris(apiID), DNS: uris("p*.example")}, dnsName: "pay.example", reason: ReasonName},
		{name: "UP-09: the common name does not count",
			leaf: devpki.LeafOptions{URIs: uris(apiID), Subject: pkix.Name{CommonName: "pay.example"}}, dnsName: "pay.example", reason: ReasonName},
		{name: "UP-08: an address that is in the certificate",
			leaf: devpki.LeafOptions{URIs: uris(apiID), IPs: loopback}, dnsName: "127.0.0.1"},
		{name: "UP-08: an address that is not",
			leaf: devpki.LeafOptions{URIs: uris(apiID), IPs: loopback}, dnsName: "127.0.0.2", reason: ReasonName},
		{name: "UP-08: an address written as a DNS name",
			leaf: devpki.LeafOptions{URIs: uris(apiID), DNS: uris("127.0.0.1")}, dnsName: "127.0.0.1", reason: ReasonName},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			issuer := d.ca
			if tt.foreign {
				issuer = foreignRoot
			}
			leaf, err := issuer.Issue(tt.leaf)
			if err != nil {
				t.Fatal(err)
			}
			var served atomic.Int64
			ln := serve(t, d.serverTLS(leaf), func(ctx *fasthttp.RequestCtx) { served.Add(1) })
			o := d.options(t, ln.addr())
			o.Verify.DNSName = tt.dnsName
			status, _, result, err := forward(t, open(t, o), nil)
			if reasonOf(err) != tt.reason {
				t.Fatalf("Forward() = %d, %v, want reason %q", status, err, tt.reason)
			}
			if tt.reason == "" {
				if got := result.PeerID.String(); got != apiID {
					t.Errorf("the backend was %q, want %q", got, apiID)
				}
				return
			}
			if n := served.Load(); n != 0 {
				t.Errorf("a backend that did not prove its identity got %d requests", n)
			}
			if tt.reason == ReasonUntrusted {
				if _, ok := errors.AsType[*certpath.Error](err); !ok {
					t.Errorf("%v wraps no *certpath.Error", err)
				}
			}
		})
	}
}

// UP-10.
func TestBackendSeesTheGatewaysOwnCredential(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	config := d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}}))
	ln := serve(t, config, func(ctx *fasthttp.RequestCtx) {
		ctx.SetBodyString(ctx.TLSConnectionState().PeerCertificates[0].URIs[0].String())
	})
	u := open(t, d.options(t, ln.addr()))
	expect := func(id string, reused bool) {
		t.Helper()
		_, body, result, err := forward(t, u, nil)
		if err != nil || body != id || result.Reused != reused {
			t.Fatalf("the backend saw %q (reused %v, error %v), want %q (reused %v)", body, result.Reused, err, id, reused)
		}
	}
	expect(gatewayID, false)
	expect(gatewayID, true)

	// The same credential read anew is no reason to connect anew.
	same := *d.credential.Load()
	d.credential.Store(&same)
	expect(gatewayID, true)

	// UP-12: a rotated one is.
	d.credential.Store(credentialOf(t, d.leaf(t, devpki.LeafOptions{URIs: []string{gatewayID + "/2"}})))
	expect(gatewayID+"/2", false)
	if n := ln.accepted.Load(); n != 2 {
		t.Errorf("%d connections were made, want 2", n)
	}
}

// KEY-02.
func TestExpiredCredentialIsNotPresented(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	ln := serve(t, d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}})), func(ctx *fasthttp.RequestCtx) {})
	o := d.options(t, ln.addr())
	own := d.credential.Load().NotAfter()
	o.Now = func() time.Time { return own.Add(time.Second) }
	_, _, _, err := forward(t, open(t, o), nil)
	if reasonOf(err) != ReasonConnect || !strings.Contains(err.Error(), "own certificate expired") {
		t.Errorf("Forward() with an expired credential = %v, want %s that says so", err, ReasonConnect)
	}
}

// UP-11.
func TestSessionsAreNotResumed(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	var resumed atomic.Bool
	ln := serve(t, d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}})), func(ctx *fasthttp.RequestCtx) {
		state := ctx.TLSConnectionState()
		resumed.Store(resumed.Load() || state.DidResume)
		if state.Version != tls.VersionTLS13 {
			t.Errorf("the connection is %s, want TLS 1.3", tls.VersionName(state.Version))
		}
		ctx.SetConnectionClose()
	})
	u := open(t, d.options(t, ln.addr()))
	for range 3 {
		if _, _, _, err := forward(t, u, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := ln.accepted.Load(); n != 3 || resumed.Load() {
		t.Errorf("%d connections, resumed: %v, want 3 full handshakes", n, resumed.Load())
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	config := d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}}))
	config.MaxVersion = tls.VersionTLS12
	ln := serve(t, config, func(*fasthttp.RequestCtx) { t.Error("a request went out over TLS 1.2") })
	if _, _, _, err := forward(t, open(t, d.options(t, ln.addr())), nil); reasonOf(err) != ReasonConnect {
		t.Errorf("Forward() = %v, want reason %s", err, ReasonConnect)
	}
}

func TestBackendThatRefusesTheGateway(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	config := d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}}))
	config.VerifyConnection = func(tls.ConnectionState) error { return errors.New("not you") }
	ln := serve(t, config, func(*fasthttp.RequestCtx) { t.Error("a refused gateway was served") })
	if _, _, _, err := forward(t, open(t, d.options(t, ln.addr())), nil); reasonOf(err) != ReasonConnect {
		t.Errorf("Forward() = %v, want reason %s", err, ReasonConnect)
	}
}

// UP-12.
func TestPooledConnectionEndsWithItsPath(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	ln := serve(t, d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}, NotAfter: until})),
		func(ctx *fasthttp.RequestCtx) {})
	u := open(t, d.options(t, ln.addr()))
	for _, tt := range []struct {
		name   string
		now    time.Time
		reused bool
		reason string
	}{
		{"at first", time.Now(), false, ""},
		{"in the last second of the path", until, true, ""},
		{"after it", until.Add(time.Second), false, ReasonUntrusted},
	} {
		d.now.Store(&tt.now)
		_, _, result, err := forward(t, u, nil)
		if reasonOf(err) != tt.reason || result.Reused != tt.reused {
			t.Errorf("%s: Forward() = reused %v, %v, want reused %v, reason %q", tt.name, result.Reused, err, tt.reused, tt.reason)
		}
	}
}

// UP-12, REV-04: a status that is not known any more is not good.
func TestPooledConnectionEndsWithItsCRL(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	der, err := d.ca.MakeCRL(devpki.CRLOptions{NextUpdate: until})
	if err != nil {
		t.Fatal(err)
	}
	lists, err := trust.ParseCRLs("test.crl", der)
	if err != nil {
		t.Fatal(err)
	}
	set, err := trust.NewCRLSet(lists, trust.CRLOptions{LeafOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := trust.NewBundle(d.bundle.Origin(), trust.BundleOptions{Anchors: d.bundle.Anchors(), CRLs: set})
	if err != nil {
		t.Fatal(err)
	}
	d.publish(t, nil, bundle)
	ln := serve(t, d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}})), func(ctx *fasthttp.RequestCtx) {})
	u := open(t, d.options(t, ln.addr()))
	for _, tt := range []struct {
		name   string
		now    time.Time
		reused bool
		reason string
	}{
		{"at first", time.Now(), false, ""},
		{"before the CRL's nextUpdate", until.Add(-time.Second), true, ""},
		{"after it", until.Add(time.Second), false, ReasonUntrusted},
	} {
		d.now.Store(&tt.now)
		_, _, result, err := forward(t, u, nil)
		if reasonOf(err) != tt.reason || result.Reused != tt.reused {
			t.Errorf("%s: Forward() = reused %v, %v, want reused %v, reason %q", tt.name, result.Reused, err, tt.reused, tt.reason)
		}
	}
}

// UP-12, REV-05.
func TestPooledConnectionIsJudgedAgain(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	ln := serve(t, d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}})), func(ctx *fasthttp.RequestCtx) {})
	u := open(t, d.options(t, ln.addr()))
	request := func(reused bool, reason string) {
		t.Helper()
		_, _, result, err := forward(t, u, nil)
		if reasonOf(err) != reason || result.Reused != reused {
			t.Fatalf("Forward() = reused %v, %v, want reused %v, reason %q", result.Reused, err, reused, reason)
		}
	}
	request(false, "")

	other, err := devpki.NewRoot(devpki.CAOptions{Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	d.publish(t, nil, d.bundle, bundleOf(t, "spiffe://partner.example", other))
	request(true, "") // the backend is as good as before

	deny := trust.NewDenyList(trust.DenyOptions{Identities: []workloadid.Pattern{pattern(t, apiID)}})
	d.publish(t, deny, d.bundle)
	request(false, ReasonUntrusted)

	d.publish(t, nil, d.bundle)
	request(false, "")
	d.publish(t, nil, bundleOf(t, "spiffe://prod.example", other)) // the anchors were replaced
	request(false, ReasonUntrusted)
}

func TestSweepEndsWhatNobodyMayUse(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	ln := serve(t, d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}})), func(ctx *fasthttp.RequestCtx) {})
	o := d.options(t, ln.addr())
	o.IdleTimeout = time.Hour
	u := open(t, o)
	idleAfter := func(change func()) int {
		t.Helper()
		d.publish(t, nil, d.bundle)
		if _, _, _, err := forward(t, u, nil); err != nil {
			t.Fatal(err)
		}
		change()
		u.sweep(time.Now())
		return u.Status().Endpoints[0].Idle
	}
	if n := idleAfter(func() {}); n != 1 {
		t.Errorf("after nothing happened %d connections are idle, want 1", n)
	}
	denied := func() {
		d.publish(t, trust.NewDenyList(trust.DenyOptions{Identities: []workloadid.Pattern{pattern(t, apiID)}}), d.bundle)
	}
	if n := idleAfter(denied); n != 0 {
		t.Errorf("after the backend was denied %d connections are idle, want 0", n)
	}
	rotated := func() { d.credential.Store(credentialOf(t, d.leaf(t, devpki.LeafOptions{URIs: []string{gatewayID}}))) }
	if n := idleAfter(rotated); n != 0 {
		t.Errorf("after the credential was rotated %d connections are idle, want 0", n)
	}
	if n := idleAfter(func() { u.o.IdleTimeout = -time.Minute }); n != 0 {
		t.Errorf("after the idle time-out %d connections are idle, want 0", n)
	}
}

// UP-12: what streams for hours is not exempt.
func TestStreamEndsWhenTheBackendIsDenied(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	more := make(chan struct{})
	ln := serve(t, d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}})), func(ctx *fasthttp.RequestCtx) {
		ctx.SetBodyStreamWriter(func(w *bufio.Writer) {
			for range 2 {
				w.WriteString("tick")
				w.Flush()
				<-more
			}
		})
	})
	u := open(t, d.options(t, ln.addr()))
	var req fasthttp.Request
	var resp fasthttp.Response
	req.Header.SetHost("pay.example")
	if _, err := u.Forward(grantFor(t, "pay"), &Call{Request: &req, Response: &resp}); err != nil {
		t.Fatal(err)
	}
	defer close(more)
	defer resp.CloseBodyStream()
	p := make([]byte, 100)
	if n, err := resp.BodyStream().Read(p); string(p[:n]) != "tick" || err != nil {
		t.Fatalf("the stream began with %q, %v", p[:n], err)
	}
	d.publish(t, trust.NewDenyList(trust.DenyOptions{Identities: []workloadid.Pattern{pattern(t, apiID)}}), d.bundle)
	more <- struct{}{}
	if n, err := resp.BodyStream().Read(p); n != 0 || reasonOf(err) != ReasonUntrusted {
		t.Errorf("after the backend was denied the stream yielded %q, %v, want reason %s", p[:n], err, ReasonUntrusted)
	}
}

func TestUploadEndsWhenTheBackendIsDenied(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	ln := serve(t, d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}})), func(ctx *fasthttp.RequestCtx) {
		io.Copy(io.Discard, ctx.RequestBodyStream())
	})
	deny := trust.NewDenyList(trust.DenyOptions{Identities: []workloadid.Pattern{pattern(t, apiID)}})
	pieces := 0
	_, _, result, err := forward(t, open(t, d.options(t, ln.addr())), func(req *fasthttp.Request) {
		req.Header.SetMethod("PUT")
		req.SetBodyStream(readerFunc(func(p []byte) (int, error) {
			if pieces++; pieces == 3 {
				d.publish(t, deny, d.bundle)
			}
			return len(p), nil
		}), chunked)
	})
	if reasonOf(err) != ReasonUntrusted || !result.BodyUnread || pieces != 3 {
		t.Errorf("Forward() = %v after %d pieces, want reason %s after 3", err, pieces, ReasonUntrusted)
	}
}

// UP-13.
func TestNothingConnectsWithoutAVerifier(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	for name, remove := range map[string]func(*Options){
		"identity":   func(o *Options) { o.Verify.Identity = workloadid.Pattern{} },
		"credential": func(o *Options) { o.Credential = nil },
		"trust":      func(o *Options) { o.Trust = nil },
		"cache":      func(o *Options) { o.Cache = nil },
	} {
		o := d.options(t, "127.0.0.1:1")
		remove(&o)
		if j, err := newJudge(&o); err == nil {
			t.Errorf("newJudge made %v without %s", j, name)
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	uses := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, "_test.go") {
			uses += strings.Count(string(source), "tls.Config{")
		}
	}
	if uses != 1 {
		t.Errorf("TLS configurations are made in %d places, want 1: judge.handshake", uses)
	}
}

// UP-03, UP-14, OQ-03.
func TestNewRefuses(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	for _, tt := range []struct {
		name string
		edit func(*Options)
		want string // in the error; "" accepts
	}{
		{"nothing that is right", func(o *Options) {}, ""},
		{"no endpoints", func(o *Options) { o.Endpoints = nil }, "no endpoints"},
		{"an endpoint without a port", func(o *Options) { o.Endpoints = []string{"10.0.0.1"} }, "host:port"},
		{"an endpoint without a host", func(o *Options) { o.Endpoints = []string{":8443"} }, "no host"},
		{"port 0", func(o *Options) { o.Endpoints = []string{"10.0.0.1:0"} }, "no port number"},
		{"a named port", func(o *Options) { o.Endpoints = []string{"10.0.0.1:https"} }, "no port number"},
		{"a socket without a path", func(o *Options) { o.Endpoints = []string{"unix:"} }, "no path"},
		{"no identity", func(o *Options) { o.Verify = Verify{} }, "identity is not given"},
		{"no identity beside a name", func(o *Options) { o.Verify = Verify{DNSName: "pay.example"} }, "identity is not given"},
		{"no credential", func(o *Options) { o.Credential = nil }, "no credential"},
		{"no trust", func(o *Options) { o.Trust = nil }, "no trust"},
		{"a wildcard as the name", func(o *Options) { o.Verify.DNSName = "*.example" }, "neither a DNS name"},
		{"a host name without a name to verify", func(o *Options) { o.Endpoints = []string{"pay.example:443"} }, "found by DNS"},
		{"a host name with one", func(o *Options) {
			o.Endpoints, o.Verify.DNSName = []string{"pay.example:443"}, "pay.example"
		}, ""},
		{"a host name in the mode that says so", func(o *Options) {
			o.Endpoints, o.Verify.IdentityOnlyOverDNS = []string{"pay.example:443"}, true
		}, ""},
		{"that mode next to a name", func(o *Options) {
			o.Verify.DNSName, o.Verify.IdentityOnlyOverDNS = "pay.example", true
		}, "excludes"},
		{"an unknown balance", func(o *Options) { o.Balance = "random" }, "neither round_robin nor least_request"},
		{"a negative time-out", func(o *Options) { o.BodyIdleTimeout = -1 }, "negative"},
		{"a negative limit", func(o *Options) { o.MaxConns = -1 }, "negative"},

		{"plain and verify", func(o *Options) { o.Plain = true }, "cannot prove an identity"},
		{"plain to another machine", func(o *Options) { *o = plainOptions("10.0.0.1:80") }, "cannot be plain"},
		{"plain to every address", func(o *Options) { *o = plainOptions("0.0.0.0:80") }, "cannot be plain"},
		{"plain to a name", func(o *Options) { *o = plainOptions("localhost:80") }, "cannot be plain"},
		{"plain to one loopback address and one other", func(o *Options) { *o = plainOptions("127.0.0.1:80", "10.0.0.1:80") }, "cannot be plain"},
		{"plain to the loopback network", func(o *Options) { *o = plainOptions("127.0.0.9:80", "[::1]:80", "unix:/run/app.sock") }, ""},
	} {
		o := d.options(t, "127.0.0.1:8443")
		tt.edit(&o)
		u, err := New(o)
		if err == nil {
			u.Close(t.Context())
		}
		if got := err == nil; got != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: New() = %v, want %q", tt.name, err, tt.want)
		}
	}
}

// A certificate that makes its judge panic ends its connection, and no more: whoever asks
// holds the lock of the endpoint.
func TestPanicIsDistrust(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	o := d.options(t, "127.0.0.1:1")
	j, err := newJudge(&o)
	if err != nil {
		t.Fatal(err)
	}
	j.cache = nil // to call it panics
	if j.stillTrusted(&backend{}, time.Now()) {
		t.Error("a backend whose judge panics is trusted")
	}
}
