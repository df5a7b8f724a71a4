// Package trust holds what peers are judged by: the anchors of each trust
// domain, the deny-list, and beside them the gateway's own credential.
//
// Everything is immutable. A [Bundle] has the anchors of one origin and the
// options that its peers are judged with; a [Snapshot] has one bundle per origin
// and the [DenyList], at one moment; a [Store] publishes snapshots, and whoever
// judges loads one, once, and uses it throughout. There is no way to add an
// anchor to a bundle or to merge two: pooling the anchors of several trust
// domains is how one of them comes to mint identities of another (TD-01,
// BUN-07).
//
// # Content decides
//
// Bundles and snapshots have a [Digest] over all that can change a verdict or a
// grade, and over nothing else. Caches put the bundle's digest into their keys,
// so a changed anchor or option needs no invalidation, and a file that was
// written again with the same content changes nothing. Order never matters: a
// bundle keeps its anchors in an order that follows from their content.
//
// # Reading
//
// [ParseAnchors] reads PEM files and SPIFFE bundle documents,
// [ParseCredential] reads a certificate chain together with its key. Neither
// touches a file system; package trust/files does.
package trust
