package http1gate

import (
	"bytes"
	"net/textproto"
)

// head judges one header block, line by line as lines become complete, so that
// a block that arrives in pieces costs no more than one that arrives whole, and
// the verdict does not depend on the pieces.
type head struct {
	line   int // where the first line not yet judged begins
	seen   int // octets known to have no LF behind line
	lead   int // octets of blank lines before the request line
	fields int
	has    fieldSet
	length int64 // Content-Length

	options int // members of Connection fields

	host      span
	authority span // of an absolute target
}

// span is a part of the block. Offsets stay true when the block is moved.
type span struct{ from, to int }

func (s span) of(block []byte) []byte { return block[s.from:s.to] }

// fieldSet has what the request line and the fields said so far.
type fieldSet uint16

const (
	startLine fieldSet = 1 << iota
	http10
	absoluteForm
	hostField
	contentLength
	transferEncoding
	expect
	contentType
	userAgent
	closeOption
	keepAliveOption
)

// last reports whether nothing may follow the request (RFC 9112 §9.3).
func (f fieldSet) last() bool {
	return f&closeOption != 0 || f&(http10|keepAliveOption) == http10
}

// judge continues with block, which begins with what was judged before. It
// returns the length of the header block with the blank line that ends it, or
// 0 when that has not arrived.
func (h *head) judge(block []byte, l *Limits) (end int, v *Violation) {
	for {
		from := max(h.line, h.seen)
		n := bytes.IndexByte(block[from:], '\n')
		if n < 0 {
			h.seen = len(block)
			return 0, h.judgePartial(block, l)
		}
		lf := from + n
		line := block[h.line:lf]
		if h.has&startLine == 0 {
			if v := h.judgeStart(line, l); v != nil {
				return 0, v
			}
			h.line = lf + 1
			if h.has&startLine == 0 {
				h.lead = h.line // a blank line
			}
			continue
		}
		if lf+1-h.lead > l.maxHeaderBytes() {
			return 0, headerTooLarge
		}
		n = len(line) - 1
		if n < 0 || line[n] != '\r' {
			return 0, bareLF
		}
		if n == 0 {
			return lf + 1, h.judgeWhole(block)
		}
		if v := h.judgeField(line[:n], l); v != nil {
			return 0, v
		}
		h.line = lf + 1
	}
}

// judgePartial refuses a line that has not ended if no end could save it.
func (h *head) judgePartial(block []byte, l *Limits) *Violation {
	line := block[h.line:]
	if h.has&startLine == 0 && len(line) > 0 {
		if line[0] == '\r' {
			if len(line) > 1 {
				return bareCR
			}
			return nil
		}
		if _, v := cutMethod(line); v != nil {
			return v
		}
		if len(line) > l.maxLineBytes() {
			return targetTooLong
		}
	}
	if len(block)-h.lead > l.maxHeaderBytes() {
		return headerTooLarge
	}
	return nil
}

// judgeStart judges a line where the request line is due.
func (h *head) judgeStart(line []byte, l *Limits) *Violation {
	if len(line) == 0 {
		return bareLF
	}
	if line[0] == '\r' {
		if len(line) > 1 {
			return bareCR
		}
		if h.line/len("\r\n") >= maxBlankLines {
			return blankLines
		}
		return nil
	}
	method, v := cutMethod(line)
	if v != nil {
		return v
	}
	if len(line) > l.maxLineBytes() {
		return targetTooLong
	}
	if len(line)+1 > l.maxHeaderBytes() {
		return headerTooLarge
	}
	if line[len(line)-1] != '\r' {
		return bareLF
	}
	rest := line[len(method)+1 : len(line)-1]
	space := bytes.IndexByte(rest, ' ')
	if space <= 0 {
		return requestLine
	}
	target, version := rest[:space], rest[space+1:]
	switch {
	case string(version) == "HTTP/1.1":
	case string(version) == "HTTP/1.0":
		h.has |= http10
	case isVersion(version):
		return versionNotSupported
	default:
		return requestLine
	}
	authority, v := judgeTarget(method, target)
	if v != nil {
		return v
	}
	if authority != nil {
		h.has |= absoluteForm
		from := h.line + len(method) + 1 + bytes.IndexByte(target, '/') + len("//")
		h.authority = span{from, from + len(authority)}
	}
	if !l.allows(method) {
		return methodNotAllowed
	}
	h.has |= startLine
	return nil
}

// cutMethod returns the method that line begins with; without a violation and
// with an empty method, the space behind it is yet to come.
func cutMethod(line []byte) (method []byte, v *Violation) {
	for i, c := range line {
		if octets[c]&tokenOctet == 0 {
			if c == ' ' && i > 0 {
				return line[:i], nil
			}
			return nil, methodSyntax
		}
		if i == maxMethodBytes {
			return nil, methodSyntax
		}
	}
	return nil, nil
}

// isVersion reports whether b is the version of some HTTP.
func isVersion(b []byte) bool {
	return len(b) == len("HTTP/1.1") && string(b[:5]) == "HTTP/" && b[6] == '.' &&
		'0' <= b[5] && b[5] <= '9' && '0' <= b[7] && b[7] <= '9'
}

