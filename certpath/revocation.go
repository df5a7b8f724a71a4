package certpath

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"time"

	"verigate/trust"
)

// CheckRevocation looks every certificate of path but its anchor up in the CRLs of
// bundle (REV-03, RFC 5280 §6.3.3). It returns [ReasonNone] when all are known not to be
// revoked, or when the bundle has no CRLs to ask. Else the reason is
// [ReasonRevoked], [ReasonRevocationUnknown] or [ReasonRevocationStale], and depth an
// index into the path.
//
// [Verifier.Verify] asks the same; whoever keeps a path calls CheckRevocation whenever
// the path is used, also for callers that were revoked and go on knocking, and after a
// list has revoked a fleet. So there are no words for the fault; [ExplainRevocation] has
// them. It costs a look-up per certificate and does not allocate, except for the first
// certificate of an issuer after a CRL has changed: then the CRL's signature is checked.
func CheckRevocation(path *Path, bundle *trust.Bundle, now time.Time) (reason Reason, depth int) {
	if path.IsZero() || bundle == nil {
		return ReasonRevocationUnknown, 0
	}
	if bundle.CRLs() == nil {
		return ReasonNone, 0
	}
	r := revocationOf(path, bundle, now)
	worst, depth, _ := r.worst()
	return worst.reason(), depth
}

// revocation asks the CRLs of one origin about the certificates of one path.
type revocation struct {
	set     *trust.CRLSet
	leaf    trust.CRLSubject
	parsed  *x509.Certificate // the leaf, for words about it
	issuers []*x509.Certificate
	refs    []trust.CertRef // leaf first
	now     time.Time
	skew    time.Duration
	// observe, if set, is told what comes of each CRL of the right name.
	observe func(crl *trust.CRL, f finding)
}

// revocationOf asks the CRLs of bundle about path.
func revocationOf(path *Path, bundle *trust.Bundle, now time.Time) revocation {
	return revocation{
		set: bundle.CRLs(),
		leaf: trust.CRLSubject{
			IsCA: path.leafIsCA,
			// Names are compared octet for octet when paths are built.
			Issuer:             path.issuers[0].RawSubject,
			DistributionPoints: path.leafPoints,
		},
		issuers: path.issuers,
		refs:    path.refs,
		now:     now,
		skew:    bundle.Options().NotBeforeSkew,
	}
}

// checkRevocation asks about a path that is not minted yet.
func (b *builder) checkRevocation() *Error {
	set := b.bundle.CRLs()
	if set == nil {
		return nil
	}
	var space [MaxChainCertificates + 1]trust.CertRef
	refs := space[:len(b.path)]
	for i, c := range b.path {
		refs[i].Serial = trust.SerialOf(c.SerialNumber)
		if i > 0 {
			refs[i-1].IssuerSPKI = sha256.Sum256(c.RawSubjectPublicKeyInfo)
		}
	}
	leaf := b.path[0]
	r := revocation{
		set: set, leaf: trust.SubjectOf(leaf), parsed: leaf, issuers: b.path[1:],
		refs: refs, now: b.now, skew: b.skew,
	}
	fault := r.check()
	b.traceRevocation(fault)
	return fault
}

// asked returns how many certificates need a status, from the leaf up.
func (r *revocation) asked() int {
	if r.set.Options().LeafOnly {
		return 1
	}
	return len(r.issuers)
}

// subject is what CRLs are asked about of the certificate at depth.
func (r *revocation) subject(depth int) trust.CRLSubject {
	if depth == 0 {
		return r.leaf
	}
	return trust.SubjectOf(r.issuers[depth-1])
}

// check returns the fault that weighs most. It needs the parsed leaf.
func (r *revocation) check() *Error {
	worst, at, says := r.worst()
	if worst == statusGood {
		return nil
	}
	words := *r // what makes words escapes, which nobody shall pay for who needs none
	return words.fault(worst, at, says)
}

// worst returns the status that weighs most, of which certificate it is and the CRL that
// it rests on: of one that is revoked, else of the lowest that is not known not to be.
func (r *revocation) worst() (worst status, at int, says *trust.CRL) {
	for depth := range r.asked() {
		if status, crl := r.status(depth); status > worst {
			worst, at, says = status, depth, crl
		}
	}
	return worst, at, says
}

// status is what is known of a certificate. What is worse comes later; between stale
// and unknown, what is the less of a surprise.
type status uint8

const (
	statusGood    status = iota // a CRL that counts covers it and does not list it
	statusStale                 // only CRLs that are stale cover it
	statusUnknown               // no CRL covers it
	statusRevoked               // a CRL lists it
)

// reason returns why a certificate of the status is not accepted.
func (s status) reason() Reason {
	switch s {
	case statusGood:
		return ReasonNone
	case statusStale:
		return ReasonRevocationStale
	case statusRevoked:
		return ReasonRevoked
	case statusUnknown:
	}
	return ReasonRevocationUnknown
}

// finding is what comes of one CRL for one certificate.
type finding uint8

