package handoff

// class is what is to become of a field.
type class uint8

const (
	endToEnd   class = iota // passes
	hop                     // for one connection only (RFC 9110 §7.6.1)
	connection              // hop, and names others
	reserved                // what only a gateway may say
	baggage                 // context that strangers must not inject (AUD-09)
	txnToken                // reserved unless the caller belongs to the domain (APP-10)
	vary                    // looked at in responses
)

// classify returns what is to become of a field by its name. It takes any case,
// and for '-' every octet that is neither letter nor digit: CGI, WSGI and their
// like read Client_Cert as Client-Cert (FWD-02, RFC 9440 Appendix B.1), and some
// of them Client.Cert and Client~Cert too.
//
// It is a switch over the first octet, since most fields of a request can be let
// go by that alone.
func classify(name []byte) class {
	if len(name) < 2 {
		return endToEnd
	}
	switch name[0] | 0x20 {
	case 'b':
		if is(name, "baggage") {
			return baggage
		}
	case 'c':
		switch {
		case is(name, "connection"):
			return connection
		case is(name, "client-cert"), is(name, "client-cert-chain"):
			return reserved
		}
	case 'f':
		if is(name, "forwarded") {
			return reserved
		}
	case 'h':
		if is(name, "http2-settings") {
			return hop
		}
	case 'k':
		if is(name, "keep-alive") {
			return hop
		}
	case 'p':
		// Proxy-Connection, Proxy-Authorization and the rest of them; and Proxy
		// itself, which CGI turns into HTTP_PROXY.
		if begins(name, "proxy-") || is(name, "proxy") {
			return hop
		}
	case 's':
		if begins(name, "ssl-client-") {
			return reserved
		}
	case 't':
		switch {
		case is(name, "te"), is(name, "trailer"):
			return hop
		case is(name, "txn-token"):
			return txnToken
		}
	case 'u':
		if is(name, "upgrade") {
			return hop
		}
	case 'v':
		if is(name, "vary") {
			return vary
		}
	case 'x':
		if begins(name, "x-forwarded-") || begins(name, "x-workload-") || begins(name, "x-client-cert") ||
			begins(name, "x-ssl-client-") || is(name, "x-real-ip") {
			return reserved
		}
	}
	return endToEnd
}

// Reserved reports whether name is one that only a gateway may send, in any case
// and with any punctuation for '-': the fields of RFC 9440, X-Forwarded-Client-Cert and the
// rest of X-Forwarded-*, Forwarded, X-Real-IP, X-Workload-*, X-SSL-Client-*,
// X-Client-Cert* and SSL-Client-*. It does not retain name.
func Reserved(name []byte) bool { return classify(name) == reserved }

// essential reports whether a field stays although the Connection field names
// it: fields that say where the message ends and what it is, and the credentials
// that pass untouched (APP-01). A sender must not name those (RFC 9110 §7.6.1);
// one that does wants them to differ between what was judged and what is sent.
func essential(name []byte) bool {
	for _, e := range []string{
		"host", "content-length", "transfer-encoding", "content-type", "content-encoding", "content-digest",
		"authorization", "txn-token", "workload-identity-token", "workload-proof-token",
		"signature", "signature-input",
	} {
		if is(name, e) {
			return true
		}
	}
	return false
}

// is reports whether name is lower, in any case and with any punctuation for '-'.
func is(name []byte, lower string) bool {
	return len(name) == len(lower) && begins(name, lower)
}

// begins reports whether name begins with lower, in the same way.
func begins(name []byte, lower string) bool {
	if len(name) < len(lower) {
		return false
	}
	for i := range len(lower) {
		if fold(name[i]) != lower[i] {
			return false
		}
	}
	return true
}

func fold(c byte) byte {
	switch {
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	case 'A' <= c && c <= 'Z':
		return c | 0x20
	}
	return '-'
}

// same reports whether two names are one, in the same way.
func same(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if fold(a[i]) != fold(b[i]) {
			return false
		}
	}
	return true
}
