// Package tlsterm terminates mutually authenticated TLS. A [Listener] accepts
// connections, shakes hands under a limited share of the processors, has the
// client's chain judged, and yields a [*Conn] that carries the [Peer] that was
// proven to be at the other end.
//
//	l, err := tlsterm.Listen(tlsterm.Options{
//		Name: "edge", Address: ":8443",
//		Cache: cache, Trust: store, Scope: scope,
//		Credentials: map[string]trust.CredentialSource{"": own},
//	})
//	…
//	server.Serve(l) // any server that takes a net.Listener of plain connections
//	l.Serve(serve)  // or a function for each connection, which saves a goroutine
//
// # What is proven when
//
// crypto/tls calls back with the client's certificates before it checks that the
// client holds their key (TLS 1.3: before CertificateVerify; TLS 1.2 alike), so
// whoever has a copy of somebody's certificates reaches the callback. Here the
// callback is a gate and nothing more: it can end a handshake, and it records
// nothing. The [Peer] is made, and the verdict remembered, only when
// [crypto/tls.Conn.HandshakeContext] has returned nil (TLS-13).
//
// # What a refused client sees
//
// A client learns of a refusal from its first read, because in TLS 1.3 its own
// handshake is complete before the server has seen its certificate. The alert
// is crypto/tls's choice: 116 without a certificate, 51 for a wrong key, 43 for
// a key of an unknown kind, 50 for certificates that do not parse, and 42
// (bad_certificate) for every verdict of ours, whatever the reason, as there is
// no way to choose another without reaching into the stack's private state
// (TLS-15). The reason is in [Handshake.Reason], for the operator;
// [Options.AdmitRejected] is for those who want to tell the client over HTTP.
//
// # Resumption
//
// With [Options.Tickets], clients get session tickets of our own making, which open on
// the same listener and for the same server name only (TLS-07), and until the maximum
// age after the client last proved its key (TLS-06). A ticket carries the client's
// chain, which is judged by what is in force before the session is resumed, so whatever
// may have changed has its effect (TLS-05, REV-05); if it is not accepted any more the
// handshake goes on as a full one, never as an error. What became of a ticket is in
// [Handshake.Resumption]; docs/session-tickets.md has the format. A resumed connection
// is like any other and ends with its peer's path. Authorisation is not part of a
// session: it is decided for every request.
//
// Without Tickets none is sent and none accepted, so every handshake shows a certificate
// and proves its key. 0-RTT does not exist in crypto/tls over TCP (TLS-08).
//
// # Load
//
// Handshakes hold a CPU token only while they compute, never while they wait for
// the client, and none is handed on while a poll of the network is overdue, so
// established connections are served between handshake steps; see [Limiter].
// Everything is capped: connections, handshakes in flight, both per client
// network, the wait for the first octet, the whole handshake, the wait for a
// token. What is over a cap is reset, cheaply and early.
package tlsterm
