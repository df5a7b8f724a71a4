package tlsterm

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"verigate/certpath"
	"verigate/devpki"
	"verigate/trust"
	"verigate/verifycache"
	"verigate/workloadid"
)

func TestTicketOptionsAreBounded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		o    TicketOptions
		good bool
	}{
		{TicketOptions{}, true},
		{TicketOptions{Rotation: time.Minute, MaxSessionAge: 7 * 24 * time.Hour}, true},
		{TicketOptions{Rotation: 24 * time.Hour}, true},
		{TicketOptions{Rotation: -time.Hour}, false},
		{TicketOptions{Rotation: time.Second}, false},
		{TicketOptions{Rotation: 25 * time.Hour}, false},
		{TicketOptions{Rotation: time.Minute + time.Millisecond}, false},
		{TicketOptions{MaxSessionAge: -time.Hour}, false},
		{TicketOptions{MaxSessionAge: 7*24*time.Hour + 1}, false}, // TLS-06
	} {
		tickets, err := NewTickets(tt.o)
		if (err == nil) != tt.good || (tickets != nil) != tt.good {
			t.Errorf("NewTickets(%+v) = %v, %v; want success: %v", tt.o, tickets, err, tt.good)
		}
	}
}

func TestResumptionsHaveNames(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for i, r := range Resumptions() {
		if int(r) != i || r.String() == "unknown" || seen[r.String()] {
			t.Errorf("Resumptions()[%d] = %d, %q", i, r, r)
		}
		seen[r.String()] = true
	}
	if got := Resumption(len(Resumptions())).String(); got != "unknown" {
		t.Errorf("a value without a name is called %q: list it", got)
	}
}

// counting is the secret of the examples in docs/session-tickets.md.
func counting() (s trust.Secret) {
	for i := range s {
		s[i] = byte(i)
	}
	return s
}

// The examples of the document are computed here, so that another implementation can
// rely on them.
func TestTicketDocument(t *testing.T) {
	t.Parallel()
	document := string(must(os.ReadFile("../docs/session-tickets.md"))(t))
	document = strings.Join(strings.Fields(document), "")
	stated := func(what string, octets []byte) {
		t.Helper()
		if !strings.Contains(document, hex.EncodeToString(octets)) {
			t.Errorf("docs/session-tickets.md does not say that the %s is %x", what, octets)
		}
	}
	const at = 1790000000
	tickets := must(NewTickets(TicketOptions{
		Secrets: fixed{must(trust.NewSecrets(counting()))(t)},
		Now:     func() time.Time { return time.Unix(at, 0) },
	}))(t)
	origin := must(workloadid.ParseOrigin("spiffe://prod.example"))(t)
	context := contextOf(&Options{
		Name: "edge", Curves: DefaultCurves(),
		Scope: must(verifycache.NewScope("edge", []workloadid.Origin{origin}))(t),
	})
	stated("context", context[:])

	key := deriveKey(counting(), 3600, at/3600)
	stated("key", key[:32])
	stated("key id", key[32:])

	b := binding{context, tls.VersionTLS13, "pay.example"}
	id := keyID(key[32:])
	nonce := []byte("twelve bytes")
	gcm := must(cipher.NewGCM(must(aes.NewCipher(key[:32]))(t)))(t)
	ticket := slices.Concat(id[:], nonce, gcm.Seal(nil, nonce, []byte("session"), b.data(id)))
	stated("ticket", ticket)

	found := tickets.ring().find(id)
	if found == nil {
		t.Fatal("the key is not in force")
	}
	content, err := found.aead.Open(nil, nil, ticket[len(id):], b.data(id))
	if err != nil || string(content) != "session" {
		t.Errorf("the ticket opens as %q, %v", content, err)
	}
}

type fixed struct{ secrets *trust.Secrets }

func (s fixed) Secrets() *trust.Secrets { return s.secrets }

