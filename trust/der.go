package trust

import (
	"encoding/asn1"
	"time"
)

// DER tags of what is read here.
const (
	tagBoolean         = 0x01
	tagInteger         = 0x02
	tagBitString       = 0x03
	tagOctetString     = 0x04
	tagOID             = 0x06
	tagEnumerated      = 0x0a
	tagUTCTime         = 0x17
	tagGeneralizedTime = 0x18
	tagSequence        = 0x30
	tagSet             = 0x31
)

// derReader reads DER elements one behind the other. It allocates nothing, because
// a CRL has millions of them. After the first octet that is not as it has to be, all
// of its methods fail.
type derReader struct {
	rest   []byte
	broken bool
}

// more reports whether there is another element.
func (r *derReader) more() bool { return !r.broken && len(r.rest) > 0 }

// end reports whether everything was read and all of it was well formed.
func (r *derReader) end() bool { return !r.broken && len(r.rest) == 0 }

// next reports whether the next element has tag.
func (r *derReader) next(tag byte) bool { return r.more() && r.rest[0] == tag }

// read returns the content of the next element, which must have tag.
func (r *derReader) read(tag byte) []byte {
	content, _ := r.readRaw(tag)
	return content
}

// readRaw is read that returns the whole element as well.
func (r *derReader) readRaw(tag byte) (content, whole []byte) {
	got, content, whole, ok := derElement(r.rest)
	if r.broken || !ok || got != tag {
		r.broken = true
		return nil, nil
	}
	r.rest = r.rest[len(whole):]
	return content, whole
}

// readAny returns the next element, whatever it is.
func (r *derReader) readAny() (tag byte, content, whole []byte) {
	tag, content, whole, ok := derElement(r.rest)
	if r.broken || !ok {
		r.broken = true
		return 0, nil, nil
	}
	r.rest = r.rest[len(whole):]
	return tag, content, whole
}

// into returns a reader of what is inside the next element, which must have tag.
func (r *derReader) into(tag byte) derReader {
	content := r.read(tag)
	return derReader{rest: content, broken: r.broken}
}

// derElement splits the first element off b: one-octet tags and definite, minimal
// lengths.
func derElement(b []byte) (tag byte, content, whole []byte, ok bool) {
	if len(b) < 2 || b[0]&0x1f == 0x1f {
		return 0, nil, nil, false
	}
	length, head := int(b[1]), 2
	if length >= 0x80 {
		octets := length & 0x7f
		if octets == 0 || octets > 4 || len(b) < 2+octets || b[2] == 0 {
			return 0, nil, nil, false
		}
		var long uint64
		for _, octet := range b[2 : 2+octets] {
			long = long<<8 | uint64(octet)
		}
		if long < 0x80 || long > uint64(len(b)) {
			return 0, nil, nil, false
		}
		length, head = int(long), head+octets
	}
	if length > len(b)-head {
		return 0, nil, nil, false
	}
	return b[0], b[head : head+length], b[:head+length], true
}

// derInteger reports whether content is that of an INTEGER: at least one octet and
// none too many (X.690 §8.3.2).
func derInteger(content []byte) bool {
	switch {
	case len(content) == 0:
		return false
	case len(content) == 1:
		return true
	}
	return !(content[0] == 0 && content[1] < 0x80) && !(content[0] == 0xff && content[1] >= 0x80)
}

// derSerial returns a serial number in the form that [CertRef] has. ok is false for
// one that is negative or has more than 20 octets.
func derSerial(content []byte) (serial [20]byte, ok bool) {
	if len(content) == len(serial)+1 && content[0] == 0 {
		content = content[1:]
	} else if len(content) == 0 || content[0] >= 0x80 {
		return serial, false
	}
	if len(content) > len(serial) {
		return serial, false
	}
	copy(serial[len(serial)-len(content):], content)
	return serial, true
}

// boolean reads a BOOLEAN that is there, of which some encoders write out the
// default as well.
func (r *derReader) boolean(tag byte) bool {
	content := r.read(tag)
	if len(content) != 1 || content[0] != 0 && content[0] != 0xff {
		r.broken = true
		return false
	}
	return content[0] != 0
}

// time reads a Time in one of the two forms that RFC 5280 §5.1.2.4 has.
func (r *derReader) time() time.Time {
	tag, content, _ := r.readAny()
	t, ok := derTime(tag, content)
	if !ok {
		r.broken = true
	}
	return t
}

func derTime(tag byte, content []byte) (time.Time, bool) {
	var year int
	switch {
	case tag == tagUTCTime && len(content) == len("060102150405Z"):
		if year = twoDigits(content); year < 50 {
			year += 2000
		} else {
			year += 1900
		}
		content = content[2:]
	case tag == tagGeneralizedTime && len(content) == len("20060102150405Z"):
		year = 100*twoDigits(content) + twoDigits(content[2:])
		content = content[4:]
	default:
		return time.Time{}, false
	}
	for _, c := range content[:10] {
		if c < '0' || c > '9' {
			return time.Time{}, false
		}
	}
	month, day := twoDigits(content), twoDigits(content[2:])
	hour, minute, second := twoDigits(content[4:]), twoDigits(content[6:]), twoDigits(content[8:])
	if year < 0 || content[10] != 'Z' || month < 1 || month > 12 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	return t, t.Day() == day // the 31st of June would be the 1st of July
}

// twoDigits returns a number far below zero for what are no digits.
func twoDigits(b []byte) int {
	if b[0] < '0' || b[0] > '9' || b[1] < '0' || b[1] > '9' {
		return -1 << 16
	}
	return 10*int(b[0]-'0') + int(b[1]-'0')
}

// derExtension is an Extension of a CRL or of one of its entries.
type derExtension struct {
	oid      []byte
	critical bool
	value    []byte
}

// extension reads the next one.
func (r *derReader) extension() (e derExtension) {
	inside := r.into(tagSequence)
	e.oid = inside.read(tagOID)
	if inside.next(tagBoolean) {
		e.critical = inside.boolean(tagBoolean)
	}
	e.value = inside.read(tagOctetString)
	if !inside.end() || len(e.oid) == 0 {
		r.broken = true
	}
	return e
}

// arc returns the last arc of an extension below id-ce, 2.5.29, and 0 for others.
func (e derExtension) arc() byte {
	if len(e.oid) == 3 && e.oid[0] == 0x55 && e.oid[1] == 0x1d && e.oid[2] < 0x80 {
		return e.oid[2]
	}
	return 0
}

// name returns the dotted form of the extension's identifier.
func (e derExtension) name() string {
	const maxOctets = 64
	var dotted asn1.ObjectIdentifier
	if len(e.oid) > maxOctets {
		return "with a very long identifier"
	}
	if _, err := asn1.Unmarshal(append([]byte{tagOID, byte(len(e.oid))}, e.oid...), &dotted); err != nil {
		return "with a malformed identifier"
	}
	return dotted.String()
}
