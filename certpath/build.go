package certpath

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"verigate/trust"
	"verigate/workloadid"
)

// builder searches a path from the leaf to an anchor, depth first and the most
// plausible issuer first. It is used once.
type builder struct {
	verifier *Verifier
	bundle   *trust.Bundle
	skew     time.Duration
	// algorithms are those that the origin uses.
	algorithms algorithmSet
	chain      []*x509.Certificate
	role       Role
	now        time.Time

	path   []*x509.Certificate // from the leaf up to where the search is
	signed []signature         // the signatures judged, each once
	spent  int                 // of them, those that took a public-key operation

	candidates int  // issuers considered
	mismatched int  // signatures tried although the key identifiers differ
	dear       int  // signatures tried with keys that isDear
	exhausted  bool // a budget is used up

	comparisons int // of names with name constraints, over all paths
	policySteps int // of policy processing, over all paths

	expanded []*circlKey // keys that this search has used

	nearest       *Error // of the candidates that failed
	nearestLength int    // of the path at that time
	nearestChild  *x509.Certificate

	// The backing of path and signed, here to save allocations.
	pathSpace   [MaxChainCertificates + 1]*x509.Certificate
	signedSpace [MaxSignatureChecks]signature
}

// signature is the outcome of one public-key operation.
type signature struct {
	child, parent *x509.Certificate
	err           error
}

// build leaves an accepted path in b.path, or says why there is none.
func (b *builder) build() *Error {
	b.path = append(b.pathSpace[:0], b.chain[0])
	b.signed = b.signedSpace[:0]
	switch {
	case b.extend():
		return nil
	case b.exhausted:
		fault := &Error{
			Reason: ReasonLimitsExceeded,
			Found:  fmt.Sprintf("no path after %d signature checks and %d candidate issuers", len(b.signed), b.candidates),
			Want:   fmt.Sprintf("a path within %d signature checks, %d of them by dear keys, and %d candidates", MaxSignatureChecks, maxDearChecks, maxCandidates),
		}
		if b.nearest != nil {
			fault.Depth, fault.Hint = b.nearest.Depth, "the nearest candidate failed: "+b.nearest.Reason.String()
		}
		return fault
	case b.nearest.Reason == ReasonUntrustedChain:
		return b.missingIssuer(b.nearestChild)
	}
	return b.nearest
}

// extend tries the possible issuers of the last certificate of b.path and
// reports whether one of them led to an accepted path.
func (b *builder) extend() bool {
	child := b.path[len(b.path)-1]
	anchors := b.bundle.AnchorsNamed(child.RawIssuer)
	tried := false
	for _, fit := range [...]keyIDFit{sameKeyID, noKeyID, otherKeyID} {
		for _, anchor := range anchors {
			if fitOf(child, anchor) != fit {
				continue
			}
			tried = true
			if b.try(anchor, fit, true) {
				return true
			}
			if b.exhausted {
				return false
			}
		}
		for i, c := range b.chain[1:] {
			if !bytes.Equal(c.RawSubject, child.RawIssuer) || fitOf(child, c) != fit ||
				b.bundle.Contains(c) || b.presentedBefore(i+1) {
				continue
			}
			tried = true
			if b.try(c, fit, false) {
				return true
			}
			if b.exhausted {
				return false
			}
		}
	}
	if !tried {
		b.fail(untrusted(b.depthOf(child)))
	}
	return false
}

// untrusted stands for a missing issuer while the search goes on. Only if
// nothing better is found are the words for it put together.
func untrusted(depth int) *Error {
	return &Error{Reason: ReasonUntrustedChain, Depth: depth, Found: "no issuer"}
}

// presentedBefore recognises duplicates, which would double the search.
func (b *builder) presentedBefore(i int) bool {
	return slices.ContainsFunc(b.chain[1:i], b.chain[i].Equal)
}

