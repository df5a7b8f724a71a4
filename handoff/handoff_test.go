package handoff

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"verigate/assurance"
	"verigate/certpath"
	"verigate/internal/race"
	"verigate/workloadid"
)

const all = ClientCert | ClientCertChain | XFCC | Workload

// byteSequences parses a List of RFC 9651 that has only Byte Sequences.
func byteSequences(t *testing.T, value string) (all [][]byte) {
	t.Helper()
	for item := range strings.SplitSeq(value, ", ") {
		inner, ok := strings.CutPrefix(item, ":")
		inner, ok2 := strings.CutSuffix(inner, ":")
		b, err := base64.StdEncoding.Strict().DecodeString(inner)
		if !ok || !ok2 || err != nil {
			t.Fatalf("%q is not a byte sequence (%v)", item, err)
		}
		all = append(all, b)
	}
	return all
}

func TestClientCertIsTheLeaf(t *testing.T) {
	t.Parallel()
	c, h := callerOf(t, checkout), request(t)
	followed(h, New(ClientCert, workloadid.ID{}).Append(nil, c, time.Now()))
	got := byteSequences(t, string(h.Peek("Client-Cert")))
	if len(got) != 1 || !bytes.Equal(got[0], c.Path.RawLeaf()) {
		t.Errorf("Client-Cert does not have the leaf's DER (FWD-04)")
	}
	if lines := sent(h); len(lines) != 1 {
		t.Errorf("client_cert alone sends %d fields, want 1: %q", len(lines), lines)
	}
}

func TestClientCertChainIsTheValidatedPath(t *testing.T) {
	t.Parallel()
	c, h := callerOf(t, checkout), request(t)
	followed(h, New(ClientCertChain, workloadid.ID{}).Append(nil, c, time.Now()))
	issuers := c.Path.Issuers()
	got := byteSequences(t, string(h.Peek("Client-Cert-Chain")))
	want := [][]byte{issuers[0].Raw, issuers[1].Raw}
	if len(issuers) != 3 || !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("Client-Cert-Chain has %d certificates, want the two intermediates of a path with %d issuers, in order, without what the caller sent beside (FWD-05)", len(got), len(issuers))
	}
	if len(h.Peek("Client-Cert")) == 0 {
		t.Error("the chain is sent without Client-Cert (RFC 9440 §2.3)")
	}
}

func TestXFCCHasOneElementOfIdentities(t *testing.T) {
	t.Parallel()
	c, h := callerOf(t, checkout), request(t, "X-Forwarded-Client-Cert: By=a;URI=spiffe://evil", "x_forwarded_client_cert: URI=b")
	StripRequest(h, false)
	followed(h, New(XFCC, identity(t, edge)).Append(nil, c, time.Now()))
	hash := c.Path.LeafSHA256()
	want := "X-Forwarded-Client-Cert: By=" + edge + ";Hash=" + hex.EncodeToString(hash[:]) + ";URI=" + checkout
	if lines := sent(h); len(lines) != 1 || lines[0] != want {
		t.Errorf("sends %q, want only %q (FWD-10)", lines, want)
	}
}

func TestWorkloadFields(t *testing.T) {
	t.Parallel()
	c := callerOf(t, checkout)
	c.Grade.MIAL = assurance.MIAL2
	c.Grade.MAAL[assurance.Provenance], c.Grade.MAAL[assurance.Governance] = 1, 3
	want := []string{
		"X-Workload-Id: " + checkout,
		"X-Workload-Trust-Domain: spiffe://prod.example",
		`X-Workload-Assurance: mial=2, maal=(1 0 0 0 0 0 0 3);profile="maal-local/1"`,
		"X-Workload-Asserted-By: " + edge,
	}
	h := request(t)
	followed(h, New(Workload, identity(t, edge)).Append(nil, c, time.Now()))
	if lines := sent(h); !slices.Equal(lines, want) {
		t.Errorf("sends\n\t%q, want\n\t%q (FWD-11)", lines, want)
	}
	h = request(t)
	followed(h, New(Workload, workloadid.ID{}).Append(nil, c, time.Now()))
	if lines := sent(h); !slices.Equal(lines, want[:3]) {
		t.Errorf("a gateway without identity sends\n\t%q, want\n\t%q", lines, want[:3])
	}
}

