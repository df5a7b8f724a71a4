package handoff

import (
	"crypto/x509"
	"sync/atomic"
	"time"

	"verigate/assurance"
	"verigate/certpath"
	"verigate/trust"
)

// Own grades the gateway itself, by the certificate that it shows backends and by
// what its own trust domain says about such certificates: the gateway is a workload
// like any other, and whoever graded its issuer has graded it.
//
//   - If its trust domain accepts the certificate, its grade is the one that any
//     workload with this certificate has; without a statement that is MIAL-1.
//   - If there is no such trust domain in the snapshot, nothing is stated about the
//     gateway, and a certificate alone is MIAL-1.
//   - If its trust domain refuses the certificate, because it has ended or was
//     revoked or denied, it is MIAL-0.
//
// It may be used concurrently.
type Own struct {
	credential trust.CredentialSource
	store      *trust.Store
	known      atomic.Pointer[ownGrade]
}

// ownGrade is an answer and what it holds for.
type ownGrade struct {
	credential *trust.Credential
	snapshot   *trust.Snapshot
	from       time.Time
	until      time.Time // zero: for ever
	grade      assurance.Grade
}

// NewOwn returns what grades the gateway with the credential of source by the
// trust in force in store.
func NewOwn(source trust.CredentialSource, store *trust.Store) *Own {
	return &Own{credential: source, store: store}
}

// Grade returns the gateway's grade now, by the wall clock. It follows changes of the
// credential and of trust; between them it costs a comparison.
func (o *Own) Grade(now time.Time) assurance.Grade {
	credential, snapshot := o.credential.Credential(), o.store.Load()
	known := o.known.Load()
	same := known != nil && known.credential == credential && known.snapshot == snapshot
	if same && !now.Before(known.from) && (known.until.IsZero() || now.Before(known.until)) {
		return known.grade
	}
	k := judgeOwn(credential, snapshot, now)
	if !same || !now.Before(known.from) { // a straggler's answer is for itself alone
		o.known.Store(k)
	}
	return k.grade
}

func judgeOwn(credential *trust.Credential, snapshot *trust.Snapshot, now time.Time) *ownGrade {
	k := &ownGrade{credential: credential, snapshot: snapshot, from: now}
	if credential == nil {
		return k
	}
	bundle := snapshot.Bundle(credential.ID().Origin())
	if bundle == nil {
		k.grade.MIAL = assurance.MIAL1
		return k
	}
	// A refusal may end by itself, when a certificate or a CRL comes into force.
	k.until = now.Add(refusedAgain)
	path := ownPath(credential, bundle, now)
	if path == nil {
		return k
	}
	if _, _, denied := snapshot.Deny().Find(path.ID(), path.Refs()); denied {
		return k
	}
	var until time.Time
	k.grade, until = bundle.Options().Assurance.GradeAt(path.Evidence(), now)
	k.until = earliest(path.NotAfter(), until, bundle.RevocationBoundary(now))
	return k
}

// refusedAgain is how long the gateway believes that its own certificate is no
// good, which takes a few signature checks to find out.
const refusedAgain = time.Minute

// ownPath validates the gateway's chain as a client's, which it is towards backends,
// or as a server's: a certificate may be for one of the two only.
func ownPath(credential *trust.Credential, bundle *trust.Bundle, now time.Time) *certpath.Path {
	chain := make([]*x509.Certificate, 0, len(credential.TLS().Certificate))
	for _, der := range credential.TLS().Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil // a credential is made of certificates that could be parsed
		}
		chain = append(chain, c)
	}
	for _, role := range []certpath.Role{certpath.RoleClient, certpath.RoleServer} {
		if path, err := certpath.Verify(chain, bundle, role, now); err == nil {
			return path
		}
	}
	return nil
}

// earliest returns the first of times, leaving out zero ones.
func earliest(times ...time.Time) (first time.Time) {
	for _, at := range times {
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}
