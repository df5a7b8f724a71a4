package upstream

import (
	"bytes"
	"testing"

	"github.com/valyala/fasthttp"
)

// way is one of the two ways in which a response can be taken, as a test uses it.
type way func(t testing.TB, u *Upstream, edit func(*fasthttp.Request)) (status int, body string, result Result, err error)

// bothWays runs a claim with responses that are taken apart, and with responses that may be
// octets: it may not make a difference.
func bothWays(t *testing.T, name string, claim func(*testing.T, way)) {
	t.Helper()
	for way, forward := range map[string]way{"taken apart": forward, "octets": forwardOctets} {
		t.Run(name+", "+way, func(t *testing.T) {
			t.Parallel()
			claim(t, forward)
		})
	}
}

// forwardOctets is forward for a caller that gives and takes octets where it can.
func forwardOctets(t testing.TB, u *Upstream, edit func(*fasthttp.Request)) (status int, body string, result Result, err error) {
	t.Helper()
	p := &Verbatim{Filter: func([]byte, []byte) (bool, bool) { return true, true }, Fields: []byte("X-Id: 7\r\n")}
	status, body, result, err = forwardCall(u, grantFor(t, u.Name()), edit, p)
	if err != nil || p.Status == 0 {
		return status, body, result, err
	}
	said := understood(t, p.Octets)
	if said.Status != p.Status || said.Header.Get("X-Id") != "7" || bytes.Count(p.Octets, []byte("HTTP/1.1 ")) != 1 {
		t.Errorf("the response with status %d is %q", p.Status, p.Octets)
	}
	return said.Status, said.Body, result, nil
}