func TestApplyFollowsTheGrade(t *testing.T) {
	t.Parallel()
	c, handoff := callerOf(t, checkout), New(Workload, workloadid.ID{})
	for _, level := range []assurance.MIAL{assurance.MIAL1, assurance.MIAL3, assurance.MIAL1} {
		c.Grade.MIAL = level
		h := request(t)
		followed(h, handoff.Append(nil, c, time.Now()))
		want := "mial=" + string('0'+byte(level)) + ","
		if got := string(h.Peek("X-Workload-Assurance")); !strings.HasPrefix(got, want) {
			t.Errorf("after the grade became %v, X-Workload-Assurance is %q", level, got)
		}
	}
}

// Test 8 of requirements §7.
func TestACallerCannotRemoveOrForgeWhatIsAdded(t *testing.T) {
	t.Parallel()
	c, handoff := callerOf(t, checkout), New(all, identity(t, edge))
	honest := request(t)
	StripRequest(honest, false)
	followed(honest, handoff.Append(nil, c, time.Now()))
	want := sent(honest)
	for _, lines := range [][]string{
		{"Connection: Client-Cert"},
		{"Connection: close, client-cert, CLIENT_CERT, x-forwarded-client-cert, X-Workload-Id"},
		{"client_cert: :AA==:"},
		{"Client-Cert: :AA==:", "CLIENT-CERT: :AB==:"},
		{"Client-Cert-Chain: :AA==:", "X-Workload-Id: spiffe://prod.example/admin", "x_workload_asserted_by: me"},
		{"Trailer: Client-Cert", "Client-Cert: :AA==:"},
		{"Connection: X-Workload-Assurance", "X-Workload-Assurance: mial=4"},
	} {
		h := request(t, lines...)
		StripRequest(h, false)
		followed(h, handoff.Append(nil, c, time.Now()))
		if got := sent(h); !slices.Equal(got, want) {
			t.Errorf("a caller that sends %q makes the gateway send\n\t%.100q, want\n\t%.100q", lines, got, want)
		}
	}
}

func TestNothingIsConveyedWithoutReason(t *testing.T) {
	t.Parallel()
	var none *Handoff
	for name, apply := range map[string]func(*fasthttp.RequestHeader){
		"a nil Handoff (FWD-06)": func(h *fasthttp.RequestHeader) { followed(h, none.Append(nil, callerOf(t, checkout), time.Now())) },
		"no forms": func(h *fasthttp.RequestHeader) {
			followed(h, New(0, identity(t, edge)).Append(nil, callerOf(t, checkout), time.Now()))
		},
		"no path": func(h *fasthttp.RequestHeader) {
			followed(h, New(all, identity(t, edge)).Append(nil, Caller{}, time.Now()))
		},
		"a zero path": func(h *fasthttp.RequestHeader) {
			followed(h, New(all, identity(t, edge)).Append(nil, Caller{Path: new(certpath.Path)}, time.Now()))
		},
	} {
		h := request(t)
		apply(h)
		if lines := sent(h); len(lines) != 0 {
			t.Errorf("%s: sends %q", name, lines)
		}
	}
}