// keyIDFit says how the key identifiers of a certificate and of a possible
// issuer go together.
type keyIDFit uint8

const (
	sameKeyID keyIDFit = iota
	noKeyID            // at least one of the two has none
	otherKeyID
)

func fitOf(child, parent *x509.Certificate) keyIDFit {
	switch {
	case len(child.AuthorityKeyId) == 0 || len(parent.SubjectKeyId) == 0:
		return noKeyID
	case bytes.Equal(child.AuthorityKeyId, parent.SubjectKeyId):
		return sameKeyID
	}
	return otherKeyID
}

// try puts candidate at the end of the path, if it may be there, and goes on
// from it. It reports whether that led to an accepted path.
func (b *builder) try(candidate *x509.Certificate, fit keyIDFit, anchor bool) bool {
	if b.candidates == maxCandidates {
		b.exhausted = true
		return false
	}
	b.candidates++
	if fault := b.judge(candidate, fit); fault != nil {
		if !b.exhausted {
			b.traceCandidate(candidate, fault)
			b.fail(fault)
		}
		return false
	}
	b.path = append(b.path, candidate)
	if anchor && b.accept() || !anchor && b.extend() {
		return true
	}
	b.path = b.path[:len(b.path)-1]
	return false
}

// repeats recognises loops: a CA that is on the path already, perhaps in another
// certificate (cross-signing goes both ways).
func (b *builder) repeats(candidate *x509.Certificate) bool {
	for _, c := range b.path {
		if bytes.Equal(c.RawSubject, candidate.RawSubject) &&
			bytes.Equal(c.RawSubjectPublicKeyInfo, candidate.RawSubjectPublicKeyInfo) {
			return true
		}
	}
	return false
}

// judge decides whether candidate may stand as issuer at the end of the path.
// The signature is checked before anything that the candidate says of itself,
// so that a fault is only ever reported of a certificate that really issued.
func (b *builder) judge(candidate *x509.Certificate, fit keyIDFit) *Error {
	child, depth := b.path[len(b.path)-1], b.depthOf(candidate)
	if b.repeats(candidate) {
		return untrusted(b.depthOf(child))
	}
	if fault := checkSignatureAlgorithm(child, b.depthOf(child), b.algorithms); fault != nil {
		return fault
	}
	if fault := checkKey(candidate, depth, b.algorithms); fault != nil {
		return fault
	}
	if fault := b.checkSignature(child, candidate, fit); fault != nil {
		return fault
	}
	if fault := checkIssuer(candidate, depth, len(b.path)-1); fault != nil {
		return fault
	}
	if fault := checkSignerUsage(candidate, depth); fault != nil {
		return fault
	}
	return checkAny(candidate, depth, b.algorithms, b.now, b.skew)
}

// checkSignature checks that parent signed child, unless that is known.
func (b *builder) checkSignature(child, parent *x509.Certificate, fit keyIDFit) *Error {
	known, err := b.knownSignature(child, parent)
	if !known {
		if fit == otherKeyID {
			if b.mismatched == maxMismatchedKeyIDs {
				return untrusted(b.depthOf(child))
			}
			b.mismatched++
		}
		if isDear(parent) {
			b.dear++
		}
		if len(b.signed) == MaxSignatureChecks || b.dear > maxDearChecks {
			b.exhausted = true
			return &Error{Reason: ReasonLimitsExceeded}
		}
		// Remembered links count towards the limits like all others: with what is in
		// memory, a chain must fare as it does without (CACHE-07).
		if !b.remembered(child, parent) {
			err = b.verifySignature(child, parent)
			b.spent++
		}
		b.signed = append(b.signed, signature{child, parent, err})
	}
	switch {
	case err == nil:
		return nil
	case fit == otherKeyID:
		// Another CA of the same name. That is a missing issuer, not a forgery.
		return untrusted(b.depthOf(child))
	}
	return &Error{
		Reason: ReasonBadSignature,
		Depth:  b.depthOf(child),
		Found:  "a signature on " + subjectOf(child) + " that the key " + keyIDOf(parent.SubjectKeyId) + " did not make",
		Want:   "the signature of " + subjectOf(parent),
		Hint:   "a CA that was set up again under the same name with another key",
		Err:    err,
	}
}

