package tlsterm

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"verigate/verifycache"
)

// Observer is told what happens on a listener. Every field may be nil. The
// functions are called on the goroutine that the event happened on, several at a
// time; they must not block and must not call back into the listener's Close or
// Drain.
type Observer struct {
	// Handshake is called at the end of every handshake that began, whatever its
	// outcome. The record is the callee's to keep.
	Handshake func(*Handshake)
	// Shed is called for each connection closed before a handshake began, and for
	// each failed accept (with a zero remote).
	Shed func(reason ShedReason, remote netip.AddrPort)
	// Closed is called once when an established connection ends, with its life
	// from accept to close.
	Closed func(*Conn, time.Duration)
}

// Outcome is how a handshake ended.
type Outcome uint8

// The outcomes. The zero Outcome is Failed.
const (
	// Failed means that no connection came of it.
	Failed Outcome = iota
	// Accepted means that the peer is authenticated.
	Accepted
	// Admitted means that the peer's chain was rejected and the handshake finished
	// in spite of it, as [Options.AdmitRejected] wants.
	Admitted
)

// String returns the metric value: failed, accepted or admitted.
func (o Outcome) String() string {
	switch o {
	case Failed:
		return "failed"
	case Accepted:
		return "accepted"
	case Admitted:
		return "admitted"
	}
	return "outcome_" + strconv.Itoa(int(o))
}

// Handshake is what is known about a handshake at its end.
type Handshake struct {
	Listener  string
	ConnID    uint64         // unique in the process
	Remote    netip.AddrPort // the client; behind a load balancer as it said
	Local     netip.AddrPort
	Start     time.Time     // of the connection, by Options.Now
	Duration  time.Duration // from accept
	QueueWait time.Duration // of it, waiting for CPU tokens
	JudgeTime time.Duration // of it, until there was a verdict about the chain, cached or not

	Outcome Outcome
	// Reason is empty for an accepted peer and otherwise one of [Reasons].
	Reason string
	// Err is the error behind Reason, for the operator; nil for an accepted peer.
	Err error

	// SNI is the server name asked for, in lower case; empty if there was none.
	// What cannot be a host name has its unprintable octets escaped.
	SNI         string
	ALPN        string // negotiated; empty if the client did not ask
	Version     uint16
	CipherSuite uint16
	Curve       tls.CurveID
	Resumed     bool
	// Resumption says what became of the session that the client wanted to resume.
	Resumption Resumption

	// Verdict is the answer about the chain; zero if none came to be judged. On a
	// failed handshake it proves nothing, not even that an accepted chain belongs
	// to the client: see reason pop_failed.
	Verdict verifycache.Verdict
	// Peer is nil unless Outcome is Accepted.
	Peer *Peer
	// Chain describes what was presented, when it was not accepted.
	Chain []ChainSummary
}

// ChainSummary describes one certificate as it was presented by somebody who
// may be hostile: the texts are printable and bounded.
type ChainSummary struct {
	Subject, Issuer                      string // RFC 2253 style
	Serial, AuthorityKeyID, SubjectKeyID string // hexadecimal
	NotAfter                             time.Time
}

// Bounds of a [ChainSummary]. A certificate may be as large as 256 KiB.
const (
	maxSummaries     = 10
	maxSummaryName   = 256  // octets of Subject and Issuer
	maxSummaryRDN    = 2048 // octets of DER above which a name is not even decoded
	maxSummaryOctets = 32   // of serial numbers and key identifiers
)

// summarize describes chain, as far as the bounds allow.
func summarize(chain []*x509.Certificate) []ChainSummary {
	chain = chain[:min(len(chain), maxSummaries)]
	out := make([]ChainSummary, len(chain))
	for i, c := range chain {
		out[i] = ChainSummary{
			Subject:        summarizeName(len(c.RawSubject), c.Subject.String),
			Issuer:         summarizeName(len(c.RawIssuer), c.Issuer.String),
			Serial:         summarizeSerial(c.SerialNumber),
			AuthorityKeyID: summarizeOctets(c.AuthorityKeyId),
			SubjectKeyID:   summarizeOctets(c.SubjectKeyId),
			NotAfter:       c.NotAfter,
		}
	}
	return out
}

