// Package verifycache remembers what certpath found out, so that the next
// handshake with the same chain costs microseconds instead of signatures.
//
//	cache, err := verifycache.New(verifycache.Options{})
//	scope, err := verifycache.NewScope("edge", origins)
//
//	// in tls.Config.VerifyConnection, where no key is proven yet:
//	verdict := cache.Verify(chain, certpath.RoleClient, scope, store.Load())
//	// after HandshakeContext has returned nil:
//	cache.Remember(&verdict)
//	// while the connection is open, at verdict.Until and when trust has changed:
//	verdict = cache.Rejudge(verdict.Path, chain, certpath.RoleClient, scope, store.Load())
//
// # What a hit promises
//
// A hit gives the answer that judging afresh would give at that moment
// (CACHE-01). The cache is a shortcut and never a judge: with
// [Options.Disabled] every verdict is the same and only slower, and nothing is
// ever wrong because the cache lost, dropped or delayed something (CACHE-07).
//
// # Cache key
//
// An entry is found by the SHA-256 of
//
//	"verigate verdict v1"    19 octets
//	role                      1 octet    1 client, 2 server
//	scope                    32 octets   SHA-256 over the origins admitted
//	for every certificate of the chain, in the order presented:
//	    length                4 octets   big-endian
//	    DER                   length octets
//
// and holds all 32 octets of it, which must be equal on every look-up: the cache
// library tells keys apart by 127 bits only (CACHE-08). The whole chain is in the
// key, never the leaf alone, a serial number or a name (CACHE-02).
//
// What an entry was judged by is its full identity: the key and the digest of
// the bundle of the leaf's origin. The digest is kept in the entry and compared
// with the current bundle's, rather than hashed into the key, because which
// bundle is meant follows from the leaf's identifier: this way nothing has to be
// parsed before the look-up, and there is no cache of parsed identifiers next to
// this one (CACHE-10 is subsumed: an entry holds its identifier). There is no
// invalidation call either: an entry of a bundle that was replaced no longer
// fits, and fits again when the bundle comes back (CACHE-04).
//
// Each hit compares the wall clock with the span in which no certificate of the
// chain and no anchor begins or ceases to be valid and the grade stays, the path's
// expiry included (CACHE-03), and looks every element of the path up in the CRLs and,
// with the identifier, in the deny-list of the snapshot given; in lists of the same
// content once, until one of them comes into force or goes stale. CRLs and deny-list are
// no part of the entry: when they change, entries stay and are looked up in the new
// ones. An entry that fails any of this is judged afresh. docs/cache-key.md has the
// reasons.
//
// # Shadow
//
// If the bundle has a shadow, verdicts come with what that says, and the entry keeps
// it next to the live answer, bound to the shadow in the same way. It is judged again
// on its own when it no longer fits: a change of the shadow costs no live verdict its
// entry, and no live verdict is ever another one for it.
//
// # Who may write
//
// A handshake asks for the verdict before the peer has proven its key, so anyone
// may present anyone's certificate (TLS-13). Accepted verdicts are therefore
// written by [Cache.Remember] alone. What strangers can fill is kept apart,
// bounded and short-lived: rejections (CACHE-06), and accepted verdicts between
// validation and Remember, which let a thousand concurrent first handshakes of
// one workload share one validation (CACHE-09). Neither can push out an accepted
// entry, and neither can change an answer, because entries are found by the
// content that they were computed from.
//
// # Second level
//
// Signatures of one CA over another's certificate are remembered on their own,
// so that a new leaf of a known issuer costs one signature check. Those of a path
// that was accepted before, by another bundle perhaps, are not checked again when the
// same chain is judged: not for a stale entry, not for the shadow and not by
// [Cache.Rejudge].
package verifycache
