// Package trust holds what peers are judged by: the anchors of each trust
// domain, its certificate revocation lists, the deny-list, and beside them the
// gateway's own credential.
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
// CRLs and the shadow are in the snapshot's digest and not in the bundle's: a
// remembered verdict is looked up in the CRLs of the moment whenever it is used, so
// a new list makes nobody's verdict forgotten.
//
// # Reading
//
// [ParseAnchors] reads PEM files and SPIFFE bundle documents, [ParseCRLs] reads
// revocation lists, [ParseCredential] reads a certificate chain together with its
// key. None touches a file system; package trust/files does.
//
// # Revocation lists
//
// A [CRL] of a million entries is common enough that its form matters: serial
// numbers are kept in a table that is smaller than the file and answers without
// allocating, and of the rest only what checking the signature takes. There is one
// [CRLSet] per bundle, shared by all listeners and connections. Whether a CRL is
// signed by the right key is found out when a path first needs it, and remembered.
package trust