func TestEveryPartOfABindingBinds(t *testing.T) {
	t.Parallel()
	tickets := must(NewTickets(TicketOptions{}))(t)
	leaf := must(root(t, "root").Issue(devpki.LeafOptions{URIs: []string{checkout}}))(t).Chain[0]
	b := binding{sha256.Sum256(nil), tls.VersionTLS13, "pay.example"}
	s := &session{since: time.Now(), chain: []*x509.Certificate{leaf}, leaf: leaf.Raw, state: leaf.Raw}
	ticket := tickets.seal(b, s)
	if _, outcome := tickets.open(b, ticket); outcome != Resumed {
		t.Fatalf("open() = %v where it was sealed, want resumed", outcome)
	}
	other := b
	other.context[31]++
	for _, other := range []binding{
		other,
		{b.context, tls.VersionTLS12, b.serverName},
		{b.context, b.version, "pay.exampl"},
		{b.context, b.version, ""},
	} {
		if s, outcome := tickets.open(other, ticket); s != nil || outcome != TicketScope {
			t.Errorf("open() = %v, %v at %+v, want scope", s, outcome, other)
		}
	}
}

func TestContextCoversWhatDecides(t *testing.T) {
	t.Parallel()
	origins := []workloadid.Origin{
		must(workloadid.ParseOrigin("spiffe://a.example"))(t), must(workloadid.ParseOrigin("spiffe://b.example"))(t),
	}
	contexts := make(map[[32]byte]string)
	for name, edit := range map[string]func(*Options){
		"base":            func(*Options) {},
		"name":            func(o *Options) { o.Name = "edg" },
		"origins":         func(o *Options) { o.Scope = must(verifycache.NewScope("", origins[:1]))(t) },
		"TLS 1.2":         func(o *Options) { o.AllowTLS12 = true },
		"admit rejected":  func(o *Options) { o.AdmitRejected = true },
		"fewer exchanges": func(o *Options) { o.Curves = o.Curves[:2] },
	} {
		o := Options{Name: "edge", Scope: must(verifycache.NewScope("", origins))(t), Curves: DefaultCurves()}
		edit(&o)
		context := contextOf(&o)
		if other, ok := contexts[context]; ok {
			t.Errorf("%q and %q have the same context", name, other)
		}
		contexts[context] = name
	}
}

func TestKeysInForce(t *testing.T) {
	t.Parallel()
	clock := &ticking{start: time.Unix(1790000000, 0)}
	source := new(secretSource)
	source.set(t, "a", "b")
	tickets := must(NewTickets(TicketOptions{Secrets: source, Now: clock.now}))(t)
	first := tickets.ring()
	if tickets.ring() != first {
		t.Error("keys are derived for every use")
	}
	if n := len(first.keys); n != 6 {
		t.Errorf("%d keys, want three epochs of two secrets", n)
	}
	epoch := int64(1790000000 / 3600)
	if want := deriveTicketKey(secret("a"), 3600, epoch).id; first.keys[0].id != want {
		t.Error("what seals is not the first secret's key of the current epoch")
	}
	for _, step := range []struct {
		name    string
		change  func()
		in, out []keyID
	}{
		{"next epoch", func() { clock.advance(time.Hour) }, []keyID{
			deriveTicketKey(secret("a"), 3600, epoch).id, deriveTicketKey(secret("b"), 3600, epoch+2).id,
		}, []keyID{deriveTicketKey(secret("a"), 3600, epoch-1).id}},
		{"secret gone", func() { source.set(t, "b") }, []keyID{
			deriveTicketKey(secret("b"), 3600, epoch+1).id,
		}, []keyID{deriveTicketKey(secret("a"), 3600, epoch+1).id}},
		{"no secrets", func() { source.current.Store(nil) }, nil, []keyID{deriveTicketKey(secret("b"), 3600, epoch+1).id}},
	} {
		step.change()
		for _, id := range step.in {
			if tickets.ring().find(id) == nil {
				t.Errorf("%s: key %x is not in force", step.name, id)
			}
		}
		for _, id := range step.out {
			if tickets.ring().find(id) != nil {
				t.Errorf("%s: key %x is in force", step.name, id)
			}
		}
	}
	if a, b := deriveTicketKey(secret("a"), 3600, 7).id, deriveTicketKey(secret("a"), 7200, 7).id; a == b {
		t.Error("epochs of different lengths have the same key")
	}
	if got := floorDivide(-1, 3600); got != -1 {
		t.Errorf("floorDivide(-1, 3600) = %d, want -1", got)
	}
}

