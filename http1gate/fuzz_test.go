package http1gate_test

import (
	"bufio"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"verigate/http1gate"
)

// parsed is a request as one parser sees it.
type parsed struct {
	method, target, host, body string
	fields                     []string // sorted lines of lower-case name and value
}

// FuzzGate checks what the gate is for: fasthttp and net/http read the same
// requests out of what passes, and nothing else; and the verdict does not depend
// on where the stream is cut.
func FuzzGate(f *testing.F) {
	for i, a := range attacks {
		if len(a.raw) < 400 {
			f.Add([]byte(a.raw), uint16(i))
		}
	}
	f.Add([]byte(requestOf300+requestOf300), uint16(310))
	f.Fuzz(func(t *testing.T, raw []byte, cut uint16) {
		limits := &http1gate.Limits{Methods: []string{"GET", "HEAD", "POST", "OPTIONS"}}
		whole := pass(limits, 32<<10, string(raw))
		i := int(cut) % (len(raw) + 1)
		if got := pass(limits, 1+int(cut>>8), string(raw[:i]), string(raw[i:])); got != whole {
			t.Fatalf("cut at %d: %+v, in one piece: %+v", i, got, whole)
		}
		byFasthttp, restFasthttp := parseFasthttp(whole.octets)
		byNetHTTP, restNetHTTP := parseNetHTTP(whole.octets)
		if !slices.EqualFunc(byFasthttp, byNetHTTP, equal) {
			t.Fatalf("of %q\nfasthttp reads %+v\nnet/http reads %+v", whole.octets, byFasthttp, byNetHTTP)
		}
		// What does not parse is at most the broken or truncated body at the end.
		if whole.end == "end" && (restFasthttp != "" || restNetHTTP != "") {
			t.Fatalf("of %q fasthttp cannot read %q, net/http cannot read %q", whole.octets, restFasthttp, restNetHTTP)
		}
	})
}

func equal(a, b parsed) bool {
	return a.method == b.method && a.target == b.target && strings.EqualFold(a.host, b.host) && a.body == b.body && slices.Equal(a.fields, b.fields)
}

// parseFasthttp returns the requests in octets, and what it could not read.
func parseFasthttp(octets string) (all []parsed, rest string) {
	source := strings.NewReader(octets)
	r := bufio.NewReaderSize(source, 32<<10)
	for {
		at := len(octets) - source.Len() - r.Buffered()
		if at == len(octets) {
			return all, ""
		}
		var req fasthttp.Request
		req.Header.DisableNormalizing()
		req.Header.SetNoDefaultContentType(true)
		if err := req.Header.Read(r); err != nil {
			return all, octets[at:]
		}
		p := parsed{method: string(req.Header.Method()), target: string(req.Header.RequestURI()), host: string(req.Header.Host())}
		if req.URI() == nil || len(req.URI().Username()) > 0 || !strings.EqualFold(string(req.URI().Host()), p.host) {
			p.host = "confused: " + req.URI().String()
		}
		// What All returns for cookies is made anew; the header as it is written has
		// them as they came.
		for line := range strings.SplitSeq(string(req.Header.Header()), "\r\n") {
			name, value, _ := strings.Cut(line, ": ")
			p.addField(name, value)
		}
		length := req.Header.ContentLength()
		if length >= -1 { // -2 is no body
			if err := req.ReadBody(r, length, 0); err != nil {
				return all, octets[at:]
			}
		}
		if length == -1 {
			if err := req.Header.ReadTrailer(r); err != nil {
				return all, octets[at:]
			}
		}
		p.body = string(req.Body())
		slices.Sort(p.fields)
		all = append(all, p)
	}
}

// parseNetHTTP returns the requests in octets, and what it could not read.
func parseNetHTTP(octets string) (all []parsed, rest string) {
	source := strings.NewReader(octets)
	r := bufio.NewReader(source)
	for {
		at := len(octets) - source.Len() - r.Buffered()
		if at == len(octets) {
			return all, ""
		}
		req, err := http.ReadRequest(r)
		if err != nil {
			return all, octets[at:]
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return all, octets[at:]
		}
		p := parsed{method: req.Method, target: req.RequestURI, host: req.Host, body: string(body)}
		for name, values := range req.Header {
			for _, v := range values {
				p.addField(name, v)
			}
		}
		slices.Sort(p.fields)
		all = append(all, p)
	}
}

// addField notes an end-to-end field. Framing, Host, Connection and Trailer are
// handled by the parsers and judged by their effect.
func (p *parsed) addField(name, value string) {
	switch name = strings.ToLower(name); name {
	case "", "host", "connection", "content-length", "transfer-encoding", "trailer":
		return
	}
	if value = strings.Trim(value, " \t"); !strings.Contains(name, " ") {
		p.fields = append(p.fields, name+": "+value)
	}
}
