package workloadapi

import (
	"fmt"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"

	"verigate/trust/mirror"
	"verigate/workloadid"
)

// state is what one message of the stream says. It is the whole of what the
// Workload API has for the gateway: what is not in it was withdrawn.
type state struct {
	svids   []*workload.X509SVID
	bundles map[workloadid.Origin]statedBundle
	notes   []string
}

// statedBundle is the anchors of one trust domain in DER, one after the other.
type statedBundle struct {
	der []byte
	err error // why it does not count
}

// fromSVIDs reads a message of the stream of X.509-SVIDs. A mandatory field that is
// empty makes all of it worthless (WL-01).
func fromSVIDs(m *workload.X509SVIDResponse) (state, error) {
	if len(m.GetSvids()) == 0 {
		return discard("it has no SVID")
	}
	s := state{svids: m.GetSvids(), bundles: map[workloadid.Origin]statedBundle{}}
	for i, svid := range s.svids {
		if svid.GetSpiffeId() == "" || len(svid.GetX509Svid()) == 0 || len(svid.GetX509SvidKey()) == 0 || len(svid.GetBundle()) == 0 {
			return discard(fmt.Sprintf("SVID %d lacks a mandatory field", i+1))
		}
		id, err := workloadid.Parse(svid.GetSpiffeId())
		if err != nil {
			s.note("SVID %d is ignored: %v", i+1, err)
			continue
		}
		s.add(id.Origin(), svid.GetBundle())
	}
	s.addAll(m.GetFederatedBundles())
	s.noteCRLs(len(m.GetCrl()))
	return s, nil
}

// fromBundles reads a message of the stream of bundles.
func fromBundles(m *workload.X509BundlesResponse) (state, error) {
	if len(m.GetBundles()) == 0 {
		return discard("it has no bundle")
	}
	s := state{bundles: map[workloadid.Origin]statedBundle{}}
	s.addAll(m.GetBundles())
	s.noteCRLs(len(m.GetCrl()))
	return s, nil
}

func discard(detail string) (state, error) {
	return state{}, &mirror.Error{Reason: mirror.ReasonAnswer, Detail: "the message is discarded: " + detail}
}

// addAll takes bundles by the names of their trust domains, which are judged as they
// stand: what is no SPIFFE trust domain in canonical form is none of those that are
// wanted.
func (s *state) addAll(bundles map[string][]byte) {
	for name, der := range bundles {
		origin, err := workloadid.ParseOrigin(name)
		if err != nil {
			s.note("the bundle of %s is ignored: %v", mirror.Quote(name), err)
			continue
		}
		s.add(origin, der)
	}
}

// add takes the bundle of origin. Every SVID comes with that of its trust domain, so
// it can be there more than once; then it has to be the same.
func (s *state) add(origin workloadid.Origin, der []byte) {
	before, twice := s.bundles[origin]
	if twice && string(before.der) != string(der) {
		s.bundles[origin] = statedBundle{err: &mirror.Error{Reason: mirror.ReasonDocument, Detail: "the message has two different bundles for " + origin.String()}}
		return
	}
	if !twice {
		s.bundles[origin] = statedBundle{der: der}
	}
}

func (s *state) noteCRLs(n int) {
	if n > 0 {
		s.note("%d revocation lists of the Workload API are not used; configure the CRLs of the trust domain", n)
	}
}

// note keeps a few: the message may have thousands of bundles.
func (s *state) note(format string, args ...any) {
	const maxNotes = 10
	if len(s.notes) < maxNotes {
		s.notes = append(s.notes, fmt.Sprintf(format, args...))
	}
}

// pick returns the SVID that is wanted, nil if it is not there.
func (s *state) pick(c Credential) *workload.X509SVID {
	for _, svid := range s.svids {
		if c.ID.IsZero() || svid.GetSpiffeId() == c.ID.String() {
			return svid
		}
	}
	return nil
}
