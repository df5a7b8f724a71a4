// Package crlfetch keeps copies of certificate revocation lists behind URLs, for
// package files to read; see package mirror.
//
// The URLs are those of the configuration. An address in a certificate, a CRL
// distribution point or an authority information access, is never fetched: whoever
// connects would choose where the gateway connects to. Lists are signed, so plain
// http will do to keep anybody from forging what they say; package certpath judges the
// signatures. What http does not keep away is a forged list in the place of the right
// one, by which nobody's status is known: use https where somebody may be on the way.
//
// A list that package trust would not read, that is not in force yet or that is older
// than the one that is held is refused, and the copy stays (REV-03). Older is what has
// an earlier date, and what has a lower number if the one that is held is known to be
// genuine ([Options.Verified]).
//
// To take up other lists, end Run and begin with a new Source.
package crlfetch