// Tickets of one process are another's junk unless they share a secret.
func TestProcessesHaveSecretsOfTheirOwn(t *testing.T) {
	t.Parallel()
	a, b := must(NewTickets(TicketOptions{}))(t), must(NewTickets(TicketOptions{}))(t)
	if a.ring().keys[0].id == b.ring().keys[0].id {
		t.Error("two processes seal by the same key")
	}
}

// A client returns its ticket in its ClientHello.
func TestTicketsAreSmall(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		issuers  []devpki.KeyType // from the root's down
		maxBytes int
	}{
		{"no intermediate", nil, 600},                                          // 548
		{"one intermediate", []devpki.KeyType{devpki.P256}, 625},               // 570; presented: 829
		{"two intermediates", []devpki.KeyType{devpki.P256, devpki.P256}, 650}, // 594; presented: 1 224
		{"ML-DSA-44 above P-256", []devpki.KeyType{devpki.MLDSA44, devpki.P256}, 650},
		// The leaf has a signature of 2.4 KiB then; presented: 8 415.
		{"ML-DSA-44", []devpki.KeyType{devpki.MLDSA44, devpki.MLDSA44}, 3000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, tls.VersionTLS13, verifycache.Options{})
			ca := h.root
			for i, key := range tt.issuers {
				ca = must(ca.NewIntermediate(devpki.CAOptions{Name: fmt.Sprint("issuer ", i), Key: key}))(t)
			}
			h.guest = must(ca.Issue(devpki.LeafOptions{URIs: []string{checkout}}))(t)
			l, r := h.open(t, nil)
			h.arrive(t, l, r)
			for range 3 {
				if n := len(h.visits.ticket(t)); n > tt.maxBytes {
					t.Errorf("ticket of %d octets, want %d at most", n, tt.maxBytes)
				}
				if resumed, record, err := visit(t, l, r, h.client()); !resumed || err != nil {
					t.Fatalf("not resumed: %v, error %v", record.Resumption, err)
				}
			}
		})
	}
}

func TestIssuersAreBounded(t *testing.T) {
	t.Parallel()
	var known issuers
	one := root(t, "one").Certificate
	name, ok := known.learn(one)
	if found := known.find(name); !ok || found == nil || !found.Equal(one) || found == one {
		t.Fatalf("learn() = %v, find() = %v; want a copy", ok, found)
	}
	if again, ok := known.learn(one); !ok || again != name || len(known.known) != 1 {
		t.Errorf("learning it twice makes %d entries", len(known.known))
	}
	if _, ok := known.learn(&x509.Certificate{Raw: make([]byte, maxIssuerBytes+1)}); ok {
		t.Error("a certificate of 16 KiB is learnt")
	}
	for i := range maxIssuers + 10 {
		other := root(t, fmt.Sprint(i)).Certificate
		last, ok := known.learn(other)
		if !ok || known.find(last) == nil {
			t.Fatalf("learn() = %v for certificate %d", ok, i)
		}
	}
	if len(known.known) != maxIssuers {
		t.Errorf("%d certificates are kept, want %d", len(known.known), maxIssuers)
	}
}

// chainOf returns a session with a leaf, an issuer that is referred to and one that is
// not, in a state that has something between them.
func chainOf(t testing.TB) *session {
	t.Helper()
	top := root(t, "root")
	leaf := must(top.Issue(devpki.LeafOptions{URIs: []string{checkout}}))(t).Chain[0]
	stray := root(t, "stray").Certificate
	s := &session{
		since: time.Unix(1790000000, 0), chain: []*x509.Certificate{leaf, top.Certificate, stray}, leaf: leaf.Raw,
		issuers: []*x509.Certificate{top.Certificate},
	}
	s.state = slices.Concat([]byte("secret"), leaf.Raw, []byte("|"), top.Certificate.Raw, stray.Raw, []byte("end"))
	return s
}

