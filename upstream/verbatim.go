package upstream

import (
	"bytes"
	"net/http"
	"net/textproto"
	"sync/atomic"
	"time"
)

// Verbatim is where a response goes that can be passed on as the octets that it came in:
// what is taken apart into a [fasthttp.Response] is put together again from it, and most
// responses need neither.
//
// Such a response is one in HTTP/1.1 that arrived whole, with a Content-Length and without
// anything that fasthttp would read differently from others or that concerns the
// connection to the backend. The answer to HEAD, one without a body by its status, and one
// to a request whose body was not sent to its end are none. A Date is added where there is
// none.
type Verbatim struct {
	// Filter is asked about every field, with its name as it came and its value without
	// white space around it: keep says that the field is passed on, verbatim that nothing else of
	// the response has to be changed because of it.
	Filter func(name, value []byte) (keep, verbatim bool)
	// Fields are field lines, each with its end, that are sent behind those of the response.
	Fields []byte

	// Status is that of the response if it is here, or 0 if it is in Call.Response.
	Status int
	// Octets is the response, from its status line to the last of its body. The memory is
	// used again.
	Octets []byte

	dated bool // Octets has a Date
}

// Fields that a response has once at most.
const (
	onceDate = 1 << iota
	onceLength
	onceType
	onceEncoding
	onceServer
)

// take takes the header of the response that arrived begins with, without the blank line. It
// returns how long that is with the blank line, and how long the body behind it is. status is
// 0 if the response is not whole, or not one to pass on verbatim.
func (v *Verbatim) take(arrived []byte) (status, head, body int) {
	line, rest, ok := cutLine(arrived)
	if status = verbatimStatus(line); !ok || status == 0 {
		return 0, 0, 0
	}
	v.Octets = v.Octets[:0]
	seen := 0
	from := arrived // what is to be copied, and not yet
	for {
		at := rest
		if line, rest, ok = cutLine(rest); !ok {
			return 0, 0, 0
		}
		if len(line) == 0 {
			v.Octets = append(v.Octets, from[:len(from)-len(at)]...)
			break
		}
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 || !isCommonName(line[:colon]) {
			return 0, 0, 0
		}
		name, value := line[:colon], textproto.TrimBytes(line[colon+1:]) // of spaces and tabs: there are no line ends in it
		field, ok := verbatimField(name, value)
		if !ok || seen&field != 0 {
			return 0, 0, 0
		}
		seen |= field
		if field == onceLength {
			if body, ok = shortNumber(value); !ok {
				return 0, 0, 0
			}
		}
		keep, verbatim := v.Filter(name, value)
		if !verbatim {
			return 0, 0, 0
		}
		if !keep {
			v.Octets = append(v.Octets, from[:len(from)-len(at)]...)
			from = rest
		}
	}
	if seen&onceLength == 0 || len(rest) < body {
		return 0, 0, 0
	}
	v.dated = seen&onceDate != 0
	return status, len(arrived) - len(rest), body
}

// complete puts behind the header what is added to it, and the body. now is when the response
// arrived: a recipient with a clock has to add a Date (RFC 9110 §6.6.1).
func (v *Verbatim) complete(status int, body []byte, now time.Time) {
	if !v.dated {
		v.Octets = appendDate(v.Octets, now)
	}
	v.Octets = append(append(v.Octets, v.Fields...), "\r\n"...)
	v.Octets = append(v.Octets, body...)
	v.Status = status
}

// lastDate is what appendDate appended last: to write a Date anew takes about as long as to judge
// a header (BenchmarkVerbatim).
var lastDate atomic.Pointer[dateLine]

type dateLine struct {
	second int64
	text   string
}

func appendDate(dst []byte, now time.Time) []byte {
	d := lastDate.Load()
	if d == nil || d.second != now.Unix() {
		d = &dateLine{now.Unix(), "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"}
		lastDate.Store(d)
	}
	return append(dst, d.text...)
}

// cutLine returns the first line of b without its CRLF, and what is behind that. It returns
// false if there is no such line, or if it has an octet that no line must have.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	end := bytes.IndexByte(b, '\n')
	if end <= 0 || b[end-1] != '\r' {
		return nil, nil, false
	}
	line = b[:end-1]
	var all uint8
	for _, c := range line {
		all |= lineOctets[c]
	}
	return line, b[end+1:], all&notInLine == 0
}

// verbatimStatus returns the status of a status line, or 0 if the response cannot be verbatim.
func verbatimStatus(line []byte) int {
	const start, rest = "HTTP/1.1 ", "200 "
	if len(line) < len(start)+len(rest) || string(line[:len(start)]) != start || line[len(start)+len(rest)-1] != ' ' {
		return 0
	}
	status, ok := shortNumber(line[len(start) : len(start)+len(rest)-1])
	if !ok || status < 200 || status == 204 || status == 304 {
		return 0
	}
	return status
}

// verbatimField returns which of the fields that are there once at most name is, 0 for any
// other, and whether a response with it can be verbatim. fasthttp takes the last of several,
// and none that are empty.
func verbatimField(name, value []byte) (field int, verbatim bool) {
	switch len(name) {
	case len("Date"):
		if bytes.EqualFold(name, []byte("Date")) {
			field = onceDate
		}
	case len("Server"):
		if bytes.EqualFold(name, []byte("Server")) {
			field = onceServer
		}
	case len("Trailer"):
		return 0, !bytes.EqualFold(name, []byte("Trailer"))
	case len("Connection"):
		return 0, !bytes.EqualFold(name, []byte("Connection")) || bytes.EqualFold(value, []byte("keep-alive"))
	case len("Content-Type"):
		if bytes.EqualFold(name, []byte("Content-Type")) {
			field = onceType
		}
	case len("Content-Length"):
		if bytes.EqualFold(name, []byte("Content-Length")) {
			field = onceLength
		}
	case len("Content-Encoding"):
		if bytes.EqualFold(name, []byte("Content-Encoding")) {
			field = onceEncoding
		}
	case len("Transfer-Encoding"):
		return 0, !bytes.EqualFold(name, []byte("Transfer-Encoding"))
	}
	return field, field == 0 || len(value) > 0
}

// shortNumber reads a number in its shortest form.
func shortNumber(digits []byte) (n int, ok bool) {
	const maxDigits = 9 // much more than a buffer holds
	if len(digits) == 0 || len(digits) > maxDigits || digits[0] == '0' && len(digits) > 1 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// isCommonName reports whether name is of letters, digits, '-' and '_'.
func isCommonName(name []byte) bool {
	var all uint8
	for _, c := range name {
		all |= lineOctets[c]
	}
	return all == 0
}

const (
	notInName = 1 << iota
	notInLine
)

// lineOctets says of every octet where it must not be.
var lineOctets = func() (t [256]uint8) {
	for i := range t {
		switch c := byte(i); {
		case c < 0x20 && c != '\t', c == 0x7f:
			t[i] = notInName | notInLine
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			t[i] = notInName
		}
	}
	return t
}()
