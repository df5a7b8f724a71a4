// Package assurance grades how much a validated certificate path says about the
// workload behind it, and compares grades with what a route demands.
//
// A [Grade] has two halves. [MIAL] is one of five ordered levels: how well the
// identity itself was established before the credential was issued. [MAAL] has
// one grade for each of eight characteristics of the credential's life.
//
// # Where a grade comes from
//
// A certificate proves possession of a key and names an issuer; it does not show
// that anything was attested. A path alone therefore grades [MIAL1] and no MAAL,
// and more comes only from a [Statement] that an operator makes about an issuing
// key, a certificate policy or a whole origin (ASR-03). What is observed on the
// path never raises the grade and may lower it (ASR-07).
//
// One statement decides, the most specific one that matches:
//
//  1. a statement about a CA key on the path; of several, the one nearest to the
//     leaf, so that what is said of an issuing CA goes before what is said of
//     the anchor above it;
//  2. otherwise statements about a certificate policy of the leaf; of several,
//     the lower grade, characteristic by characteristic, since a certificate
//     must not gain by collecting policies;
//  3. otherwise the statement about the whole origin;
//  4. otherwise MIAL-1.
//
// A more specific statement replaces a broader one, it is not added to it: to
// distrust one issuing CA of a good origin, state a lower level for its key.
//
// # What lowers it
//
//   - A leaf that lives longer than [Options.MaxLifetime], or that was issued
//     longer ago than [Options.MaxAge], grades at most MIAL-1 and has no
//     [Governance]. Age is the one thing that changes while nothing else does:
//     [Profile.GradeAt] says when it will.
//   - A leaf with a weak key (RSA below [Options.MinRSABits], a curve below 256
//     bits) or one of an unknown kind grades at most MIAL-1 and has no MAAL:
//     whoever can compute the key is the workload, however it was enrolled.
//   - A leaf that may be used for any purpose has no [Boundary], and one that is
//     for more than client and server authentication has little of it.
//   - A key that is seen under several identities, or from more networks than one
//     workload has, grades at most MIAL-1 and has no [Reuse]: see [Detector].
//
// Neither levels nor grades ask for hardware (ASR-05).
//
// All types but [Detector] are values or immutable, and everything here may be
// called concurrently.
package assurance
