package http1gate

import (
	"bytes"
	"net/textproto"
)

// body follows the framing of one request's body through the stream and judges
// every octet of it that is not data.
type body struct {
	state   bodyState
	digits  uint8 // of the chunk size
	nameLen uint8
	fields  int
	left    int64 // octets of data still to come, in the body or in its chunk
	extra   int   // octets of chunk extensions
	trailer int   // octets of trailer fields
	tail    int   // octets of lastChunkEnd that the server has seen
	name    [maxTrailerName]byte
}

// lastChunkEnd stands for all that follows the digits of the last chunk's size.
// The server sees it when the trailer section behind it is judged, not earlier:
// fasthttp takes an error at that place for the end of the body.
const lastChunkEnd = "\r\n\r\n"

// takeTail moves octets of lastChunkEnd to p.
func (b *body) takeTail(p []byte) int {
	if b.state != bodyTail {
		return 0
	}
	n := copy(p, lastChunkEnd[b.tail:])
	if b.tail += n; b.tail == len(lastChunkEnd) {
		b.state = bodyDone
	}
	return n
}

// maxTrailerName is how much of a trailer field's name is remembered: more than
// the longest name that is refused, and its prefix decides for the rest.
const maxTrailerName = 40

type bodyState uint8

const (
	bodyDone bodyState = iota
	bodyData           // of a Content-Length
	chunkSizeStart
	chunkSizeDigits
	chunkExtName
	chunkExtNameMore
	chunkExtValue
	chunkExtToken
	chunkExtQuoted
	chunkExtEscape
	chunkExtAfter
	chunkSizeLF
	chunkOctets
	chunkDataCR
	chunkDataLF
	trailerStart
	trailerName
	trailerValue
	trailerLF
	bodyLastLF
	bodyTail // all is judged; the server has yet to see the end of the last chunk
)

// begin prepares for the body of the request that h has judged.
func (b *body) begin(h *head) {
	*b = body{}
	switch {
	case h.has&transferEncoding != 0:
		b.state = chunkSizeStart
	case h.length > 0:
		b.state, b.left = bodyData, h.length
	}
}

// judge judges p, the next octets of the stream, and leaves in its front what
// the server is to read: framing and data without chunk extensions and trailer
// fields. It returns how many octets it used and how many it left; used is less
// than len(p) only when the body was judged whole, or at a violation.
func (b *body) judge(p []byte, l *Limits) (used, kept int, v *Violation) {
	if b.state == bodyData {
		n := int(min(b.left, int64(len(p))))
		if b.left -= int64(n); b.left == 0 {
			b.state = bodyDone
		}
		return n, n, nil
	}
	for used < len(p) && b.state != bodyDone && b.state != bodyTail {
		if b.state == chunkOctets {
			n := int(min(b.left, int64(len(p)-used)))
			if kept != used {
				copy(p[kept:], p[used:used+n])
			}
			used, kept = used+n, kept+n
			if b.left -= int64(n); b.left == 0 {
				b.state = chunkDataCR
			}
			continue
		}
		c := p[used]
		keep, v := b.step(c, l)
		if v != nil {
			return used, kept, v
		}
		used++
		if keep {
			p[kept] = c
			kept++
		}
	}
	return used, kept, nil
}

// step judges one octet of framing and reports whether the server is to see it.
//
// The grammar is that of RFC 9112 §7.1 without the white space that it tolerates
// for old senders.
func (b *body) step(c byte, l *Limits) (keep bool, v *Violation) {
	switch b.state {
	case chunkSizeStart:
		if hexValue[c] == 0xff {
			return false, chunkSize
		}
		b.left, b.digits, b.state = 0, 0, chunkSizeDigits
		return b.stepSize(c)
	case chunkSizeDigits:
		return b.stepSize(c)
	case chunkExtName, chunkExtNameMore, chunkExtValue, chunkExtToken, chunkExtQuoted, chunkExtEscape, chunkExtAfter:
		return b.stepExtension(c, l)
	case chunkSizeLF:
		if c != '\n' {
			return false, chunkSize
		}
		if b.left == 0 {
			b.state = trailerStart
			return false, nil
		}
		b.state = chunkOctets
		return true, nil
	case chunkDataCR:
		if c != '\r' {
			return false, chunkData
		}
		b.state = chunkDataLF
		return true, nil
	case chunkDataLF:
		if c != '\n' {
			return false, chunkData
		}
		b.state = chunkSizeStart
		return true, nil
	case bodyLastLF:
		if c != '\n' {
			return false, trailerSyntax
		}
		b.state = bodyTail
		return false, nil
	}
	return b.stepTrailer(c, l)
}

func (b *body) stepSize(c byte) (keep bool, v *Violation) {
	switch value := hexValue[c]; {
	case value != 0xff:
		// 15 digits fit an int64 and are as many as fasthttp reads; zeros in front
		// count, so that they cannot go on forever.
		if b.digits == 15 {
			return false, chunkSize
		}
		b.digits++
		b.left = b.left<<4 | int64(value)
		return true, nil
	case c == '\r':
		b.state = chunkSizeLF
		return b.left > 0, nil
	case c == ';':
		b.state = chunkExtName
		return false, nil
	}
	return false, chunkSize
}