// judgeField judges one header line without its end.
func (h *head) judgeField(line []byte, l *Limits) *Violation {
	if line[0] == ' ' || line[0] == '\t' {
		return obsFold
	}
	name, value, classes, v := cutField(line)
	if v != nil {
		return v
	}
	if h.fields++; h.fields > l.maxFields() {
		return tooManyFields
	}
	// These are the fields whose meaning the server acts on before a handler runs.
	switch len(name) {
	case len("host"):
		if equalFold(name, "host") {
			return h.judgeHost(line, value)
		}
	case len("expect"):
		if equalFold(name, "expect") {
			return h.judgeExpect(value)
		}
	case len("trailer"):
		if equalFold(name, "trailer") {
			return judgeTrailerField(value, l)
		}
	case len("connection"):
		if equalFold(name, "connection") {
			return h.judgeConnection(value)
		}
		if equalFold(name, "user-agent") {
			return h.once(userAgent, duplicateField)
		}
	case len("content-type"):
		// A server that takes the first and one that takes the last of two types
		// see two different bodies.
		if equalFold(name, "content-type") {
			return h.once(contentType, duplicateField)
		}
	case len("content-length"):
		if equalFold(name, "content-length") {
			return h.judgeContentLength(value)
		}
	case len("transfer-encoding"):
		if equalFold(name, "transfer-encoding") {
			return h.judgeTransferEncoding(value)
		}
	}
	if classes&aliasOctet != 0 && (isFramingName(name) || l.reserved(name)) {
		return reservedName
	}
	return nil
}

// cutField returns the name and the trimmed value of a header line, and the
// classes of all octets of the name.
func cutField(line []byte) (name, value []byte, classes uint8, v *Violation) {
	n := 0
	for n < len(line) && octets[line[n]]&tokenOctet != 0 {
		classes |= octets[line[n]]
		n++
	}
	switch {
	case n == len(line):
		return nil, nil, 0, fieldSyntax
	case line[n] == ':' && n > 0:
	case line[n] == '\r':
		return nil, nil, 0, bareCR
	case n > 0 && bytes.HasPrefix(textproto.TrimBytes(line[n:]), []byte(":")):
		return nil, nil, 0, spaceBeforeColon
	default:
		return nil, nil, 0, fieldName
	}
	name, value = line[:n], line[n+1:]
	if !validValue(value) {
		if bytes.IndexByte(value, '\r') >= 0 {
			return nil, nil, 0, bareCR
		}
		return nil, nil, 0, fieldValue
	}
	return name, textproto.TrimBytes(value), classes, nil // of spaces and tabs: a line end is not valid
}

// once notes that a field occurred, and refuses it when it did so before.
func (h *head) once(f fieldSet, again *Violation) *Violation {
	if h.has&f != 0 {
		return again
	}
	h.has |= f
	return nil
}

func (h *head) judgeHost(line, host []byte) *Violation {
	if v := h.once(hostField, hostDuplicate); v != nil {
		return v
	}
	if bytes.IndexByte(host, '@') >= 0 {
		return userinfo
	}
	if !validHost(host) {
		return hostInvalid
	}
	from := h.line + len("host:")
	for _, c := range line[len("host:"):] {
		if c != ' ' && c != '\t' {
			break
		}
		from++
	}
	h.host = span{from, from + len(host)}
	return nil
}

// judgeExpect refuses what is not 100-continue (RFC 9110 §10.1.1), and any
// expectation of HTTP/1.0, which a server must ignore and fasthttp does not.
func (h *head) judgeExpect(value []byte) *Violation {
	if v := h.once(expect, duplicateField); v != nil {
		return v
	}
	if h.has&http10 != 0 || !equalFold(value, "100-continue") {
		return expectationFailed
	}
	return nil
}

func (h *head) judgeConnection(value []byte) *Violation {
	for more := true; more; {
		var option []byte
		option, value, more = bytes.Cut(value, []byte{','})
		option = textproto.TrimBytes(option)
		// Empty members count too: each option costs the handler a look at every
		// field.
		if h.options++; h.options > maxConnectionOptions {
			return connectionOption
		}
		switch {
		case len(option) == 0:
		case !isToken(option):
			return connectionOption
		case equalFold(option, "close"):
			h.has |= closeOption
		case equalFold(option, "keep-alive"):
			h.has |= keepAliveOption
		}
	}
	return nil
}

// judgeContentLength wants 1*DIGIT without a leading zero, which some parsers
// take for octal, in an int64.
func (h *head) judgeContentLength(value []byte) *Violation {
	if v := h.once(contentLength, contentLengthDuplicate); v != nil {
		return v
	}
	if len(value) == 0 || len(value) > 18 || value[0] == '0' && len(value) > 1 {
		return contentLengthInvalid
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return contentLengthInvalid
		}
		h.length = h.length*10 + int64(c-'0')
	}
	return nil
}

func (h *head) judgeTransferEncoding(value []byte) *Violation {
	if v := h.once(transferEncoding, transferEncodingDuplicate); v != nil {
		return v
	}
	if h.has&http10 != 0 {
		return transferEncodingHTTP10
	}
	if !equalFold(value, "chunked") {
		return transferEncodingInvalid
	}
	return nil
}

// isFramingName reports whether name, which has an alias of '-', is another
// spelling of a field that frames the message.
func isFramingName(name []byte) bool {
	switch len(name) {
	case len("content-length"):
		return equalFoldDash(name, "content-length")
	case len("transfer-encoding"):
		return equalFoldDash(name, "transfer-encoding")
	}
	return false
}

// equalFoldDash is equalFold with every alias taken for '-'.
func equalFoldDash(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i := range len(lower) {
		c := name[i] | 0x20
		if octets[name[i]]&aliasOctet != 0 {
			c = '-'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// judgeWhole judges what only the whole block can tell.
func (h *head) judgeWhole(block []byte) *Violation {
	switch {
	case h.has&hostField == 0:
		// HTTP/1.0 has no such rule, but a route cannot be chosen without a host.
		return hostMissing
	case h.has&(contentLength|transferEncoding) == contentLength|transferEncoding:
		return teAndCL
	case h.has&absoluteForm != 0 && !bytes.EqualFold(h.authority.of(block), h.host.of(block)):
		return hostMismatch
	}
	return nil
}
