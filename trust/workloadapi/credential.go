package workloadapi

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"

	"verigate/trust"
	"verigate/trust/mirror"
)

// credential is one SVID that is wanted.
type credential struct {
	Credential
	handle *handle
	status mirror.Status
}

// handle is what users of a credential keep. It outlives rotations and sources.
type handle struct {
	current atomic.Pointer[trust.Credential]
}

// Credential returns the last good SVID. It costs one atomic load.
func (h *handle) Credential() *trust.Credential { return h.current.Load() }

// takeUp hands the wanted SVID of s to the users of the handle. It reports whether it
// is another than before.
func (c *credential) takeUp(s state, now time.Time) (changed bool, err error) {
	svid := s.pick(c.Credential)
	if svid == nil {
		// Its users cannot do without any. They stop by themselves when it expires
		// (KEY-02); until then this error is what the operator sees.
		return false, &mirror.Error{Reason: mirror.ReasonDenied, Detail: "the Workload API gives no such SVID; if there was one before, it is used until it expires"}
	}
	offered, err := parse(svid, now)
	if err != nil {
		return false, &mirror.Error{Reason: mirror.ReasonDocument, Err: err}
	}
	held := c.handle.current.Load()
	if changed = held == nil || held.Digest() != offered.Digest(); changed {
		c.handle.current.Store(offered)
	}
	c.status.Digest, c.status.NotAfter, c.status.Notes = offered.Digest(), offered.NotAfter(), s.notes
	return changed, nil
}

// parse reads chain and key by the rules for files, in memory.
func parse(svid *workload.X509SVID, now time.Time) (*trust.Credential, error) {
	name := "X509-SVID " + mirror.Quote(svid.GetSpiffeId())
	chain, err := x509.ParseCertificates(svid.GetX509Svid())
	if err != nil {
		return nil, &trust.Error{Reason: trust.ReasonCertificate, Name: name, Err: err}
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: svid.GetX509SvidKey()})
	defer clear(key)
	parsed, err := trust.ParseCredential(name, encodePEM(chain), name+", key", key, now)
	if err != nil {
		return nil, err
	}
	// The certificate says who we are, octet for octet. A message that says otherwise
	// is about somebody else.
	if id := parsed.ID(); id.String() != svid.GetSpiffeId() || !id.HasPath() {
		return nil, &trust.Error{Reason: trust.ReasonIdentifier, Name: name, Detail: fmt.Sprintf("the certificate names %s", mirror.Quote(id.String()))}
	}
	return parsed, nil
}
