// Package workloadapi follows a SPIFFE Workload API: it offers the X.509-SVIDs that
// the gateway is given as credentials, in memory, and keeps copies of bundles for
// package files to read; see package mirror. Private keys never touch a disk.
//
// One stream tells everything. Each of its messages is the whole state: a bundle
// that is no longer in it was withdrawn, and its copy becomes an empty bundle, by
// which nobody is accepted (WL-01). A message with an empty mandatory field is
// discarded as a whole; a bundle or an SVID that does not parse leaves the last good
// one in force. When the stream ends it is opened again, and what was held stays
// meanwhile. While it stands, the copies are confirmed at intervals, as their age
// counts since then.
//
// Identifiers are judged by package workloadid, certificates and keys by
// [trust.ParseCredential], bundles by [trust.ParseAnchors], as if they came out of
// files.
package workloadapi