// remembered reports whether an earlier path had the same link. A leaf's signature
// is remembered for the holder of that path alone: leaves are many and come once.
func (b *builder) remembered(child, parent *x509.Certificate) bool {
	if b.verifier.Proven.links(child, parent) {
		return true
	}
	links := b.verifier.Links
	return links != nil && len(b.path) > 1 && links.Verified(child, parent)
}

func (b *builder) knownSignature(child, parent *x509.Certificate) (known bool, err error) {
	for _, s := range b.signed {
		if s.child == child && s.parent == parent {
			return true, s.err
		}
	}
	return false, nil
}

// checkIssuer judges whether c may issue, with below CAs between it and the leaf
// (PKIX-02, PKIX-03). Anchors are no exception (PKIX-09).
func checkIssuer(c *x509.Certificate, depth, below int) *Error {
	refuse := func(found, want string) *Error {
		return &Error{Reason: ReasonNotCA, Depth: depth, Found: found + " in " + subjectOf(c), Want: want}
	}
	switch {
	case c.Version != 3: // CERT-16
		return refuse(fmt.Sprintf("X.509 version %d", c.Version), "version 3")
	case !c.BasicConstraintsValid:
		return refuse("no basic constraints", "cA TRUE")
	case !c.IsCA:
		return refuse("cA FALSE", "cA TRUE")
	}
	if _, _, found := extension(c, extKeyUsage); found && c.KeyUsage&x509.KeyUsageCertSign == 0 {
		return refuse("a key usage without keyCertSign", "keyCertSign")
	}
	// RFC 5280 does not count self-issued certificates. crypto/x509 does, and
	// what it refuses is refused here.
	if c.MaxPathLen >= 0 && below > c.MaxPathLen {
		return &Error{
			Reason: ReasonPathLength,
			Depth:  depth,
			Found:  fmt.Sprintf("%d CAs below %s", below, subjectOf(c)),
			Want:   fmt.Sprintf("at most %d", c.MaxPathLen),
		}
	}
	return nil
}

// accept judges the path as a whole, now that it ends in an anchor. Depths of
// faults are translated from the path to the presented chain.
func (b *builder) accept() bool {
	fault := b.checkPath()
	if fault == nil {
		b.tracePath(nil)
		return true
	}
	fault.Depth = b.depthOf(b.path[fault.Depth])
	b.tracePath(fault)
	b.fail(fault)
	return false
}

func (b *builder) checkPath() *Error {
	if b.verifier.Profile != ProfilePKIX {
		if fault := checkPurposes(b.path, b.role); fault != nil {
			return fault
		}
	}
	constraints := constraintCheck{path: b.path, comparisons: b.comparisons}
	fault := constraints.check()
	b.comparisons = constraints.comparisons
	if fault != nil {
		return fault
	}
	if fault := checkPolicies(b.path, b.verifier.Policies, &b.policySteps); fault != nil {
		return fault
	}
	if b.verifier.Profile == ProfilePKIX {
		if fault := checkProfile(b.path); fault != nil {
			return fault
		}
	}
	return b.checkRevocation()
}

// checkPurposes nests key purposes as crypto/x509 does: a CA that lists some
// issues for no others (PKIX-08). The leaf has been judged more strictly.
func checkPurposes(path []*x509.Certificate, role Role) *Error {
	want, _ := role.purpose()
	for depth, c := range path[1:] {
		unlimited := len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0
		if unlimited || slices.Contains(c.ExtKeyUsage, want) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) {
			continue
		}
		return &Error{Reason: ReasonEKU, Depth: depth + 1, Found: purposesOf(c) + " in " + subjectOf(c), Want: purposeName(want)}
	}
	return nil
}

