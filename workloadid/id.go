package workloadid

import "strings"

// Limits on the length of an identifier, in octets.
const (
	// MaxIDBytes is what every party must support and what no party should
	// exceed (draft-ietf-wimse-identifier §4.1, SPIFFE-ID §2.3).
	MaxIDBytes = 2048
	// MaxTrustDomainBytes is the host limit of RFC 3986, stated by SPIFFE-ID
	// §2.3 and applied to wimse alike.
	MaxTrustDomainBytes = 255
)

const (
	spiffePrefix = "spiffe://"
	wimsePrefix  = "wimse://"
)

// ID is a workload identifier in canonical form. IDs are equal exactly when
// their octets are (ID-10), so == compares them and they serve as map keys. The
// zero ID is no identifier.
type ID struct {
	raw string
	// path is the offset of the first path octet; len(raw) when there is none.
	// It follows from raw, so it never makes equal identifiers unequal.
	path uint16
}

// Parse returns the identifier that s spells, or an [*Error] that names the
// first octet at fault. It accepts a spiffe identifier without a path (the name
// of a trust domain); a leaf must have one, see [ID.HasPath]. It does not
// allocate on success.
func Parse(s string) (ID, error) {
	path, fault := scan(s)
	if fault != nil {
		return ID{}, fault
	}
	return ID{raw: s, path: uint16(path)}, nil
}

// ParseBytes is [Parse] for the raw octets of a URI SAN (ID-01). It copies b,
// and only after b has proven to be well formed and short (ID-04).
func ParseBytes(b []byte) (ID, error) {
	path, fault := scan(b)
	if fault != nil {
		return ID{}, fault
	}
	return ID{raw: string(b), path: uint16(path)}, nil
}

// String returns the identifier, octet for octet as it was parsed.
func (id ID) String() string { return id.raw }

// IsZero reports whether id is no identifier.
func (id ID) IsZero() bool { return id.raw == "" }

// Origin returns scheme and trust domain.
func (id ID) Origin() Origin { return Origin{raw: id.raw[:id.path]} }

// Path returns the path with its leading slash, or "" when there is none.
func (id ID) Path() string { return id.raw[id.path:] }

// HasPath reports whether id names a workload rather than a trust domain as a
// whole (CERT-05).
func (id ID) HasPath() bool { return int(id.path) < len(id.raw) }

// Origin is the scope within which paths have a meaning: scheme and trust
// domain, such as spiffe://prod.example. The scheme is part of it: an anchor for
// spiffe://t does not vouch for wimse://t (TD-06). The zero Origin is none.
type Origin struct{ raw string }

// ParseOrigin returns the origin that s spells: scheme, "://" and trust domain
// and nothing behind it. It fails with an [*Error].
func ParseOrigin(s string) (Origin, error) {
	end, fault := scanAuthority(s)
	if fault != nil {
		return Origin{}, fault
	}
	if end != len(s) {
		return Origin{}, &Error{Reason: ReasonOriginHasPath, Offset: end}
	}
	return Origin{raw: s}, nil
}

// String returns the origin, octet for octet as it was parsed.
func (o Origin) String() string { return o.raw }

// IsZero reports whether o is no origin.
func (o Origin) IsZero() bool { return o.raw == "" }

// Scheme returns "spiffe" or "wimse".
func (o Origin) Scheme() string {
	scheme, _, _ := strings.Cut(o.raw, "://")
	return scheme
}

// TrustDomain returns the name of the trust domain.
func (o Origin) TrustDomain() string {
	_, name, _ := strings.Cut(o.raw, "://")
	return name
}
