package http1gate_test

import (
	"slices"
	"strings"
	"testing"

	"verigate/http1gate"
)

// An attack is what a peer sends on one connection, and what becomes of it.
type attack struct {
	name   string
	raw    string
	code   string // of the violation; empty: none
	served int    // requests that a server serves whole before the refusal
}

const (
	get      = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	chunked  = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
)

func line(s string) string   { return s + "\r\nHost: a\r\n\r\n" }
func target(s string) string { return line("GET " + s + " HTTP/1.1") }
func host(s string) string   { return "GET / HTTP/1.1\r\nHost: " + s + "\r\n\r\n" }
func field(s string) string  { return "GET / HTTP/1.1\r\nHost: a\r\n" + s + "\r\n\r\n" }
func post(s string) string {
	return "POST / HTTP/1.1\r\nHost: a\r\n" + s + "\r\n\r\nhello" + smuggled
}

// limits of the attacks: small enough that a test can exceed them.
var attackLimits = &http1gate.Limits{
	MaxHeaderBytes: 1024, MaxFields: 12, MaxTargetBytes: 256, MaxTrailerBytes: 64,
	Reserved: func(name []byte) bool {
		return strings.EqualFold(strings.NewReplacer("_", "-", ".", "-", "~", "-").Replace(string(name)), "client-cert")
	},
}

