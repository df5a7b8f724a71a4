// Package workloadid holds the syntax of workload identifiers and of patterns
// over them.
//
// An identifier is a SPIFFE ID (SPIFFE-ID §2) or a WIMSE workload identifier
// (draft-ietf-wimse-identifier §4.4): an absolute URI whose authority names a
// trust domain and whose path means something inside that trust domain only.
//
// [Parse] and [ParseBytes] judge the octets as they stand. There is one
// canonical form and nothing is ever repaired into it: no case folding, no
// percent-decoding, no path cleaning. Whatever Parse accepts, [ID.String] gives
// back octet for octet, so that trust look-up, policy, cache, revocation and
// audit all see the bytes that the issuer signed.
//
// An [Origin] is scheme and trust domain together, such as
// spiffe://prod.example. Identifiers with different origins never have anything
// to do with each other, whatever their paths.
//
// All types are comparable values whose zero value stands for "none". Nothing in
// this package keeps state; everything may be called concurrently.
package workloadid
