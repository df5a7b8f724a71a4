package handoff

import (
	"bufio"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// A header that is judged field by field, and in which nothing else has to be changed, keeps the
// fields that it keeps as a whole.
func FuzzFields(f *testing.F) {
	for _, seed := range []string{
		"Accept: */*\nX-Other: z\nCookie: a=b",
		"Connection: keep-alive, Upgrade\nUpgrade: h2c\nTE: trailers\nTrailers: x",
		"Connection: X-Named\nX-Named: 1",
		"Connection: close\nClient_Cert: x\nclient-cert-chain: y\nX-Client-Certificate: z\nx.forwarded.for: 1",
		"Forwarded: for=1\nBaggage: a=b\nTxn-Token: t\nVary: Client-Cert\nProxy: p\nProxy-Status: q\nSSL-Client-S: s",
		"Baggage: a=b\nX-Other: z",
		"Vary: Accept\nX-Real-IP: 1\nKeep-Alive: 5\nHTTP2-Settings: x\nX-Workload-Id: y",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		var all, requestKept, responseKept strings.Builder
		requestVerbatim, responseVerbatim := true, true
		for line := range strings.SplitSeq(lines, "\n") {
			name, value, _ := strings.Cut(line, ":")
			value = strings.TrimSpace(value)
			if name == "" || value == "" || strings.ContainsFunc(name, notInToken) || strings.ContainsFunc(value, notPrintable) || isFramed(name) {
				return
			}
			line = name + ": " + value + "\r\n"
			all.WriteString(line)
			keep, verbatim := StripField([]byte(name), []byte(value))
			if requestVerbatim = requestVerbatim && verbatim; keep {
				requestKept.WriteString(line)
			}
			keep, verbatim = FilterField([]byte(name), []byte(value))
			if responseVerbatim = responseVerbatim && verbatim; keep {
				responseKept.WriteString(line)
			}
		}
		if requestVerbatim {
			var h fasthttp.RequestHeader
			if err := h.Read(bufio.NewReader(strings.NewReader("GET / HTTP/1.1\r\nHost: x\r\n" + all.String() + "\r\n"))); err != nil {
				return // fasthttp refuses it, so there is nothing to compare
			}
			StripRequest(&h, false)
			if got, want := headerOf(t, requestKept.String()), headerOf(t, string(h.Header())); !reflect.DeepEqual(got, want) {
				t.Errorf("of the request %q, field by field, stays %q, want %q", lines, got, want)
			}
		}
		if responseVerbatim {
			var h fasthttp.ResponseHeader
			h.SetNoDefaultContentType(true)
			if err := h.Read(bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\n" + all.String() + "Content-Length: 0\r\n\r\n"))); err != nil {
				return // fasthttp refuses it, so there is nothing to compare
			}
			h.ResetConnectionClose() // what package upstream does
			FilterResponse(&h)
			if got, want := headerOf(t, responseKept.String()), headerOf(t, string(h.Header())); !reflect.DeepEqual(got, want) {
				t.Errorf("of the response %q, field by field, stays %q, want %q", lines, got, want)
			}
		}
	})
}

// isFramed is for the fields that callers of both functions look at themselves, and those of
// which fasthttp keeps one.
func isFramed(name string) bool {
	switch strings.ToLower(name) {
	case "content-length", "transfer-encoding", "trailer", "date", "host", "user-agent", "content-type", "content-encoding", "server", "expect":
		return true
	}
	return false
}

func notInToken(r rune) bool {
	return r > 'z' || !strings.ContainsRune("-_.!#$%&'*+^`|~0123456789", r) && (r|0x20 < 'a' || r|0x20 > 'z')
}

func notPrintable(r rune) bool { return r < ' ' || r > '~' }

// headerOf returns the fields of lines, behind a start line or not, without those that fasthttp
// adds.
func headerOf(t *testing.T, lines string) http.Header {
	t.Helper()
	if first, rest, _ := strings.Cut(lines, "\r\n"); strings.Contains(first, "HTTP/1.1") && !strings.Contains(first, ": ") {
		lines = rest
	}
	h := http.Header{}
	for line := range strings.SplitSeq(lines, "\r\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			name = strings.ToLower(name)
			h[name] = append(h[name], value)
		}
	}
	for _, name := range []string{"date", "content-length", "user-agent", "host", "server"} {
		delete(h, name)
	}
	return h
}