var attacks = []attack{
	// Well-formed requests pass, or the refusals below would prove nothing.
	{"a plain request", get, "", 1},
	{"two pipelined requests", get + get, "", 2},
	{"a body with a length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + get, "", 2},
	{"a length of zero", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" + get, "", 2},
	{"a chunked body", chunked + "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n" + get, "", 2},
	{"chunk extensions and trailers", chunked + "5;a=b;c=\"d\\\"\\\\;e\"\r\nhello\r\n00;x\r\nX-Sum: y\r\nZ:\r\n\r\n" + get, "", 2},
	{"a body on GET", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\n" + smuggled, "", 1},
	{"one blank line before a request", "\r\n" + get + "\r\n" + get, "", 2},
	{"HTTP/1.0 kept alive", "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n" + get, "", 2},
	{"HTTP/1.0 is one request", "GET / HTTP/1.0\r\nHost: a\r\n\r\n" + smuggled, "", 1},
	{"nothing behind Connection: close", field("Connection: close") + smuggled, "", 1},
	{"nothing behind Close in a list", field("Connection: foo, Close") + smuggled, "", 1},
	{"nothing behind two Connection fields", field("Connection: close\r\nConnection: keep-alive") + smuggled, "", 1},
	{"obs-text, empty and padded values", field("X: \xe9\r\nY:\r\nZ: \t b \t"), "", 1},
	{"absolute form", "GET HTTP://A/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "", 1},
	{"absolute form with a port", "GET https://a:8443/ HTTP/1.1\r\nHost: a:8443\r\n\r\n", "", 1},
	{"OPTIONS *", line("OPTIONS * HTTP/1.1"), "", 1},
	{"100-continue", "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\nhello", "", 1},
	{"hosts of every kind", host("A.b-c_d.example:65535") + host("[2001:db8::1]:443") + host("192.0.2.1") + host("a."), "", 4},
	{"a query is not a path", target("/x?u=http://b//../%2f&f[a]=b|c%zz/."), "", 1},
	{"characters and escapes of a path", target("/a;v=1/b.c/...;x/%C3%A9%20%25%2521%EF%BF%BD/@:!$&'()*+,=~_-/"), "", 1},
	{"an underscore that spells nothing", field("X_Y: b"), "", 1},
	{"a reserved name in plain spelling is for the handler", field("Client-Cert: :AA==:"), "", 1},
	{"a truncated header block", "GET / HTTP/1.1\r\nHost: a\r\n", "", 0},
	{"octets behind an upgrade are judged when they are asked for", field("Connection: Upgrade\r\nUpgrade: websocket") + "\x81\x05hello", http1gate.MethodSyntax, 1},

	// Line ends.
	{"LF alone everywhere", "GET / HTTP/1.1\nHost: a\n\n", http1gate.BareLF, 0},
	{"LF alone behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", http1gate.BareLF, 0},
	{"LF alone behind a field", field("X: b\nY: c"), http1gate.BareLF, 0},
	{"LF alone hides Transfer-Encoding", post("X: a\nTransfer-Encoding: chunked\r\nContent-Length: 40"), http1gate.BareLF, 0},
	{"LF alone as the blank line", "GET / HTTP/1.1\r\nHost: a\r\n\n", http1gate.BareLF, 0},
	{"LF alone before the request", "\n" + get, http1gate.BareLF, 0},
	{"CR alone in a value", field("X: b\rY: c"), http1gate.BareCR, 0},
	{"CR alone hides Transfer-Encoding", post("X: a\rTransfer-Encoding: chunked\r\nContent-Length: 5"), http1gate.BareCR, 0},
	{"CR alone in a name", field("X\rY: c"), http1gate.BareCR, 0},
	{"CR alone before the request", "\r" + get, http1gate.BareCR, 0},
	{"CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", http1gate.BareCR, 0},
	{"CR in the target", target("/\rx"), http1gate.TargetOctet, 0},
	{"many blank lines", strings.Repeat("\r\n", 3) + get, http1gate.BlankLines, 0},
	{"many blank lines between requests", get + strings.Repeat("\r\n", 3) + smuggled, http1gate.BlankLines, 1},
	{"blank lines and then another protocol", "\r\n\x16\x03\x01", http1gate.MethodSyntax, 0},

	// The request line.
	{"TLS on the plain port", "\x16\x03\x01\x00\x05hello", http1gate.MethodSyntax, 0},
	{"a method that is not a token", line("GE(T / HTTP/1.1"), http1gate.MethodSyntax, 0},
	{"a method without end", strings.Repeat("A", 100), http1gate.MethodSyntax, 0},
	{"no method", line(" / HTTP/1.1"), http1gate.MethodSyntax, 0},
	{"a tab between method and target", line("GET\t/ HTTP/1.1"), http1gate.MethodSyntax, 0},
	{"two spaces", line("GET  / HTTP/1.1"), http1gate.RequestLine, 0},
	{"a space behind the version", line("GET / HTTP/1.1 "), http1gate.RequestLine, 0},
	{"a space in the target", target("/a b"), http1gate.RequestLine, 0},
	{"HTTP/0.9 without version", "GET /\r\n", http1gate.RequestLine, 0},
	{"http/1.1", line("GET / http/1.1"), http1gate.RequestLine, 0},
	{"HTTP/1.10", line("GET / HTTP/1.10"), http1gate.RequestLine, 0},
	{"HTTP/0.9", line("GET / HTTP/0.9"), http1gate.VersionNotSupported, 0},
	{"HTTP/1.2", line("GET / HTTP/1.2"), http1gate.VersionNotSupported, 0},
	{"HTTP/2.0", line("GET / HTTP/2.0"), http1gate.VersionNotSupported, 0},
	{"the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", http1gate.VersionNotSupported, 0},
	{"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", http1gate.TargetForm, 0},
	{"CONNECT with a path", line("CONNECT / HTTP/1.1"), http1gate.MethodNotAllowed, 0},
	{"TRACE", line("TRACE / HTTP/1.1"), http1gate.MethodNotAllowed, 0},
	{"an unknown method", line("TRACK / HTTP/1.1"), http1gate.MethodNotAllowed, 0},
	{"a method in lower case", line("get / HTTP/1.1"), http1gate.MethodNotAllowed, 0},
	{"a long target", target("/" + strings.Repeat("a", 400)), http1gate.TargetTooLong, 0},

	// The target.
	{"* with GET", target("*"), http1gate.TargetForm, 0},
	{"a relative target", target("a"), http1gate.TargetForm, 0},
	{"an authority with GET", target("a:80"), http1gate.TargetForm, 0},
	{"an unknown scheme", target("gopher://a/"), http1gate.TargetForm, 0},
	{"userinfo in the target", target("http://u:p@a/"), http1gate.Userinfo, 0},
	{"another authority in the target", target("http://b/x"), http1gate.HostMismatch, 0},
	{"another port in the target", target("http://a:80/x"), http1gate.HostMismatch, 0},
	{"a bad authority in the target", target("http://a,b/"), http1gate.HostInvalid, 0},
	{"an absolute target without path", target("http://a"), http1gate.AmbiguousPath, 0},
	{"an absolute target without path but a query", target("http://a?/b"), http1gate.HostInvalid, 0},
	{"a fragment", target("/a#b"), http1gate.TargetFragment, 0},
	{"a fragment behind a query", target("/a?b#c"), http1gate.TargetFragment, 0},
	{"NUL in the target", target("/\x00x"), http1gate.TargetOctet, 0},
	{"a control in the query", target("/?\x01"), http1gate.TargetOctet, 0},
	{"DEL in the target", target("/\x7f"), http1gate.TargetOctet, 0},
	{"8 bits in the target", target("/\xe9"), http1gate.TargetOctet, 0},
	{"braces in a path", target("/{a}"), http1gate.TargetOctet, 0},

	// The path (AUTHZ-07).
	{"an encoded slash", target("/a%2fb"), http1gate.AmbiguousPath, 0},
	{"an encoded backslash", target("/a%5Cb"), http1gate.AmbiguousPath, 0},
	{"an encoded NUL", target("/a%00"), http1gate.AmbiguousPath, 0},
	{"an encoded line end", target("/a%0d%0ab"), http1gate.AmbiguousPath, 0},
	{"a backslash", target(`/a\..\b`), http1gate.AmbiguousPath, 0},
	{"a dot segment", target("/a/./b"), http1gate.AmbiguousPath, 0},
	{"two dots", target("/a/../b"), http1gate.AmbiguousPath, 0},
	{"two dots first", target("/../b"), http1gate.AmbiguousPath, 0},
	{"two dots last", target("/a/.."), http1gate.AmbiguousPath, 0},
	{"two dots before a query", target("/a/..?b"), http1gate.AmbiguousPath, 0},
	{"two encoded dots", target("/a/%2e%2E/b"), http1gate.AmbiguousPath, 0},
	{"a dot and an encoded dot", target("/a/.%2e/b"), http1gate.AmbiguousPath, 0},
	{"two dots with parameters", target("/a/..;x=y/b"), http1gate.AmbiguousPath, 0},
	{"a dot with escaped parameters", target("/a/.%3bx/b"), http1gate.AmbiguousPath, 0},
	{"two dots with escaped parameters", target("/a/..%3Bx"), http1gate.AmbiguousPath, 0},
	{"a segment of escaped parameters only", target("/a/%3bx/b"), http1gate.AmbiguousPath, 0},
	{"three dots with escaped parameters", target("/a/...%3bx/b%3bc"), "", 1},
	{"a segment of parameters only", target("/a/;x/b"), http1gate.AmbiguousPath, 0},
	{"an empty segment", target("/a//b"), http1gate.AmbiguousPath, 0},
	{"an empty first segment", target("//b"), http1gate.AmbiguousPath, 0},
	{"an empty first segment and a query", target("//?b"), http1gate.AmbiguousPath, 0},
	{"an encoded letter", target("/%61dmin"), http1gate.AmbiguousPath, 0},
	{"an escape that is none", target("/%zz"), http1gate.AmbiguousPath, 0},
	{"an escape cut short", target("/a%2"), http1gate.AmbiguousPath, 0},
	{"an overlong slash", target("/%c0%af"), http1gate.AmbiguousPath, 0},
	{"an overlong slash of three", target("/%e0%80%af"), http1gate.AmbiguousPath, 0},
	{"half a character", target("/%c3/x"), http1gate.AmbiguousPath, 0},
	{"Latin-1", target("/%e9"), http1gate.AmbiguousPath, 0},
	{"dots in an absolute target", target("http://a/b/../c"), http1gate.AmbiguousPath, 0},

	// Host (RFC 9112 §3.2).
	{"no Host", "GET / HTTP/1.1\r\nX: y\r\n\r\n", http1gate.HostMissing, 0},
	{"no Host in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", http1gate.HostMissing, 0},
	{"two equal Hosts", field("Host: a"), http1gate.HostDuplicate, 0},
	{"two Hosts in different case", field("hOST: b"), http1gate.HostDuplicate, 0},
	{"userinfo in Host", host("u@a"), http1gate.Userinfo, 0},
	{"an empty Host", host(""), http1gate.HostInvalid, 0},
	{"two hosts in one", host("a,b"), http1gate.HostInvalid, 0},
	{"a space in Host", host("a b"), http1gate.HostInvalid, 0},
	{"a tab in Host", host("a\tb"), http1gate.HostInvalid, 0},
	{"a slash in Host", host("a/b"), http1gate.HostInvalid, 0},
	{"brackets in Host", host("<a>"), http1gate.HostInvalid, 0},
	{"8 bits in Host", host("\xe9"), http1gate.HostInvalid, 0},
	{"an escape in Host", host("%00a"), http1gate.HostInvalid, 0},
	{"an empty label", host("a..b"), http1gate.HostInvalid, 0},
	{"a port that is too large", host("a:65536"), http1gate.HostInvalid, 0},
	{"a port of many digits", host("a:99999999999999999999"), http1gate.HostInvalid, 0},
	{"a port of no digits", host("a:"), http1gate.HostInvalid, 0},
	{"a port that is none", host("a:zz"), http1gate.HostInvalid, 0},
	{"a negative port", host("a:-1"), http1gate.HostInvalid, 0},
	{"two ports", host("a:1:2"), http1gate.HostInvalid, 0},
	{"an open bracket", host("[::1"), http1gate.HostInvalid, 0},
	{"an address with a zone", host("[fe80::1%25en0]"), http1gate.HostInvalid, 0},
	{"an IPv4 address in brackets", host("[192.0.2.1]"), http1gate.HostInvalid, 0},

	// Fields.
	{"a folded line", field("X: a\r\n b"), http1gate.ObsFold, 0},
	{"a line folded by a tab", field("X: a\r\n\tb"), http1gate.ObsFold, 0},
	{"white space behind the request line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", http1gate.ObsFold, 0},
	{"a fold hides Transfer-Encoding", post("X: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 5"), http1gate.ObsFold, 0},
	{"no colon", field("Xb"), http1gate.FieldSyntax, 0},
	{"no name", field(": b"), http1gate.FieldName, 0},
	{"a space in a name", field("X Y: b"), http1gate.FieldName, 0},
	{"a space in Transfer-Encoding", post("Transfer Encoding: chunked"), http1gate.FieldName, 0},
	{"NUL in a name", field("X\x00: b"), http1gate.FieldName, 0},
	{"8 bits in a name", field("X\xe9: b"), http1gate.FieldName, 0},
	{"a space before the colon", field("X : b"), http1gate.SpaceBeforeColon, 0},
	{"a tab before the colon of Content-Length", post("Content-Length\t: 5"), http1gate.SpaceBeforeColon, 0},
	{"NUL in a value", field("X: a\x00b"), http1gate.FieldValue, 0},
	{"a control far into a value", field("X: aaaaaaaaaaaaaaaaaaaaa\x01aaaaaaaaaaaaaaaaaaaaaa"), http1gate.FieldValue, 0},
	{"DEL in a value", field("X: a\x7fbbbbbbbb"), http1gate.FieldValue, 0},
	{"two Content-Types", field("Content-Type: a/b\r\nContent-Type: c/d"), http1gate.DuplicateField, 0},
	{"two User-Agents", field("User-Agent: a\r\nUser-agent: b"), http1gate.DuplicateField, 0},
	{"two Expects", field("Expect: 100-continue\r\nExpect: 100-continue"), http1gate.DuplicateField, 0},
	{"Connection options that are none", field("Connection: keep alive"), http1gate.ConnectionOption, 0},
	{"very many Connection options", field("Connection: " + strings.Repeat("a,", 40)), http1gate.ConnectionOption, 0},
	{"an unknown expectation", post("Expect: 200-maybe\r\nContent-Length: 5"), http1gate.ExpectationFailed, 0},
	{"an expectation of HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", http1gate.ExpectationFailed, 0},
	{"Transfer_Encoding", post("Transfer_Encoding: chunked\r\nContent-Length: 5"), http1gate.ReservedName, 0},
	{"content_length", post("content_length: 5"), http1gate.ReservedName, 0},
	{"a reserved name with an underscore", field("client_cert: x"), http1gate.ReservedName, 0},
	{"a reserved name with a dot", field("Client.Cert: x"), http1gate.ReservedName, 0},
	{"a reserved name with a tilde", field("Client~Cert: x"), http1gate.ReservedName, 0},
	{"a framing name with a dot", field("Transfer.Encoding: chunked"), http1gate.ReservedName, 0},
	{"a dot in another name", field("Client.Certs: x"), "", 1},
	{"too many fields", field(strings.Repeat("X: y\r\n", 12) + "Z: z"), http1gate.TooManyFields, 0},
	{"a large header block", field("X: " + strings.Repeat("a", 1100)), http1gate.HeaderTooLarge, 0},
	{"a large header block of many lines", field("A: b" + strings.Repeat("\r\nX: "+strings.Repeat("a", 120), 10)), http1gate.HeaderTooLarge, 0},
	{"a forbidden trailer is announced", field("Trailer: X, Content-Length"), http1gate.TrailerForbidden, 0},
	{"a reserved trailer is announced", field("Trailer: Client-Cert"), http1gate.TrailerForbidden, 0},
	{"an announcement that is none", field("Trailer: a b"), http1gate.FieldValue, 0},

	// Framing.
	{"both framings", post("Transfer-Encoding: chunked\r\nContent-Length: 5"), http1gate.TEAndCL, 0},
	{"both framings, length first", post("Content-Length: 5\r\nTransfer-Encoding: chunked"), http1gate.TEAndCL, 0},
	{"two equal lengths", post("Content-Length: 5\r\nContent-Length: 5"), http1gate.ContentLengthDuplicate, 0},
	{"two lengths", post("Content-Length: 0\r\ncontent-length: 5"), http1gate.ContentLengthDuplicate, 0},
	{"a list of lengths", post("Content-Length: 5, 5"), http1gate.ContentLengthInvalid, 0},
	{"a signed length", post("Content-Length: +5"), http1gate.ContentLengthInvalid, 0},
	{"an octal length", post("Content-Length: 0005"), http1gate.ContentLengthInvalid, 0},
	{"a length of too many digits", post("Content-Length: 18446744073709551621"), http1gate.ContentLengthInvalid, 0},
	{"an empty length", post("Content-Length:"), http1gate.ContentLengthInvalid, 0},
	{"a hexadecimal length", post("Content-Length: 0x5"), http1gate.ContentLengthInvalid, 0},
	{"identity without length", post("Transfer-Encoding: identity"), http1gate.TransferEncodingInvalid, 0},
	{"identity with length", post("Transfer-Encoding: identity\r\nContent-Length: 5"), http1gate.TransferEncodingInvalid, 0},
	{"gzip, chunked", post("Transfer-Encoding: gzip, chunked"), http1gate.TransferEncodingInvalid, 0},
	{"chunked twice", post("Transfer-Encoding: chunked, chunked"), http1gate.TransferEncodingInvalid, 0},
	{"chunked with a parameter", post("Transfer-Encoding: chunked;a=b"), http1gate.TransferEncodingInvalid, 0},
	{"an empty Transfer-Encoding", post("Transfer-Encoding:"), http1gate.TransferEncodingInvalid, 0},
	{"two Transfer-Encodings", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), http1gate.TransferEncodingDuplicate, 0},
	{"Transfer-Encoding in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", http1gate.TransferEncodingHTTP10, 0},

	// Chunks. The server has the request by then, and cannot read its body.
	{"a chunk size in C", chunked + "0x5\r\nhello\r\n0\r\n\r\n" + smuggled, http1gate.ChunkSize, 0},
	{"a signed chunk size", chunked + "+5\r\nhello\r\n0\r\n\r\n" + smuggled, http1gate.ChunkSize, 0},
	{"no chunk size", chunked + "\r\nhello\r\n0\r\n\r\n" + smuggled, http1gate.ChunkSize, 0},
	{"a space behind a chunk size", chunked + "5 \r\nhello\r\n0\r\n\r\n" + smuggled, http1gate.ChunkSize, 0},
	{"a chunk size of too many digits", chunked + "1000000000000005\r\nhello\r\n0\r\n\r\n" + smuggled, http1gate.ChunkSize, 0},
	{"LF alone behind a chunk size", chunked + "5\nhello\r\n0\r\n\r\n" + smuggled, http1gate.ChunkSize, 0},
	{"CR alone behind a chunk size", chunked + "5\rhello\r\n0\r\n\r\n" + smuggled, http1gate.ChunkSize, 0},
	{"LF alone behind the last chunk size", chunked + "5\r\nhello\r\n0\n\n" + smuggled, http1gate.ChunkSize, 0},
	{"an extension with NUL", chunked + "5;\x00\r\nhello\r\n0\r\n\r\n" + smuggled, http1gate.ChunkExtension, 0},
	{"an extension with LF", chunked + "5;a\nb\r\nhello\r\n0\r\n\r\n" + smuggled, http1gate.ChunkExtension, 0},
	{"an extension without name", chunked + "5;\r\nhello\r\n0\r\n\r\n" + smuggled, http1gate.ChunkExtension, 0},
	{"an extension without value", chunked + "5;a=\r\nhello\r\n0\r\n\r\n" + smuggled, http1gate.ChunkExtension, 0},
	{"an extension that hides a line end in quotes", chunked + "5;a=\"\r\nhello\r\n0\r\n\r\n" + smuggled, http1gate.ChunkExtension, 0},
	{"an extension with an escaped line end", chunked + "5;a=\"\\\r\n\"\r\nhello\r\n0\r\n\r\n" + smuggled, http1gate.ChunkExtension, 0},
	{"a long extension", chunked + "5;" + strings.Repeat("a", 80) + "\r\nhello\r\n0\r\n\r\n", http1gate.ChunkExtension, 0},
	{"many extensions", chunked + strings.Repeat("1;aaaaaaaaa\r\nx\r\n", 8) + "0\r\n\r\n", http1gate.ChunkExtension, 0},
	{"chunk data that is too long", chunked + "5\r\nhelloXX\r\n0\r\n\r\n" + smuggled, http1gate.ChunkData, 0},
	{"chunk data without line end", chunked + "5\r\nhello0\r\n\r\n" + smuggled, http1gate.ChunkData, 0},
	{"chunk data with CR alone", chunked + "5\r\nhello\rX0\r\n\r\n" + smuggled, http1gate.ChunkData, 0},
	{"chunk data with LF alone", chunked + "5\r\nhello\n0\r\n\r\n" + smuggled, http1gate.ChunkData, 0},
	{"a trailer without colon", chunked + "5\r\nhello\r\n0\r\nXy\r\n\r\n" + smuggled, http1gate.TrailerSyntax, 0},
	{"a trailer with a space before the colon", chunked + "5\r\nhello\r\n0\r\nX : y\r\n\r\n" + smuggled, http1gate.TrailerSyntax, 0},
	{"a trailer ended by LF", chunked + "5\r\nhello\r\n0\r\nX: y\n\r\n" + smuggled, http1gate.TrailerSyntax, 0},
	{"a trailer with CR alone", chunked + "5\r\nhello\r\n0\r\nX: a\rb\r\n\r\n" + smuggled, http1gate.TrailerSyntax, 0},
	{"a folded trailer", chunked + "5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n" + smuggled, http1gate.TrailerSyntax, 0},
	{"a trailer section ended by LF", chunked + "5\r\nhello\r\n0\r\n\n" + smuggled, http1gate.TrailerSyntax, 0},
	{"a trailer section ended by CR alone", chunked + "5\r\nhello\r\n0\r\n\r" + smuggled, http1gate.TrailerSyntax, 0},
	{"Content-Length as trailer", chunked + "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n" + smuggled, http1gate.TrailerForbidden, 0},
	{"x_forwarded_for as trailer", chunked + "5\r\nhello\r\n0\r\nx_forwarded_for: b\r\n\r\n" + smuggled, http1gate.TrailerForbidden, 0},
	{"a reserved name as trailer", chunked + "5\r\nhello\r\n0\r\nClient_Cert: b\r\n\r\n" + smuggled, http1gate.TrailerForbidden, 0},
	{"a large trailer section", chunked + "5\r\nhello\r\n0\r\nX: " + strings.Repeat("a", 80) + "\r\n\r\n", http1gate.TrailerTooLarge, 0},

	// Truncation must not look like an end.
	{"a truncated body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhello", "", 0},
	{"a truncated chunk", chunked + "5\r\nhel", "", 0},
	{"a chunked body without last chunk", chunked + "5\r\nhello\r\n", "", 0},
	{"a last chunk without end", chunked + "5\r\nhello\r\n0", "", 0},
	{"a last chunk without trailer section", chunked + "5\r\nhello\r\n0\r\n", "", 0},
	{"half the end of the trailer section", chunked + "5\r\nhello\r\n0\r\n\r", "", 0},

	// The requests before a refused one are answered.
	{"a good request and a bad one", get + target("/../x") + smuggled, http1gate.AmbiguousPath, 1},
	{"a good body and a bad request", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + host("u@a"), http1gate.Userinfo, 1},
	{"a good request and a bad body", get + chunked + "5\r\nhelloX", http1gate.ChunkData, 1},
}

func isSmuggled(request string) bool { return strings.HasPrefix(request, "GET /smuggled") }

// Every input, through a real server on a real socket.
func TestAttacks(t *testing.T) {
	t.Parallel()
	s := serve(t, attackLimits, record)
	for _, a := range attacks {
		x := s.send(t, a.raw)
		if got := code(x.violation); got != a.code && (a.code != "" || got != "none") {
			t.Errorf("%s: the violation is %s, want %s", a.name, got, a.code)
		}
		if len(x.served) != a.served || slices.ContainsFunc(x.served, isSmuggled) {
			t.Errorf("%s: %q were served, want %d requests and nothing smuggled", a.name, x.served, a.served)
		}
		if a.code == "" || x.violation == nil {
			continue
		}
		final := slices.DeleteFunc(slices.Clone(x.responses), func(status int) bool { return status == 100 })
		if len(final) != a.served+1 {
			t.Errorf("%s: the responses are %v, want %d and one refusal", a.name, x.responses, a.served)
		} else if status := final[a.served]; x.broken == 0 && status != x.violation.Status {
			t.Errorf("%s: refused with %d, want %d", a.name, status, x.violation.Status)
		}
	}
}

// Every code is reached by a test, so that none is dead and none is untested.
func TestEveryCodeIsReached(t *testing.T) {
	t.Parallel()
	reached := map[string]bool{http1gate.HeaderTimeout: true} // TestSlowHeaderIsRefused
	for _, a := range attacks {
		reached[a.code] = true
	}
	codes := http1gate.Codes()
	for i, c := range codes {
		if !reached[c] {
			t.Errorf("no attack leads to %s", c)
		}
		if i > 0 && codes[i-1] >= c {
			t.Errorf("Codes() has %s and then %s, want sorted and unique", codes[i-1], c)
		}
	}
}

// What the server sees, and the verdict, do not depend on how the octets of the
// stream fall into reads, nor on how much the reader asks for at once.
func TestVerdictIsIndependentOfSegmentation(t *testing.T) {
	t.Parallel()
	for _, a := range attacks {
		whole := pass(attackLimits, 32<<10, a.raw)
		check := func(how string, got passed) {
			t.Helper()
			if got != whole {
				t.Errorf("%s, %s:\n\t%+v, but in one piece\n\t%+v", a.name, how, got, whole)
			}
		}
		for i := 1; i < len(a.raw); i++ {
			check("in two pieces", pass(attackLimits, 32<<10, a.raw[:i], a.raw[i:]))
		}
		check("octet by octet", pass(attackLimits, 32<<10, strings.Split(a.raw, "")...))
		for _, size := range []int{1, 3, 64} {
			check("read in small pieces", pass(attackLimits, size, a.raw))
		}
		check("octet by octet both ways", pass(attackLimits, 1, strings.Split(a.raw, "")...))
	}
}
