package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// parseJSON reads a SPIFFE bundle (SPIFFE Trust Domain and Bundle §4) or bundle
// map (§5).
//
// encoding/json takes the last of several equal members and matches the names of
// struct fields in any case, so the document is first scanned token by token and
// then read through maps.
func (d *document) parseJSON(data []byte) *Error {
	if fault := checkJSON(data); fault != nil {
		return fault
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(data, &top); err != nil {
		return &Error{Reason: ReasonJSON, Err: err}
	}
	hint := top["spiffe_refresh_hint"]
	if _, isBundle := top["keys"]; !isBundle {
		bundle, fault := d.pickFromMap(top)
		if fault != nil {
			return fault
		}
		// The hint of the map counts, those of its bundles do not (BUN-08).
		top = bundle
	} else if _, both := top["trust_domains"]; both {
		return &Error{Reason: ReasonMember, Detail: `it has both "keys" and "trust_domains"`}
	}
	if fault := d.readSequence(top["spiffe_sequence"]); fault != nil {
		return fault
	}
	if fault := d.readRefreshHint(hint); fault != nil {
		return fault
	}
	return d.readKeys(top["keys"])
}

func (d *document) pickFromMap(top map[string]json.RawMessage) (map[string]json.RawMessage, *Error) {
	raw, ok := top["trust_domains"]
	if !ok {
		return nil, &Error{Reason: ReasonMember, Detail: `"keys" is missing`}
	}
	var domains map[string]json.RawMessage
	if err := json.Unmarshal(raw, &domains); err != nil || domains == nil {
		return nil, &Error{Reason: ReasonMember, Detail: `"trust_domains" is not an object`}
	}
	raw, ok = domains[d.origin.TrustDomain()]
	if !ok {
		// Absent is not the same as empty: a map that lacks a domain is more often
		// incomplete than meant as a revocation.
		return nil, &Error{Reason: ReasonNoBundle, Detail: quote(d.origin.TrustDomain())}
	}
	var bundle map[string]json.RawMessage
	if err := json.Unmarshal(raw, &bundle); err != nil || bundle == nil {
		return nil, &Error{Reason: ReasonMember, Detail: "the bundle is not an object"}
	}
	return bundle, nil
}

// readSequence takes only a plain integer. A float64 would make neighbours of
// large sequences equal, and 1e3 or 7.0 are no way to write an order.
func (d *document) readSequence(raw json.RawMessage) *Error {
	if raw == nil {
		return nil
	}
	n, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil {
		return &Error{Reason: ReasonMember, Detail: `"spiffe_sequence" is not an unsigned integer of 64 bits: ` + quote(string(raw))}
	}
	d.Sequence = &n
	return nil
}

func (d *document) readRefreshHint(raw json.RawMessage) *Error {
	if raw == nil {
		return nil
	}
	seconds, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // out of range is clamped like any other
		return &Error{Reason: ReasonMember, Detail: `"spiffe_refresh_hint" is not an integer: ` + quote(string(raw))}
	}
	seconds = min(max(seconds, 0), math.MaxInt64/int64(time.Second))
	d.RefreshHint = min(max(time.Duration(seconds)*time.Second, MinRefresh), MaxRefresh)
	return nil
}

func (d *document) readKeys(raw json.RawMessage) *Error {
	var entries []json.RawMessage
	if raw == nil || json.Unmarshal(raw, &entries) != nil || entries == nil {
		return &Error{Reason: ReasonMember, Detail: `"keys" is missing or not an array`}
	}
	for i, raw := range entries {
		place := fmt.Sprintf("key %d", i+1)
		if fault := d.readKey(raw, place); fault != nil {
			return fault
		}
	}
	if len(entries) > 0 && len(d.Anchors) == 0 {
		d.note("no entry is a usable anchor: nobody in this trust domain is trusted")
	}
	return nil
}

