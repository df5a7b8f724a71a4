// Package handoff tells a backend who the caller is, in a way that the caller
// cannot influence.
//
// A request goes through it in an order that is the security of it (FWD-03):
//
//	handoff.StripRequest(&req.Header, sameDomain)    // hop-by-hop fields, then every reserved name
//	fields = h.Append(fields, handoff.Caller{Path: path, Grade: grade}, now) // h := handoff.New(forms, id, own.Grade, hop.Grade)
//	fields = handoff.AppendForwarded(fields, remote, host)
//	…                                                // fields are sent behind req.Header, and the backend answers
//	handoff.FilterResponse(&resp.Header)
//
// Fields named by the caller's Connection field are gone before ours are added,
// so "Connection: Client-Cert" removes nothing of ours; and reserved names are
// removed in every spelling that a backend may fold into the one it trusts.
// [StripField] and [FilterField] say the same of single fields, for headers in which
// nothing more has to be done than to leave some out.
//
// # What a backend gets
//
// Nothing, unless its [Handoff] says so (FWD-06). The fields are statements of
// the gateway, not credentials of the caller: a backend may believe them only
// over a connection on which it has authenticated the gateway, and must not
// confuse the two identities (FWD-11, FWD-12).
//
//	Client-Cert: :MIIC…:                     the leaf's DER (RFC 9440 §2.2)
//	Client-Cert-Chain: :MIIB…:, :MIIB…:      the issuers on the validated path, without leaf and anchor (§2.3)
//	X-Forwarded-Client-Cert: By=…;Hash=…;URI=…
//	X-Workload-Id: spiffe://prod.example/ns/shop/sa/checkout
//	X-Workload-Trust-Domain: spiffe://prod.example
//	X-Workload-Assurance: mial=2, maal=(1 2 0 0 0 0 0 3);profile="maal-local/1"
//	X-Workload-Asserted-By: spiffe://prod.example/ns/edge/sa/gateway
//
// X-Workload-Trust-Domain has the scheme, as configuration writes trust domains:
// a wimse: and a spiffe: domain of one name are two. X-Workload-Assurance is a
// dictionary of RFC 9651: mial is the level, maal the grades of the eight
// characteristics in the order of [assurance.Characteristic], under the profile
// that is named with them. X-Workload-Asserted-By is absent when the gateway has
// no workload identity of its own.
//
// # How much of the caller's assurance is left
//
// A backend may think of a caller no better than of the gateway that tells it, and
// of that no better than of the connection that it is told over (ASR-08). What
// X-Workload-Assurance says is therefore the least, characteristic by
// characteristic, of three grades: the caller's, the gateway's own ([Own]) and that
// of the hop ([Hop]). It is a statement of whom X-Workload-Asserted-By names, and a
// gateway further on has to treat it so.
//
// # What passes untouched
//
// Workload-Identity-Token, Workload-Proof-Token, Signature, Signature-Input,
// Content-Digest and Authorization pass octet for octet, even when the Connection
// field names them (APP-01). Txn-Token does when the caller belongs to the
// backend's trust domain (APP-10).
package handoff
