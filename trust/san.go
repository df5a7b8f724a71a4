package trust

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"strings"

	"verigate/workloadid"
)

var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// uriNames returns the URI names of cert as they were signed. cert.URIs will not
// do: a net/url.URL does not give the octets back (ID-01).
func uriNames(cert *x509.Certificate) ([]string, error) {
	const tagURI = 6
	var names []string
	for _, extension := range cert.Extensions {
		if !extension.Id.Equal(oidSubjectAltName) {
			continue
		}
		var sequence asn1.RawValue
		if rest, err := asn1.Unmarshal(extension.Value, &sequence); err != nil {
			return nil, err
		} else if len(rest) > 0 || !sequence.IsCompound || sequence.Tag != asn1.TagSequence || sequence.Class != asn1.ClassUniversal {
			return nil, asn1.StructuralError{Msg: "subject alternative name is not one sequence"}
		}
		for rest := sequence.Bytes; len(rest) > 0; {
			var name asn1.RawValue
			var err error
			if rest, err = asn1.Unmarshal(rest, &name); err != nil {
				return nil, err
			}
			if name.Class == asn1.ClassContextSpecific && name.Tag == tagURI {
				names = append(names, string(name.Bytes))
			}
		}
	}
	return names, nil
}

// isWorkloadScheme also recognises spellings that are no valid identifier, such
// as "SPIFFE://": they were meant as one and must not pass as something else.
func isWorkloadScheme(uri string) bool {
	scheme, _, ok := strings.Cut(uri, ":")
	return ok && (strings.EqualFold(scheme, "spiffe") || strings.EqualFold(scheme, "wimse"))
}

// checkAnchorOrigin refuses an anchor that says of itself that it belongs
// elsewhere (CERT-14). The scheme counts (TD-06). An anchor without an
// identifier belongs to whichever origin it was configured for.
func checkAnchorOrigin(anchor *x509.Certificate, origin workloadid.Origin) *Error {
	names, err := uriNames(anchor)
	if err != nil {
		return &Error{Reason: ReasonCertificate, Err: err}
	}
	for _, name := range names {
		if isWorkloadScheme(name) && originOf(name) != origin {
			return &Error{Reason: ReasonForeignAnchor, Detail: fmt.Sprintf("it names %s, not %v", quote(name), origin)}
		}
	}
	return nil
}

// originOf returns the origin that a CA's identifier names, the zero Origin for
// one that is malformed. A wimse identifier always has a path; a CA's name for
// its own trust domain has none, so it is read as an origin.
func originOf(name string) workloadid.Origin {
	if origin, err := workloadid.ParseOrigin(name); err == nil {
		return origin
	}
	id, err := workloadid.Parse(name)
	if err != nil {
		return workloadid.Origin{}
	}
	return id.Origin()
}

// workloadID returns the identifier of a leaf, the zero ID when it has none. A
// leaf that has one has no other URI name: peers would refuse it (CERT-01).
func workloadID(leaf *x509.Certificate) (workloadid.ID, *Error) {
	names, err := uriNames(leaf)
	if err != nil {
		return workloadid.ID{}, &Error{Reason: ReasonCertificate, Err: err}
	}
	for _, name := range names {
		if !isWorkloadScheme(name) {
			continue
		}
		id, err := workloadid.Parse(name)
		switch {
		case len(names) > 1:
			return workloadid.ID{}, &Error{Reason: ReasonIdentifier, Detail: fmt.Sprintf("%d URI names", len(names))}
		case err != nil:
			return workloadid.ID{}, &Error{Reason: ReasonIdentifier, Detail: quote(name), Err: err}
		case !id.HasPath():
			return workloadid.ID{}, &Error{Reason: ReasonIdentifier, Detail: quote(name) + " names a trust domain, not a workload"}
		}
		return id, nil
	}
	return workloadid.ID{}, nil
}
