package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"verigate/certpath"
	"verigate/gateway"
	"verigate/http1gate"
	"verigate/tlsterm"
	"verigate/upstream"
)

// reasonHelp explains the codes of handshakes, requests and upstreams: what
// happened, and what usually helps. Those about certificates are explained by
// certpath itself.
var reasonHelp = map[string]string{
	tlsterm.ReasonNoCertificate:        "The client presented no certificate. Give it one, and see that it is configured to send it.",
	tlsterm.ReasonMalformedCertificate: "What the client presented is no X.509 certificate, or one that cannot be parsed. It has to be issued anew.",
	tlsterm.ReasonUnsupportedKey:       "The key of the client's certificate is of a kind or size that TLS cannot use here. Use ECDSA, Ed25519, or RSA of 2048 to 8192 bits.",
	tlsterm.ReasonPoPFailed:            "The client did not prove that it holds the private key of the certificate that it presented. Either its key and certificate do not belong together, or somebody uses a certificate that is not theirs.",
	tlsterm.ReasonFirstByteTimeout:     "The client connected and said nothing for first_byte_timeout. Health checks of load balancers do that.",
	tlsterm.ReasonHandshakeTimeout:     "The handshake took longer than handshake_timeout: a slow or overloaded client, or one that holds connections on purpose.",
	tlsterm.ReasonClientGone:           "The client went away before it was answered, usually because of a time-out of its own.",
	tlsterm.ReasonClientAlert:          "The client ended the handshake with an alert. Often it does not trust the gateway's certificate or expects another name in it.",
	tlsterm.ReasonNotTLS:               "The client does not speak TLS; plain HTTP on the TLS port is the usual case.",
	tlsterm.ReasonTLSVersion:           "The client offers no version of TLS that is accepted: 1.3, or 1.2 where the listener has allow_tls12.",
	tlsterm.ReasonNoSharedALPN:         "The client insists on an application protocol that the listener does not speak.",
	tlsterm.ReasonNoSharedCipher:       "Client and gateway have no cipher suite, group or signature algorithm in common. Usually the client offers none of the key exchanges in tls_groups of the listener, which by default has neither P-384 nor P-521.",
	tlsterm.ReasonCredentialExpired:    "The gateway's own certificate has expired, so it does not show it any more. Renew cert_file and key_file; they are taken up by themselves.",
	tlsterm.ReasonOverload:             "The gateway had no capacity for another handshake. Clients may try again; if it lasts, add processors or replicas.",
	tlsterm.ReasonShuttingDown:         "The gateway is draining and accepts nobody any more.",
	tlsterm.ReasonTLSError:             "The handshake failed for another reason, which stands beside the code in log and audit record.",

	string(gateway.ReasonNoRoute):               "No route matches the request; unmatched requests have no default. Compare SNI, host, path, method and caller with the routes: `gateway explain --config FILE --cert chain.pem --host … --path …`.",
	string(gateway.ReasonMisdirected):           "The connection was opened for one host and the request is for another with its own routes. Open a new connection with the right server name.",
	string(gateway.ReasonPolicyDenied):          "The caller is authenticated, and no allow rule of the route is about it. If it should be allowed, add a rule for its identity.",
	string(gateway.ReasonMethodNotAllowed):      "With status 501: the listener lets no such method pass; see http.methods of the listener. With status 403: the caller may use the route, but not with this method; see methods in the allow rule.",
	string(gateway.ReasonAssuranceInsufficient): "The caller may use the route only with a higher level of assurance. The field missing of the record says what it lacks. See require in the allow rule, and assurance under the caller's trust domain with what lowers it (docs/assurance.md).",
	string(gateway.ReasonTrustChanged):          "The caller was accepted when it connected and is not any more: anchors, CRLs, the deny-list, the trust domains of the listener or its grade changed, or the time of one of them came. Why exactly is in the record connection_refused of the same connection, and under refused_connections in /status.",
	string(gateway.ReasonRequestTimeout):        "The request's body made no progress for body_timeout.",
	string(gateway.ReasonUnreadable):            "The HTTP server could not read what the strict gate had let pass. That is a mistake in the gateway; the log has more.",
	string(gateway.ReasonLengthRequired):        "The backend's response has no known length and is too large to be held, and the client's version of HTTP cannot see its end otherwise. Use HTTP/1.1.",
	string(gateway.ReasonConnectionExpired):     "The connection reached the end of the caller's certificate or max_connection_age. The client has to connect again.",
	string(gateway.ReasonDrained):               "The gateway was stopping and drain_timeout passed before the request was finished.",
	string(gateway.ReasonInternal):              "The gateway made a mistake. The log has more.",

	upstream.ReasonConnect:     "No connection to the backend: refused, unreachable or timed out, or the TLS handshake failed, for instance because the backend does not trust the gateway's certificate.",
	upstream.ReasonUntrusted:   "The backend's certificate was rejected by the anchors of its trust domain.",
	upstream.ReasonIdentity:    "The backend proved an identity, but not the one under verify. Either an address leads to somebody else, or verify is out of date.",
	upstream.ReasonName:        "The backend has the right identity, but its certificate is not for the DNS name under verify.",
	upstream.ReasonTimeout:     "The backend was connected and took longer than its timeouts allow.",
	upstream.ReasonClosed:      "The backend closed the connection before its response was complete.",
	upstream.ReasonProtocol:    "The backend's response is not HTTP/1.1, or breaks it in a way that could confuse whoever reads it next.",
	upstream.ReasonNoEndpoint:  "Every endpoint is at max_connections, or the upstream was removed by a reload.",
	upstream.ReasonRequestBody: "The caller's request body broke off or was malformed.",
	upstream.ReasonGrant:       "A request came to the upstream without a grant for it. That is a mistake in the gateway and nothing was sent.",
}

// explainReason prints what a reason code means.
func explainReason(out io.Writer, code string) error {
	if help := helpOf(code); help != "" {
		_, err := fmt.Fprintf(out, "%s\n\n%s\n", code, help)
		return err
	}
	codes := reasonCodes()
	if c := closestCode(code, codes); c != "" {
		return usage("%q is not a reason; did you mean %q?", code, c)
	}
	return usage("%q is not a reason; the reasons are %s", code, strings.Join(codes, ", "))
}

// helpOf explains code, "" if it is no reason.
func helpOf(code string) string {
	for _, r := range certpath.Reasons() {
		if r.String() == code {
			return r.Help()
		}
	}
	if help := reasonHelp[code]; help != "" {
		return help
	}
	if slices.Contains(http1gate.Codes(), code) {
		return "The request breaks a rule of HTTP/1.1 (RFC 9112) that the gateway is strict about, because lenient readers disagree on what such a request means. The client, or a proxy before it, has to send it right."
	}
	return ""
}

// reasonCodes lists every reason that there is an explanation for, sorted.
func reasonCodes() []string {
	codes := append(tlsterm.Reasons(), http1gate.Codes()...)
	for code := range reasonHelp {
		codes = append(codes, code)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// closestCode returns a code that begins or ends like what was typed, or "".
func closestCode(word string, codes []string) string {
	for _, c := range codes {
		if len(word) >= 3 && (strings.HasPrefix(c, word) || strings.HasSuffix(c, "_"+word) || strings.EqualFold(strings.ReplaceAll(word, "-", "_"), c)) {
			return c
		}
	}
	return ""
}
