package trust

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"time"

	"verigate/workloadid"
)

// MaxDocumentBytes bounds every document that this package parses. A thousand
// anchors with post-quantum keys fit.
const MaxDocumentBytes = 8 << 20

// ParsedAnchors is what a file or document said.
type ParsedAnchors struct {
	// Anchors are in the order of the document, each once.
	Anchors []*x509.Certificate
	// Sequence is spiffe_sequence, nil when the document had none.
	Sequence *uint64
	// RefreshHint is spiffe_refresh_hint between [MinRefresh] and [MaxRefresh], 0
	// when the document had none.
	RefreshHint time.Duration
	// Notes tell the operator which entries were ignored, and why, and what is
	// unusual. There are few of them, however bad the document.
	Notes []string
}

// Bounds on how often a publisher can ask to be polled (BUN-06). A hint of a
// month would delay a revocation by a month.
const (
	MinRefresh = 30 * time.Second
	MaxRefresh = 24 * time.Hour
)

// ParseAnchors reads the anchors of origin from data, which is either PEM or a
// SPIFFE bundle in JSON; a document whose first octet is a brace is JSON. name
// is used in errors and nowhere else.
//
// PEM must have at least one certificate and no block of another kind.
// Explanatory text around the blocks is fine (RFC 7468 §2), a damaged block is
// not.
//
// JSON is a bundle, or a bundle map, out of which the trust domain of origin is
// taken. The document as a whole is judged strictly: no repeated member at any
// level (BUN-08), no data behind it, `keys` present (BUN-01). Its entries are
// judged leniently: one that is not understood is ignored and noted, so that a
// publisher's new kind of key is not an outage (BUN-03, BUN-04, OQ-12). `keys`
// may be empty or have no usable entry: the result has no anchors then and no
// error, and whoever publishes it revokes the trust domain (BUN-02).
//
// Anchors are not judged here, an expired one included; see
// [ParsedAnchors.NotesAt]. Two things are refused in either format: a private
// key, and an anchor whose identifier is of another origin (CERT-14), because
// it means that the document is not what the operator thinks it is.
//
// The error is an [*Error]. Cost and memory are linear in len(data), which is at
// most [MaxDocumentBytes].
func ParseAnchors(name string, data []byte, origin workloadid.Origin) (p ParsedAnchors, err error) {
	d := document{origin: origin, seen: make(map[string]struct{})}
	data = bytes.TrimPrefix(data, utf8BOM)
	var fault *Error
	switch start := bytes.TrimSpace(data); {
	case len(data) > MaxDocumentBytes:
		fault = &Error{Reason: ReasonTooLarge, Detail: fmt.Sprintf("over %d octets", MaxDocumentBytes)}
	case len(start) == 0:
		fault = &Error{Reason: ReasonEmpty}
	case start[0] == '{':
		fault = d.parseJSON(data)
	default:
		fault = d.parsePEM(data)
	}
	if fault != nil {
		fault.Name = name
		return ParsedAnchors{}, fault
	}
	d.endNotes()
	return d.ParsedAnchors, nil
}

// utf8BOM is put there by some editors. RFC 8259 §8.1 lets a parser ignore it.
var utf8BOM = []byte("\xef\xbb\xbf")

// NotesAt returns the notes and one more for every anchor that is not valid at
// now. Such an anchor stays in the bundle: paths that end in it are refused by
// date, with a better explanation than that their issuer is unknown.
func (p ParsedAnchors) NotesAt(now time.Time) []string {
	notes := p.Notes[:len(p.Notes):len(p.Notes)]
	for i, anchor := range p.Anchors {
		if now.After(anchor.NotAfter) {
			notes = append(notes, fmt.Sprintf("anchor %d, %s, expired on %s",
				i+1, quote(anchor.Subject.String()), anchor.NotAfter.UTC().Format(time.DateTime)))
		} else if now.Before(anchor.NotBefore) {
			notes = append(notes, fmt.Sprintf("anchor %d, %s, is not valid before %s",
				i+1, quote(anchor.Subject.String()), anchor.NotBefore.UTC().Format(time.DateTime)))
		}
	}
	return notes
}

// NotAfter returns when the first of the anchors ends, and the zero time if there is
// none.
func (p ParsedAnchors) NotAfter() (first time.Time) {
	for _, anchor := range p.Anchors {
		if first.IsZero() || anchor.NotAfter.Before(first) {
			first = anchor.NotAfter
		}
	}
	return first
}

// document collects anchors while it is parsed.
type document struct {
	ParsedAnchors
	origin  workloadid.Origin
	seen    map[string]struct{}
	unnoted int
}

// add judges and keeps one anchor. place is as in [Error].
func (d *document) add(anchor *x509.Certificate, place string) *Error {
	if fault := checkAnchorOrigin(anchor, d.origin); fault != nil {
		fault.Place = place
		return fault
	}
	if _, ok := d.seen[string(anchor.Raw)]; ok {
		d.note(place + " repeats an earlier one")
		return nil
	}
	if len(d.Anchors) == MaxAnchors {
		return &Error{Reason: ReasonTooLarge, Place: place, Detail: fmt.Sprintf("at most %d anchors", MaxAnchors)}
	}
	d.seen[string(anchor.Raw)] = struct{}{}
	d.Anchors = append(d.Anchors, anchor)
	return nil
}

// maxNotes keeps a document of ten thousand bad entries from filling the
// operator's page and the log.
const maxNotes = 20

func (d *document) note(text string) {
	if len(d.Notes) < maxNotes {
		d.Notes = append(d.Notes, text)
	} else {
		d.unnoted++
	}
}

func (d *document) endNotes() {
	if d.unnoted > 0 {
		d.Notes = append(d.Notes, fmt.Sprintf("and %d notes more", d.unnoted))
	}
}
