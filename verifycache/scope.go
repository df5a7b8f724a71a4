package verifycache

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"verigate/workloadid"
)

// Scope is what one listener, or one upstream, admits: its allow-list of origins
// (TD-04). It is immutable. Its digest is part of the cache key, so a verdict of
// one scope is never used in another that admits anything else; scopes that admit
// the same origins share their verdicts.
//
// The nil *Scope admits nothing.
type Scope struct {
	origins []workloadid.Origin // ordered, without duplicates
	digest  [32]byte
}

// NewScope returns the scope that admits origins, whose order and duplicates do
// not matter. It fails if there are none, since what is meant by an empty list is
// anyone's guess (TD-04), and if one is zero. name is used in the error only.
func NewScope(name string, origins []workloadid.Origin) (*Scope, error) {
	if len(origins) == 0 {
		return nil, fmt.Errorf("verifycache: scope %q admits no trust domain; list at least one", name)
	}
	s := &Scope{origins: slices.Clone(origins)}
	slices.SortFunc(s.origins, func(a, b workloadid.Origin) int { return strings.Compare(a.String(), b.String()) })
	s.origins = slices.Compact(s.origins)
	if s.origins[0].IsZero() {
		return nil, fmt.Errorf("verifycache: scope %q lists an empty trust domain", name)
	}
	content := []byte("verigate scope v1")
	for _, o := range s.origins {
		content = binary.BigEndian.AppendUint32(content, uint32(len(o.String())))
		content = append(content, o.String()...)
	}
	s.digest = sha256.Sum256(content)
	return s, nil
}

// Allows reports whether the scope admits peers of o.
func (s *Scope) Allows(o workloadid.Origin) bool {
	return s != nil && slices.Contains(s.origins, o)
}

// Origins returns the origins admitted, in the order of their octets. The caller
// owns the result.
func (s *Scope) Origins() []workloadid.Origin {
	if s == nil {
		return nil
	}
	return slices.Clone(s.origins)
}
