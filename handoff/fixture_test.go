package handoff

import (
	"bufio"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"verigate/certpath"
	"verigate/devpki"
	"verigate/trust"
	"verigate/workloadid"
)

const (
	checkout = "spiffe://prod.example/ns/shop/sa/checkout"
	edge     = "spiffe://prod.example/ns/edge/sa/gateway"
)

// callerOf verifies a fresh leaf below root, upper and issuing, and presents a
// certificate with it that is on no path to the root.
func callerOf(t testing.TB, id string) Caller {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := devpki.NewRoot(devpki.CAOptions{Name: "root"})
	must(err)
	upper, err := root.NewIntermediate(devpki.CAOptions{Name: "upper"})
	must(err)
	issuing, err := upper.NewIntermediate(devpki.CAOptions{Name: "issuing"})
	must(err)
	leaf, err := issuing.Issue(devpki.LeafOptions{URIs: []string{id}})
	must(err)
	junk, err := devpki.NewRoot(devpki.CAOptions{Name: "junk"})
	must(err)

	bundle, err := trust.NewBundle(identity(t, id).Origin(), trust.BundleOptions{Anchors: []*x509.Certificate{root.Certificate}})
	must(err)
	path, err := certpath.Verify(append(leaf.Chain, junk.Certificate), bundle, certpath.RoleClient, time.Now())
	must(err)
	return Caller{Path: path}
}

func identity(t testing.TB, id string) workloadid.ID {
	t.Helper()
	parsed, err := workloadid.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// request parses a header block of HTTP/1.1 from its field lines.
func request(t testing.TB, lines ...string) *fasthttp.RequestHeader {
	t.Helper()
	h := new(fasthttp.RequestHeader)
	parse(t, h, lines...)
	return h
}

func parse(t testing.TB, h *fasthttp.RequestHeader, lines ...string) {
	t.Helper()
	raw := "POST /v1/x HTTP/1.1\r\nHost: pay.example\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
	if len(lines) == 0 {
		raw = strings.TrimSuffix(raw, "\r\n")
	}
	if err := h.Read(bufio.NewReader(strings.NewReader(raw))); err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
}

// sent returns the field lines that h would send, sorted as fasthttp has them,
// without Host.
func sent(h interface{ Header() []byte }) (lines []string) {
	for _, line := range strings.Split(string(h.Header()), "\r\n")[1:] {
		if line != "" && !strings.HasPrefix(line, "Host:") {
			lines = append(lines, line)
		}
	}
	return lines
}

// followed puts lines behind the fields of h, octet for octet, and reads the whole as a
// backend would.
func followed(h *fasthttp.RequestHeader, lines []byte) {
	raw := strings.TrimSuffix(h.String(), "\r\n") + string(lines) + "\r\n"
	if err := h.Read(bufio.NewReader(strings.NewReader(raw))); err != nil {
		panic(fmt.Sprintf("%q: %v", raw, err))
	}
}