func TestParseForm(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]Form{"client_cert": ClientCert, "client_cert_chain": ClientCertChain, "xfcc": XFCC, "workload": Workload} {
		if got, ok := ParseForm(s); !ok || got != want {
			t.Errorf("ParseForm(%q) = %v, %v, want %v", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "XFCC", "client-cert", "assertion"} {
		if got, ok := ParseForm(s); ok || got != 0 {
			t.Errorf("ParseForm(%q) = %v, %v, want refusal", s, got, ok)
		}
	}
}

// parseXFCC reads one element as Envoy's consumers do. With escapes a backslash
// takes the next octet as it is; without, only \" is special, which is all that
// Envoy's documentation mentions. Both must find the same keys.
func parseXFCC(element string, escapes bool) (keys []string, elements int) {
	var key strings.Builder
	inValue, quoted := false, false
	elements = 1
	for i := 0; i < len(element); i++ {
		switch c := element[i]; {
		case quoted && c == '\\' && i+1 < len(element) && (escapes || element[i+1] == '"'):
			i++
		case c == '"' && inValue:
			quoted = !quoted
		case quoted:
		case c == '=' && !inValue:
			inValue = true
			keys = append(keys, key.String())
			key.Reset()
		case c == ';':
			inValue = false
		case c == ',':
			inValue = false
			elements++
		case !inValue:
			key.WriteByte(c)
		}
	}
	return keys, elements
}

func TestXFCCValuesCannotLeaveTheirQuotes(t *testing.T) {
	t.Parallel()
	for _, subject := range []string{
		`CN=plain`, `CN=a",By=evil`, `CN=a";URI=spiffe://evil;x="`, `CN=a\",By=evil`, `CN=a\`, `CN=a\\`, `CN=a\\",By=evil`,
		`",By=evil`, `"`, `\"`, `CN=a,O=b;c=d`,
	} {
		element := appendPair(nil, "Hash", "00ff")
		element = appendPair(element, "Subject", subject)
		element = appendPair(element, "URI", checkout)
		keys, elements := parseXFCC(string(element), true)
		if elements != 1 || !slices.Equal(keys, []string{"Hash", "Subject", "URI"}) {
			t.Errorf("a subject of %s is read as %d elements with the keys %q: %s", subject, elements, keys, element)
		}
	}
}

func TestXFCCQuotesOnlyWhatNeedsIt(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"spiffe://a/b": "K=spiffe://a/b", "a,b": `K="a,b"`, "a;b": `K="a;b"`, "a=b": `K="a=b"`, `a"b`: `K="a\"b"`, `a\b`: `K="a\\b"`, "": "",
	} {
		if got := string(appendPair(nil, "K", value)); got != want {
			t.Errorf("appendPair(%q) = %s, want %s", value, got, want)
		}
	}
}

func TestMemoIsBounded(t *testing.T) {
	t.Parallel()
	var m memo
	var last *certpath.Path
	for range 3 * pathsPerShard {
		last = new(certpath.Path) // all in one shard: their fingerprint is zero
		m.put(last, &values{})
	}
	if n := len(m.shards[0].values); n != pathsPerShard {
		t.Errorf("a shard has %d paths, want %d", n, pathsPerShard)
	}
	if m.get(last) == nil {
		t.Error("the path that was put last is gone")
	}
}

func TestApplyConcurrently(t *testing.T) {
	t.Parallel()
	handoff := New(all, identity(t, edge))
	callers := []Caller{callerOf(t, checkout), callerOf(t, edge)}
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for j := range 50 {
				c, h := callers[(i+j)%2], request(t)
				c.Grade.MIAL = assurance.MIAL(j % 3)
				followed(h, handoff.Append(nil, c, time.Now()))
				if got := string(h.Peek("X-Workload-Id")); got != c.Path.ID().String() {
					t.Errorf("X-Workload-Id = %q for %v", got, c.Path.ID())
				}
			}
		})
	}
	group.Wait()
}

func TestAppendDoesNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	c, handoff, fields, now := callerOf(t, checkout), New(all, identity(t, edge)), make([]byte, 0, 8<<10), time.Now()
	if n := testing.AllocsPerRun(500, func() { handoff.Append(fields, c, now) }); n != 0 {
		t.Errorf("Append allocates %v times for a known path, want 0", n)
	}
}

func BenchmarkStripRequest(b *testing.B) {
	for _, bench := range []struct {
		name  string
		lines []string
	}{
		{"usual", []string{"User-Agent: probe/1.0", "Accept: application/json", "Content-Type: application/json", "Authorization: Bearer abcdefghijklmnop",
			"Accept-Encoding: gzip", "Cookie: session=abcdef", "X-Request-Id: 0192837465"}},
		{"connection keep-alive", []string{"User-Agent: probe/1.0", "Accept: application/json", "Connection: keep-alive"}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			h := request(b, bench.lines...)
			b.ReportAllocs()
			for b.Loop() {
				StripRequest(h, false)
				if bench.name != "usual" {
					h.Set("Connection", "keep-alive")
				}
			}
		})
	}
}

func BenchmarkFilterResponse(b *testing.B) {
	h := new(fasthttp.ResponseHeader)
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	b.ReportAllocs()
	for b.Loop() {
		FilterResponse(h)
	}
}

func BenchmarkAppend(b *testing.B) {
	c, now := callerOf(b, checkout), time.Now()
	for name, forms := range map[string]Form{"workload": Workload, "client_cert": ClientCert, "all": all} {
		b.Run(name, func(b *testing.B) {
			handoff, fields := New(forms, identity(b, edge)), make([]byte, 0, 8<<10)
			b.ReportAllocs()
			for b.Loop() {
				handoff.Append(fields, c, now)
			}
		})
	}
}