func summarizeName(rawBytes int, text func() string) string {
	if rawBytes > maxSummaryRDN {
		return "(a name of " + strconv.Itoa(rawBytes) + " octets)"
	}
	return printable(text(), maxSummaryName)
}

func summarizeSerial(n *big.Int) string {
	if n == nil {
		return ""
	}
	if n.Sign() < 0 {
		return "-" + summarizeOctets(n.Bytes())
	}
	return summarizeOctets(n.Bytes())
}

func summarizeOctets(b []byte) string {
	if len(b) > maxSummaryOctets {
		return hex.EncodeToString(b[:maxSummaryOctets]) + "…"
	}
	return hex.EncodeToString(b)
}

// printable returns s with everything escaped that could forge a line of a log
// or confuse a terminal, and cut after maxBytes.
func printable(s string, maxBytes int) string {
	clean := len(s) <= maxBytes
	for i := 0; clean && i < len(s); i++ {
		clean = s[i] >= ' ' && s[i] < 0x7f
	}
	if clean {
		return s
	}
	var b strings.Builder
	for s != "" {
		r, n := utf8.DecodeRuneInString(s)
		piece := s[:n]
		switch {
		case r == utf8.RuneError && n == 1:
			piece = `\x` + hex.EncodeToString([]byte(piece))
		case !strconv.IsPrint(r):
			quoted := strconv.QuoteRuneToASCII(r)
			piece = quoted[1 : len(quoted)-1]
		}
		if b.Len()+len(piece) > maxBytes {
			b.WriteString("…")
			break
		}
		b.WriteString(piece)
		s = s[n:]
	}
	return b.String()
}

// serverName returns name as records and routes see it. crypto/tls takes any
// octets from the client as long as they do not end in a dot.
func serverName(name string) string { return printable(strings.ToLower(name), 253) }

// ShedReason is why a connection was closed before a handshake began. The zero
// ShedReason is none.
type ShedReason uint8

// The reasons for closing a connection before its handshake.
const (
	// ShedMaxConns: [Options.MaxConns] was reached.
	ShedMaxConns ShedReason = 1 + iota
	// ShedClientConns: [Options.MaxConnsPerClient] was reached.
	ShedClientConns
	// ShedMaxHandshakes: [Options.MaxHandshakes] was reached, or one client
	// network's share of it.
	ShedMaxHandshakes
	// ShedProxyHeader: a load balancer's PROXY header was missing or malformed.
	ShedProxyHeader
	// ShedClosedBeforeHello: the client went away without a word, as health probes
	// do.
	ShedClosedBeforeHello
	// ShedAcceptFailed: the kernel would not hand over a connection, for instance
	// for want of file descriptors.
	ShedAcceptFailed
	// ShedShuttingDown: the listener was closed before the client said anything.
	ShedShuttingDown
)

var shedNames = [...]string{
	ShedMaxConns:          "over_max_conns",
	ShedClientConns:       "over_client_conns",
	ShedMaxHandshakes:     "over_max_handshakes",
	ShedProxyHeader:       "bad_proxy_header",
	ShedClosedBeforeHello: "closed_before_hello",
	ShedAcceptFailed:      "accept_failed",
	ShedShuttingDown:      "shutting_down",
}

// String returns the metric value, such as "over_max_conns".
func (r ShedReason) String() string {
	if int(r) < len(shedNames) && shedNames[r] != "" {
		return shedNames[r]
	}
	return "shed_" + strconv.Itoa(int(r))
}

// ShedReasons lists all reasons, in order.
func ShedReasons() []ShedReason {
	var all []ShedReason
	for r := ShedMaxConns; int(r) < len(shedNames); r++ {
		all = append(all, r)
	}
	return all
}