// assertBinding is the last word on TD-03 and CERT-17, apart from how the path
// was found: the anchor is one of the bundle's, and the bundle is the one of the
// identifier's origin.
func (b *builder) assertBinding(id workloadid.ID) *Error {
	anchor := b.path[len(b.path)-1]
	if b.bundle.Contains(anchor) && (b.verifier.Profile == ProfilePKIX || id.Origin() == b.bundle.Origin()) {
		return nil
	}
	return &Error{Reason: ReasonUntrustedChain, Depth: len(b.chain), Found: "anchor " + subjectOf(anchor), Want: "an anchor of " + id.Origin().String()}
}

// fail keeps the fault that came nearest to a path: the most specific, and among
// equals the one that was furthest up.
func (b *builder) fail(fault *Error) {
	if b.nearest != nil {
		held, offered := reasonTable[b.nearest.Reason].rank, reasonTable[fault.Reason].rank
		if offered < held || offered == held && len(b.path) <= b.nearestLength {
			return
		}
	}
	b.nearest, b.nearestLength, b.nearestChild = fault, len(b.path), b.path[len(b.path)-1]
}

// traceCandidate tells of a certificate that did not make it onto the path.
func (b *builder) traceCandidate(candidate *x509.Certificate, fault *Error) {
	if b.verifier.Trace == nil {
		return
	}
	b.verifier.Trace(Step{Name: "candidate", Depth: fault.Depth, Detail: subjectOf(candidate) +
		" as issuer of " + subjectOf(b.path[len(b.path)-1]) + ": " + fault.Error()})
}

// tracePath tells of a path that reached an anchor.
func (b *builder) tracePath(fault *Error) {
	if b.verifier.Trace == nil {
		return
	}
	names := make([]string, len(b.path))
	for i, c := range b.path {
		names[i] = subjectOf(c)
	}
	step := Step{Name: "path", OK: fault == nil, Detail: strings.Join(names, " ← ")}
	if fault != nil {
		step.Depth, step.Detail = fault.Depth, step.Detail+": "+fault.Error()
	}
	b.verifier.Trace(step)
}

// depthOf translates to an index of the presented chain.
func (b *builder) depthOf(c *x509.Certificate) int {
	for i := range b.chain {
		if b.chain[i].Equal(c) {
			return i
		}
	}
	return len(b.chain)
}

// missingIssuer says what would have been needed above child, and what there is.
func (b *builder) missingIssuer(child *x509.Certificate) *Error {
	origin := b.bundle.Origin().String()
	peer := "the peer"
	if _, known := b.role.purpose(); known {
		peer = "the " + b.role.String()
	}
	known := make([]string, 0, 3)
	for _, anchor := range b.bundle.Anchors() {
		if len(known) == cap(known) {
			known = append(known, fmt.Sprintf("and %d more", len(b.bundle.Anchors())-len(known)))
			break
		}
		known = append(known, subjectOf(anchor)+" with key id "+keyIDOf(anchor.SubjectKeyId))
	}
	if len(known) == 0 {
		known = append(known, "none")
	}
	sent := fmt.Sprintf("%d intermediates", len(b.chain)-1)
	switch len(b.chain) {
	case 1:
		sent = "no intermediate"
	case 2:
		sent = "1 intermediate"
	}
	return &Error{
		Reason: ReasonUntrustedChain,
		Depth:  b.depthOf(child),
		Found:  "issuer " + issuerOf(child) + " with key id " + keyIDOf(child.AuthorityKeyId),
		Want:   "the certificate of that issuer among those presented or among the anchors of " + origin,
		Hint: fmt.Sprintf("%s sent %s; known anchors of %s: %s",
			peer, sent, origin, strings.Join(known, ", ")),
	}
}