// readKey adds the anchor of one JWK, or notes why it has none.
func (d *document) readKey(raw json.RawMessage, place string) *Error {
	var key map[string]json.RawMessage
	if err := json.Unmarshal(raw, &key); err != nil || key == nil {
		d.note(place + " is ignored: not an object")
		return nil
	}
	ignore := func(why string) *Error {
		d.note(place + " is ignored: " + why)
		return nil
	}
	switch kty, _ := text(key["kty"]); kty {
	case "EC", "RSA", "OKP", "AKP":
	default:
		return ignore("unknown kty " + quote(kty))
	}
	for _, private := range []string{"d", "priv"} { // AKP writes priv
		if _, ok := key[private]; ok {
			return &Error{Reason: ReasonPrivateKey, Place: place, Detail: fmt.Sprintf("member %q", private)}
		}
	}
	switch use, _ := text(key["use"]); use {
	case "x509-svid":
	case "jwt-svid", "wit-svid":
		return nil // for others to use
	default:
		return ignore("unknown use " + quote(use))
	}
	var chain []json.RawMessage
	if json.Unmarshal(key["x5c"], &chain) != nil || len(chain) == 0 {
		return ignore("x5c has no certificate")
	}
	encoded, ok := text(chain[0])
	if !ok {
		return ignore("x5c[0] is not a string")
	}
	der, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return ignore("x5c[0] is not standard base64: " + err.Error())
	}
	anchor, err := x509.ParseCertificate(der)
	if err != nil {
		return ignore("x5c[0] is not a certificate: " + err.Error())
	}
	if len(chain) > 1 {
		d.note(place + ": only the first certificate of x5c is used")
	}
	if _, ok := key["kid"]; ok {
		d.note(place + ": an x509-svid entry should have no kid")
	}
	return d.add(anchor, place)
}

// text returns the string that raw is.
func text(raw json.RawMessage) (s string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}

// maxJSONDepth: a bundle map is five deep.
const maxJSONDepth = 16

// checkJSON accepts one well-formed JSON value in UTF-8 in which no object has
// two equal members.
func checkJSON(data []byte) *Error {
	if !utf8.Valid(data) {
		return &Error{Reason: ReasonJSON, Detail: "it is not UTF-8"}
	}
	if err := json.Unmarshal(data, new(json.RawMessage)); err != nil {
		fault := &Error{Reason: ReasonJSON, Err: err}
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			offset := min(max(syntax.Offset, 0), int64(len(data)))
			fault.Place = fmt.Sprintf("line %d", 1+bytes.Count(data[:offset], []byte("\n")))
		}
		return fault
	}
	type level struct {
		members map[string]struct{} // nil in an array
		isName  bool                // the next token is a member's name
	}
	var open []level
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // a float64 could not hold every number that is well-formed
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			return nil
		} else if err != nil { // the syntax was found good above; but never leave a document unscanned
			return &Error{Reason: ReasonJSON, Err: err}
		}
		if n := len(open); n > 0 && open[n-1].isName {
			if name, ok := token.(string); ok {
				if _, twice := open[n-1].members[name]; twice {
					line := 1 + bytes.Count(data[:decoder.InputOffset()], []byte("\n"))
					return &Error{Reason: ReasonDuplicateMember, Place: fmt.Sprintf("line %d", line), Detail: quote(name)}
				}
				open[n-1].members[name] = struct{}{}
				open[n-1].isName = false
				continue
			}
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			if len(open) == maxJSONDepth {
				return &Error{Reason: ReasonJSON, Detail: fmt.Sprintf("nested more than %d deep", maxJSONDepth)}
			}
			if token == json.Delim('{') {
				open = append(open, level{members: make(map[string]struct{}), isName: true})
			} else {
				open = append(open, level{})
			}
			continue
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
		// A value ended.
		if n := len(open); n > 0 && open[n-1].members != nil {
			open[n-1].isName = true
		}
	}
}
