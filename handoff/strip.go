package handoff

import (
	"bytes"
	"strings"

	"github.com/valyala/fasthttp"
)

// Stripped is how many field lines were removed.
type Stripped struct {
	Hop      int // hop-by-hop fields, and those that Connection named
	Reserved int // reserved names, baggage and Txn-Token
}

// StripRequest removes from a caller's request what is not for the backend
// (FWD-01, FWD-02, FWD-03): first hop-by-hop fields with everything that the
// Connection field names, then every reserved name in every spelling, and
// baggage. Trailers are not sent: their announcement is removed.
//
// A Txn-Token stays only with keepTxnToken, which says that the caller belongs to
// the trust domain of the backend (APP-10). Fields that frame or describe the
// body and end-to-end credentials stay even if Connection names them; the
// framing is made anew by whoever sends the request. For an upgrade, the caller
// looks at the Upgrade field before, and sets it again after.
//
// What is looked at is the header as it would be sent, so that fields which were
// added to h are treated like received ones. It allocates nothing.
func StripRequest(h *fasthttp.RequestHeader, keepTxnToken bool) (s Stripped) {
	_ = h.SetTrailerBytes(nil) // before: a field that is announced as trailer is not in Header
	block := h.Header()
	var named bool // Connection names something that is not hop-by-hop anyway
	normalized := !h.DisableNormalizing()
	for name, value := range fields(block) {
		switch classify(name) {
		case connection:
			named = named || namesOthers(value)
			s.Hop++
		case hop:
			s.Hop++
		case reserved, baggage:
			s.Reserved++
		case txnToken:
			if keepTxnToken {
				continue
			}
			s.Reserved++
		default:
			continue
		}
		h.DelBytes(name)
	}
	h.ResetConnectionClose()
	if named {
		s.Hop += removeNamed(block, h.DelBytes)
	}
	if normalized {
		h.EnableNormalizing()
	}
	return s
}

// StripField is [StripRequest] for one field of a request that is not taken apart: keep says
// that the field stays, and verbatim that nothing else has to be known or changed because of it.
// Unless that holds for all fields of a request, it needs StripRequest. White space around
// value does not matter. It allocates nothing.
func StripField(name, value []byte) (keep, verbatim bool) {
	switch classify(name) {
	case connection:
		return false, !namesOthers(value)
	case hop, reserved, baggage:
		return false, true
	case txnToken:
		return true, false
	default:
		return true, true
	}
}

// Sole returns the value of the field called name, if a backend will read that and
// nothing else under the name: it occurs once in all its spellings, and
// [StripRequest] would leave it. The value is valid until h changes.
//
// A decision that looks at a field is about nothing otherwise: with "Connection:
// X-Tier" a caller has "X-Tier: gold" looked at and not sent.
func Sole(h *fasthttp.RequestHeader, name string) (value []byte, ok bool) {
	want := []byte(name)
	if c := classify(want); c != endToEnd && c != vary {
		return nil, false
	}
	found := 0
	for n, v := range fields(h.Header()) {
		switch {
		case same(n, want):
			value = bytes.TrimSpace(v)
			found++
		case classify(n) == connection && !essential(want):
			for option := range list(v) {
				if same(option, want) {
					return nil, false
				}
			}
		}
	}
	return value, found == 1
}

// FilterResponse removes from a backend's response what is not for the caller:
// hop-by-hop fields with everything that Connection names, trailers, and reserved
// names, which are for requests only. A response that varies with the caller's
// certificate gets "Vary: *", since no cache in between can know it (FWD-08, RFC
// 9440 §2.4). It allocates nothing.
//
// Whether the caller's connection is to be closed stays as it is in h: that flag
// is the gateway's own by then, and losing it could make the rest of an unread
// request body the next request.
func FilterResponse(h *fasthttp.ResponseHeader) {
	_ = h.SetTrailerBytes(nil)
	if isClean(h) {
		return
	}
	block, closing := h.Header(), h.ConnectionClose()
	var named, variesByCertificate bool
	normalized := !h.DisableNormalizing()
	for name, value := range fields(block) {
		switch classify(name) {
		case connection:
			named = named || namesOthers(value)
		case hop, reserved:
		case vary:
			if !variesByCaller(value) {
				continue
			}
			variesByCertificate = true
		default:
			continue
		}
		h.DelBytes(name)
	}
	if closing {
		h.SetConnectionClose() // DelBytes has taken it for a field
	}
	if named {
		removeNamed(block, h.DelBytes)
	}
	if normalized {
		h.EnableNormalizing()
	}
	if variesByCertificate {
		h.SetCanonical(varyName, anything)
	}
}