func TestSessionsSurviveEncoding(t *testing.T) {
	t.Parallel()
	var known issuers
	s := chainOf(t)
	b, ok := s.encode(&known)
	if !ok {
		t.Fatal("encode() fails")
	}
	if bytes.Contains(b, s.chain[1].Raw) {
		t.Error("an issuer is written in full")
	}
	got, ok := decodeSession(b, &known)
	if !ok || !got.parseLeaf() || !got.since.Equal(s.since) || !bytes.Equal(got.state, s.state) || !slices.EqualFunc(got.chain, s.chain, (*x509.Certificate).Equal) {
		t.Fatalf("decodeSession() = %+v, %v, want what was encoded", got, ok)
	}
	// CAs' certificates are remembered for long, and no certificate must keep a session's
	// secret with it.
	buffer := bytes.Clone(b)
	kept, _ := decodeSession(buffer, &known)
	kept.parseLeaf()
	clear(buffer)
	clear(kept.state)
	if !slices.EqualFunc(kept.chain, s.chain, (*x509.Certificate).Equal) {
		t.Error("the chain refers to what the session was decoded from")
	}
	if _, ok := decodeSession(b, new(issuers)); ok {
		t.Error("a session with an unknown issuer is decoded")
	}
	for i := range b {
		if _, ok := decodeSession(b[:i], &known); ok {
			t.Errorf("the first %d of %d octets are a session", i, len(b))
		}
	}
	if _, ok := decodeSession(append(b, 0), &known); ok {
		t.Error("a session with an octet more is one")
	}
}

func TestSessionsThatCannotBeEncoded(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*session){
		"no chain":                   func(s *session) { s.chain = nil },
		"more certificates than are": func(s *session) { s.chain = make([]*x509.Certificate, certpath.MaxChainCertificates+1) },
		"state without the leaf":     func(s *session) { s.state = []byte("state") },
		"certificates in disorder":   func(s *session) { slices.Reverse(s.chain[1:]) },
		"a state too large":          func(s *session) { s.state = append(s.state, make([]byte, 1<<16)...) },
		"a gap too large":            func(s *session) { s.state = append(make([]byte, 1<<16), s.state...) },
		"a certificate too large": func(s *session) {
			s.chain, s.leaf = []*x509.Certificate{nil}, make([]byte, 1<<16)
			s.state = s.leaf
		},
	} {
		s := chainOf(t)
		edit(s)
		if b, ok := s.encode(new(issuers)); ok {
			t.Errorf("%s: encoded in %d octets", name, len(b))
		}
	}
}

// Whatever decodes is what encoding it gives.
func FuzzDecodeSession(f *testing.F) {
	var known issuers
	s := chainOf(f)
	b, _ := s.encode(&known)
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Add([]byte{})
	f.Add(make([]byte, 16))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, ok := decodeSession(data, &known)
		if !ok || !got.parseLeaf() {
			return
		}
		for _, c := range got.chain[1:] {
			if name := issuerName(sumOf(c)); known.find(name) == c {
				got.issuers = append(got.issuers, c)
			}
		}
		again, ok := got.encode(&known)
		if !ok {
			t.Fatalf("decodes and does not encode: %x", data)
		}
		back, ok := decodeSession(again, &known)
		if !ok || !bytes.Equal(back.state, got.state) || !back.since.Equal(got.since) {
			t.Fatalf("decoded as %+v, then as %+v", got, back)
		}
	})
}

func sumOf(c *x509.Certificate) []byte {
	sum := sha256.Sum256(c.Raw)
	return sum[:len(issuerName{})]
}

// Nothing opens but what was sealed.
func FuzzOpenTicket(f *testing.F) {
	tickets := must(NewTickets(TicketOptions{}))(f)
	b := binding{sha256.Sum256(nil), tls.VersionTLS13, "pay.example"}
	ticket := tickets.seal(b, chainOf(f))
	if _, outcome := tickets.open(b, ticket); outcome == TicketForeign || outcome == TicketScope {
		f.Fatalf("open() = %v what was sealed", outcome)
	}
	f.Add(ticket)
	f.Add(ticket[:8])
	f.Add([]byte{0})
	f.Add([]byte{})
	f.Add(bytes.Repeat(ticket, 20))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, outcome := tickets.open(b, data)
		sealed := bytes.Equal(data, ticket)
		if opened := outcome != TicketForeign && outcome != TicketScope; opened != sealed {
			t.Errorf("open(%x) = %v", data, outcome)
		}
		if (s != nil) != (outcome == Resumed) {
			t.Errorf("open(%x) = %v with outcome %v", data, s, outcome)
		}
	})
}