const (
	foundClear      finding = iota // in force and does not list it
	foundTolerated                 // as foundClear, and stale within what the options allow
	foundListed                    // lists it, stale or not
	foundStale                     // stale and does not list it
	foundPartial                   // covers it for some reasons only and does not list it
	foundSuperseded                // another of the same scope is newer
	foundToCome                    // its thisUpdate is in the future
	foundOtherKeyID                // names another key than the issuer's
	foundOtherScope                // of other certificates of the issuer
	foundNoRight                   // the issuer must not sign CRLs
	foundForged                    // the issuer's key on the path did not sign it
)

// status asks all CRLs of the name that issued the certificate at depth, and returns
// with the status the CRL that it rests on, nil for statusUnknown.
//
// Within a scope only the newest of those CRLs counts that the issuer's key has
// signed. Of several scopes that cover the certificate, each may revoke it and one
// that is in force suffices to clear it: every CRL is for all reasons here.
func (r *revocation) status(depth int) (status, *trust.CRL) {
	subject := r.subject(depth)
	answer, basis := statusUnknown, (*trust.CRL)(nil)
	for _, scope := range r.set.Of(subject.Issuer) {
		// The lists come in the order of their dates, the latest first: what the last
		// one that counted does not supersede has a higher number than all before it.
		var newest *trust.CRL
		for _, crl := range scope {
			f := r.usable(crl, &subject, depth)
			switch {
			case f != foundClear && f != foundPartial:
			case newest != nil && newest.Supersedes(crl):
				f = foundSuperseded
			default:
				newest = crl
				f = r.consult(crl, depth, f)
			}
			if r.observe != nil {
				r.observe(crl, f)
			}
			switch {
			case f == foundListed:
				answer, basis = statusRevoked, crl
			case (f == foundClear || f == foundTolerated) && (answer == statusUnknown || answer == statusStale):
				answer, basis = statusGood, crl
			case f == foundStale && answer == statusUnknown:
				answer, basis = statusStale, crl
			}
		}
	}
	return answer, basis
}

// usable reports with foundClear or foundPartial that crl, which is of the right
// name, may speak of the certificate at depth. The signature comes last.
func (r *revocation) usable(crl *trust.CRL, subject *trust.CRLSubject, depth int) finding {
	if r.now.Add(r.skew).Before(crl.ThisUpdate()) {
		return foundToCome
	}
	coverage := crl.Covers(subject)
	if coverage == trust.CoversNot {
		return foundOtherScope
	}
	if f := r.signer(crl, depth); f != foundClear {
		return f
	}
	if coverage == trust.CoversSome {
		return foundPartial
	}
	return foundClear
}

// signer reports with foundClear that the issuer of the certificate at depth signed
// crl: by the key that signed the certificate or, while a CA changes its key, by one
// further up that has the same name. Either is on the path, so that the CRL hangs
// from the same anchor as the certificate needs no check of its own (PKIX-15, RFC
// 5280 §6.3.3 (f)).
func (r *revocation) signer(crl *trust.CRL, depth int) (f finding) {
	name := r.issuers[depth].RawSubject
	for above, issuer := range r.issuers[depth:] {
		if !bytes.Equal(issuer.RawSubject, name) {
			break
		}
		switch {
		case !crl.SameKeyID(issuer):
			f = max(f, foundOtherKeyID)
		case !maySignCRLs(issuer):
			f = max(f, foundNoRight)
		case !signedCRL(crl, issuer, r.refs[depth+above].IssuerSPKI):
			f = max(f, foundForged)
		default:
			return foundClear
		}
	}
	return f
}

// maySignCRLs reports whether a key usage, if there is one, has cRLSign.
func maySignCRLs(issuer *x509.Certificate) bool {
	if issuer.KeyUsage != 0 {
		return issuer.KeyUsage&x509.KeyUsageCRLSign != 0
	}
	_, _, found := extension(issuer, extKeyUsage)
	return !found
}

// signedCRL reports whether the key of issuer, which has the digest spki, signed crl.
func signedCRL(crl *trust.CRL, issuer *x509.Certificate, spki trust.Digest) bool {
	known, err := crl.Checked(spki)
	if !known {
		err = checkCRLSignature(crl, issuer, spki)
	}
	return err == nil
}

// checkCRLSignature is for the first certificate of an issuer after crl was loaded.
func checkCRLSignature(crl *trust.CRL, issuer *x509.Certificate, spki trust.Digest) error {
	return crl.CheckSignature(spki, func(algorithm trust.SignatureAlgorithm, signed, signature []byte) error {
		if algorithm.Hash() != 0 {
			return verifyDigest(issuer, algorithm, signed, signature)
		}
		return verifyOctets(issuer, algorithm, signed, signature)
	})
}

// consult looks the certificate at depth up in crl. covers is what usable said.
func (r *revocation) consult(crl *trust.CRL, depth int, covers finding) finding {
	// A stale list is not wrong about what it lists: certificates do not come back but
	// from a hold, and the newest list would be needed to tell.
	if _, listed := crl.Lookup(r.refs[depth].Serial); listed {
		return foundListed
	}
	if covers == foundPartial {
		return foundPartial
	}
	switch r.set.Freshness(crl, r.now) {
	case trust.CRLTolerated:
		return foundTolerated
	case trust.CRLStale:
		return foundStale
	case trust.CRLToCome, trust.CRLCurrent: // to come within the skew
	}
	return foundClear
}
