package trust

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"math/bits"
	"time"
)

// RevocationReason says why a certificate was revoked, as RFC 5280 §5.3.1 numbers
// it. It is for explaining: every reason revokes.
type RevocationReason uint8

// The reasons that have a meaning of their own here.
const (
	reasonNotGiven      RevocationReason = 0
	reasonRemoveFromCRL RevocationReason = 8
)

var revocationReasonText = [...]string{
	"no reason given", "key compromise", "CA compromise", "affiliation changed", "superseded",
	"cessation of operation", "certificate hold", "reason 7", "removal from the CRL", "privilege withdrawn", "AA compromise",
}

// String returns the reason in words.
func (r RevocationReason) String() string {
	if int(r) < len(revocationReasonText) {
		return revocationReasonText[r]
	}
	return "a reason of its own"
}

// Revocation is what an entry of a CRL says of a certificate.
type Revocation struct {
	Date   time.Time // in UTC; zero for one outside of 1970 to 2106
	Reason RevocationReason
}

// revokedSerials is the set of serial numbers that a CRL lists. One with 20 octets
// is rare and one with 3 can be among them, so there are two tables of which each is
// as wide as its longest serial number: that keeps either below the size of its
// entries in DER, which take 19 octets and the serial number.
type revokedSerials struct {
	short, long serialTable
}

// shortSerialBytes is what a serial number has at most to be in the short table.
const shortSerialBytes = 8

// tableOf returns the table that serial belongs to.
func (s *revokedSerials) tableOf(serial *[20]byte) *serialTable {
	if significant(serial) <= shortSerialBytes {
		return &s.short
	}
	return &s.long
}

// significant returns how many octets serial has without its leading zeros.
func significant(serial *[20]byte) int {
	high, middle := binary.BigEndian.Uint64(serial[:]), binary.BigEndian.Uint64(serial[8:])
	low := binary.BigEndian.Uint32(serial[16:])
	switch {
	case high != 0:
		return 20 - bits.LeadingZeros64(high)/8
	case middle != 0:
		return 12 - bits.LeadingZeros64(middle)/8
	}
	return 4 - bits.LeadingZeros32(low)/8
}

// find looks serial up. It does not allocate.
func (s *revokedSerials) find(serial *[20]byte) (Revocation, bool) {
	return s.tableOf(serial).find(serial)
}

// serialTable is rows in buckets. A look-up touches a bucket's limits and its rows,
// which are four on average and lie side by side: two places in memory, where a
// binary search of a million entries has twenty.
type serialTable struct {
	width  int      // of a serial number
	limits []uint32 // where each bucket's rows begin, and the end of the last one's
	rows   []byte   // width octets of serial number, four of date, one of reason
	count  int
}

// rowExtra is what a row has behind the serial number.
const rowExtra = 4 + 1

// rowsPerBucket weighs the rows that a look-up compares against the four octets that
// a bucket costs.
const rowsPerBucket = 4

// serialSeed keeps others from choosing serial numbers that meet in one bucket.
var serialSeed = maphash.MakeSeed()

// bucketOf returns the bucket of serial. There is at least one.
func (t *serialTable) bucketOf(serial *[20]byte) uint32 {
	high, _ := bits.Mul64(maphash.Bytes(serialSeed, serial[:]), uint64(len(t.limits)-1))
	return uint32(high)
}

// announce counts a serial number that add will be called with: all of them have to
// be announced first.
func (t *serialTable) announce(serial *[20]byte) {
	t.count++
	t.width = max(t.width, significant(serial))
}

// prepare makes room for what was announced.
func (t *serialTable) prepare() {
	if t.count == 0 {
		return
	}
	t.limits = make([]uint32, t.count/rowsPerBucket+2)
	t.rows = make([]byte, t.count*(t.width+rowExtra))
}

// tally counts how many rows a bucket gets. It comes between prepare and place.
func (t *serialTable) tally(serial *[20]byte) { t.limits[t.bucketOf(serial)]++ }

// place turns the counts into where each bucket ends, from where add fills it
// downwards.
func (t *serialTable) place() {
	end := uint32(0)
	for i, n := range t.limits {
		end += n
		t.limits[i] = end
	}
}

// add puts a row into its bucket.
func (t *serialTable) add(serial *[20]byte, r Revocation) {
	bucket := t.bucketOf(serial)
	t.limits[bucket]--
	row := t.row(t.limits[bucket])
	copy(row, serial[len(serial)-t.width:])
	if seconds := r.Date.Unix(); seconds > 0 && seconds <= math.MaxUint32 {
		binary.BigEndian.PutUint32(row[t.width:], uint32(seconds))
	}
	row[t.width+4] = byte(r.Reason)
}

func (t *serialTable) row(i uint32) []byte {
	size := t.width + rowExtra
	return t.rows[int(i)*size : (int(i)+1)*size]
}

// find looks serial up.
func (t *serialTable) find(serial *[20]byte) (Revocation, bool) {
	if t.count == 0 || significant(serial) > t.width {
		return Revocation{}, false
	}
	bucket, wanted := t.bucketOf(serial), serial[len(serial)-t.width:]
	for i := t.limits[bucket]; i < t.limits[bucket+1]; i++ {
		row := t.row(i)
		if string(row[:t.width]) != string(wanted) {
			continue
		}
		r := Revocation{Reason: RevocationReason(row[t.width+4])}
		if seconds := binary.BigEndian.Uint32(row[t.width:]); seconds != 0 {
			r.Date = time.Unix(int64(seconds), 0).UTC()
		}
		return r, true
	}
	return Revocation{}, false
}