// FilterField is [FilterResponse] for one field of a response that is not taken apart: keep
// says that the caller gets the field, and verbatim that nothing else of the response changes
// because of it. Unless that holds for all fields of a response, it needs FilterResponse. White
// space around value does not matter. It allocates nothing.
func FilterField(name, value []byte) (keep, verbatim bool) {
	switch classify(name) {
	case connection:
		return false, !namesOthers(value)
	case hop, reserved:
		return false, true
	case vary:
		return true, !variesByCaller(value)
	default:
		return true, true
	}
}

// isClean reports whether no field of h is to be removed, as in most responses. It
// costs a third of writing the header down to look at it.
func isClean(h *fasthttp.ResponseHeader) bool {
	for name, value := range h.All() {
		if keep, verbatim := FilterField(name, value); !keep || !verbatim {
			return false
		}
	}
	return true
}

var (
	varyName = []byte("Vary")
	anything = []byte("*")
)

func variesByCaller(value []byte) bool {
	for member := range list(value) {
		if is(member, "client-cert") || is(member, "client-cert-chain") {
			return true
		}
	}
	return false
}

// namesOthers reports whether a Connection field names more than what is
// hop-by-hop by itself. It mostly does not.
func namesOthers(value []byte) bool {
	for option := range list(value) {
		if !is(option, "close") && classify(option) == endToEnd {
			return true
		}
	}
	return false
}

// removeNamed removes the fields of block that its Connection fields name.
func removeNamed(block []byte, remove func(name []byte)) (removed int) {
	for name := range fields(block) {
		if classify(name) == endToEnd && !essential(name) && isNamed(block, name) {
			remove(name)
			removed++
		}
	}
	return removed
}

func isNamed(block, name []byte) bool {
	for n, value := range fields(block) {
		if classify(n) != connection {
			continue
		}
		for option := range list(value) {
			if same(option, name) {
				return true
			}
		}
	}
	return false
}

// fields iterates over the field lines of a header block that fasthttp wrote:
// a start line, lines of name, ": " and value, and a blank line.
func fields(block []byte) func(yield func(name, value []byte) bool) {
	return func(yield func(name, value []byte) bool) {
		for rest := afterLine(block); len(rest) > 0; rest = afterLine(rest) {
			line := rest
			if end := bytes.IndexByte(line, '\n'); end >= 0 {
				line = line[:end]
			}
			colon := bytes.IndexByte(line, ':')
			if colon < 0 {
				continue
			}
			if !yield(line[:colon], line[colon+1:]) {
				return
			}
		}
	}
}

func afterLine(b []byte) []byte {
	if end := bytes.IndexByte(b, '\n'); end >= 0 {
		return b[end+1:]
	}
	return nil
}

// list iterates over the members of a comma-separated value.
func list(value []byte) func(yield func(member []byte) bool) {
	return func(yield func(member []byte) bool) {
		for more := true; more; {
			var member []byte
			member, value, more = bytes.Cut(value, []byte{','})
			if member = bytes.TrimSpace(member); len(member) > 0 && !yield(member) {
				return
			}
		}
	}
}

// AppendForwarded appends the field lines that tell the backend about the
// connection that the request came on, each with its end, where [StripRequest] has
// removed what the caller said: X-Forwarded-For with the address in remote (with or
// without a port), X-Forwarded-Proto, which is https, and X-Forwarded-Host. An empty
// remote or host is left out. They say nothing about who the caller is.
func AppendForwarded(dst []byte, remote, host string) []byte {
	dst = appendField(dst, "X-Forwarded-For", withoutPort(remote))
	dst = append(dst, "X-Forwarded-Proto: https\r\n"...)
	return appendField(dst, "X-Forwarded-Host", host)
}

// withoutPort returns the address in "address", "address:port" or
// "[address]:port".
func withoutPort(remote string) string {
	if strings.HasPrefix(remote, "[") {
		address, _, _ := strings.Cut(remote[1:], "]")
		return address
	}
	if colon := strings.IndexByte(remote, ':'); colon >= 0 && colon == strings.LastIndexByte(remote, ':') {
		return remote[:colon]
	}
	return remote
}