// stepExtension judges *( ";" token [ "=" ( token / quoted-string ) ] ).
func (b *body) stepExtension(c byte, l *Limits) (keep bool, v *Violation) {
	if b.extra++; b.extra > l.maxTrailerBytes() {
		return false, chunkExtension
	}
	token := octets[c]&tokenOctet != 0
	switch b.state {
	case chunkExtName, chunkExtValue:
		switch {
		case token && b.state == chunkExtName:
			b.state = chunkExtNameMore
		case token:
			b.state = chunkExtToken
		case c == '"' && b.state == chunkExtValue:
			b.state = chunkExtQuoted
		default:
			return false, chunkExtension
		}
		return false, nil
	case chunkExtQuoted:
		switch {
		case c == '"':
			b.state = chunkExtAfter
		case c == '\\':
			b.state = chunkExtEscape
		case c < 0x20 && c != '\t' || c == 0x7f:
			return false, chunkExtension
		}
		return false, nil
	case chunkExtEscape:
		if c < 0x20 && c != '\t' || c == 0x7f {
			return false, chunkExtension
		}
		b.state = chunkExtQuoted
		return false, nil
	}
	// Behind or within a name, a token value or a quoted one.
	switch {
	case token && b.state != chunkExtAfter:
	case c == '=' && b.state == chunkExtNameMore:
		b.state = chunkExtValue
	case c == ';':
		b.state = chunkExtName
	case c == '\r':
		b.state = chunkSizeLF
		return b.left > 0, nil
	default:
		return false, chunkExtension
	}
	return false, nil
}

// stepTrailer judges the octets of trailer fields, of which the server sees
// none: fasthttp would file them among the header fields.
func (b *body) stepTrailer(c byte, l *Limits) (keep bool, v *Violation) {
	if b.state == trailerStart && c == '\r' {
		b.state = bodyLastLF
		return false, nil
	}
	if b.trailer++; b.trailer > l.maxTrailerBytes() {
		return false, trailerTooLarge
	}
	switch b.state {
	case trailerStart:
		if octets[c]&tokenOctet == 0 {
			return false, trailerSyntax
		}
		if b.fields++; b.fields > l.maxFields() {
			return false, trailerTooLarge
		}
		b.state, b.nameLen = trailerName, 0
		b.appendName(c)
	case trailerName:
		switch {
		case octets[c]&tokenOctet != 0:
			b.appendName(c)
		case c != ':':
			return false, trailerSyntax
		case forbiddenTrailer(b.name[:b.nameLen], l):
			return false, trailerForbidden
		default:
			b.state = trailerValue
		}
	case trailerValue:
		switch {
		case c == '\r':
			b.state = trailerLF
		case c < 0x20 && c != '\t' || c == 0x7f:
			return false, trailerSyntax
		}
	case trailerLF:
		if c != '\n' {
			return false, trailerSyntax
		}
		b.state = trailerStart
	}
	return false, nil
}

func (b *body) appendName(c byte) {
	if int(b.nameLen) < len(b.name) {
		b.name[b.nameLen] = c
		b.nameLen++
	}
}

// judgeTrailerField judges the Trailer field, which announces trailer fields.
func judgeTrailerField(value []byte, l *Limits) *Violation {
	for more := true; more; {
		var name []byte
		name, value, more = bytes.Cut(value, []byte{','})
		name = textproto.TrimBytes(name)
		if !isToken(name) {
			return fieldValue
		}
		if forbiddenTrailer(name, l) {
			return trailerForbidden
		}
	}
	return nil
}

// forbiddenTrailers are fields for framing, routing, authentication, request
// modification and content format (RFC 9110 §6.5.1), and those that say who the
// client is.
var forbiddenTrailers = []string{
	"authorization", "cache-control", "connection", "content-encoding", "content-length", "content-range",
	"content-type", "cookie", "expect", "forwarded", "host", "if-match", "if-modified-since", "if-none-match",
	"if-range", "if-unmodified-since", "keep-alive", "location", "max-forwards", "pragma", "proxy-authenticate",
	"proxy-authorization", "proxy-connection", "range", "set-cookie", "signature", "signature-input", "te",
	"trailer", "transfer-encoding", "txn-token", "upgrade", "workload-identity-token", "workload-proof-token",
	"www-authenticate",
}

func forbiddenTrailer(name []byte, l *Limits) bool {
	for _, prefix := range []string{"x-forwarded", "x-real-ip"} {
		if len(name) >= len(prefix) && equalFoldDash(name[:len(prefix)], prefix) {
			return true
		}
	}
	for _, f := range forbiddenTrailers {
		if equalFoldDash(name, f) {
			return true
		}
	}
	return l.reserved(name)
}
