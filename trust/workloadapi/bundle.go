package workloadapi

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"time"

	"verigate/trust"
	"verigate/trust/mirror"
	"verigate/workloadid"
)

// bundle is the copy of one trust domain's bundle.
type bundle struct {
	origin workloadid.Origin
	file   mirror.File
	status mirror.Status
}

// withdrawn is the copy of a bundle that the Workload API no longer gives: nobody is
// accepted by it, which is something else than not to know (WL-01).
const withdrawn = `{"keys":[]}` + "\n"

// takeUp brings the copy in step with s. It reports whether there is something new
// to read in it.
func (b *bundle) takeUp(s state, now time.Time) (changed bool, err error) {
	notes := s.notes
	document := []byte(withdrawn)
	if stated, given := s.bundles[b.origin]; given {
		if stated.err != nil {
			return false, stated.err
		}
		if document, err = encode(stated.der); err != nil {
			return false, err
		}
	} else {
		notes = append(notes[:len(notes):len(notes)], "the Workload API has no bundle for this trust domain: nobody in it is accepted")
	}
	parsed, err := trust.ParseAnchors(b.status.Source, document, b.origin)
	if err != nil {
		return false, &mirror.Error{Reason: mirror.ReasonDocument, Err: err}
	}
	held, _, err := b.file.Read(trust.MaxDocumentBytes)
	if err != nil {
		return false, err
	}
	if changed = !bytes.Equal(held, document); changed {
		err = b.file.Write(document, now)
	} else {
		err = b.file.Confirm(now)
	}
	if err != nil {
		return false, err
	}
	b.status.Digest, b.status.NotAfter = sha256.Sum256(document), parsed.NotAfter()
	b.status.Notes = append(notes[:len(notes):len(notes)], parsed.NotesAt(now)...)
	return changed, nil
}

// encode returns concatenated DER certificates as PEM, and the empty bundle if there
// is none.
func encode(der []byte) ([]byte, error) {
	certificates, err := x509.ParseCertificates(der)
	if err != nil {
		return nil, &mirror.Error{Reason: mirror.ReasonDocument, Err: &trust.Error{Reason: trust.ReasonCertificate, Err: err}}
	}
	if len(certificates) == 0 {
		return []byte(withdrawn), nil
	}
	return encodePEM(certificates), nil
}

func encodePEM(certificates []*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, certificate := range certificates {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}) // a buffer takes everything
	}
	return b.Bytes()
}
