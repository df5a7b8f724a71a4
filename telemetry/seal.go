package telemetry

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// sealer chains an audit log (AUD-04). A seal's value is
//
//	SHA-256(value of the previous seal ‖ SHA-256(octets since that seal began))
//
// and the line of a seal is covered by the next one. One seal for each write,
// rather than one hash for each record, keeps lines short and the work on the
// writer's goroutine. The nil sealer does nothing.
type sealer struct {
	h       hash.Hash
	due     bool // something other than a seal was written
	records int  // lines since the last seal
	seq     uint64
	prev    [sha256.Size]byte
}

func newSealer() *sealer { return &sealer{h: sha256.New()} }

// write takes note of octets that were written.
func (s *sealer) write(b []byte) {
	if s == nil || len(b) == 0 {
		return
	}
	s.h.Write(b)
	s.records += bytes.Count(b, []byte{'\n'})
	s.due = true
}

// record returns the seal over what was written so far, and its value for commit.
func (s *sealer) record(at time.Time) (record []byte, value [sha256.Size]byte) {
	value = sealValue(s.prev, s.h)
	var l line
	l.open(at, eventSeal)
	l.unsigned("seq", s.seq+1)
	l.number("records", int64(s.records))
	l.hash("prev", s.prev)
	l.hash("sha256", value)
	l.close()
	return l.b, value
}

// commit takes note that a seal was written.
func (s *sealer) commit(record []byte, value [sha256.Size]byte) {
	s.prev = value
	s.seq++
	s.restart()
	s.h.Write(record)
}

// restart begins a link without the line of the seal before it, which is in
// another file.
func (s *sealer) restart() {
	if s == nil {
		return
	}
	s.h.Reset()
	s.records, s.due = 0, false
}

func sealValue(prev [sha256.Size]byte, octets hash.Hash) [sha256.Size]byte {
	return sha256.Sum256(octets.Sum(prev[:]))
}

// Seals is what [VerifySeals] found in a log.
type Seals struct {
	Count    int // seals that hold
	Records  int // lines that they cover
	Unsealed int // lines that no seal covers: written since the last one, or before a crash
	// First and Last link this file to its neighbours: Last of one file is First of
	// the next, unless the gateway was started anew in between, which makes First zero.
	First, Last [sha256.Size]byte
}

// VerifySeals reads an audit log that was written with [AuditOptions.Seal] and
// fails at the first seal that does not hold: because a record before it was
// changed, added, removed or moved, or because a seal is missing before it.
//
// The chain has no key. Who can write the file can write all of it anew, and can
// cut it off after any seal; shipping seals elsewhere is what shows that.
func VerifySeals(r io.Reader) (Seals, error) {
	v := sealVerifier{octets: sha256.New()}
	in := bufio.NewReaderSize(r, 2*maxLine)
	for number := 1; ; number++ {
		raw, err := in.ReadSlice('\n')
		if fault := v.line(raw); fault != nil {
			return v.found, fmt.Errorf("telemetry: audit line %d: %w", number, fault)
		}
		// What is longer than any record of ours is data, and needs no memory.
		for errors.Is(err, bufio.ErrBufferFull) {
			raw, err = in.ReadSlice('\n')
			v.octets.Write(raw)
		}
		if err == io.EOF {
			v.found.Unsealed += v.lines
			return v.found, nil
		}
		if err != nil {
			return v.found, fmt.Errorf("telemetry: audit line %d: %w", number, err)
		}
	}
}

type sealVerifier struct {
	found  Seals
	octets hash.Hash
	lines  int
	linked bool // prev and seq are those of the seal before
	prev   [sha256.Size]byte
	seq    uint64
}

func (v *sealVerifier) line(raw []byte) error {
	if len(raw) == 0 {
		return nil
	}
	var record struct {
		Event   string
		Seq     uint64
		Records int
		Prev    string
		SHA256  string
	}
	// A line that is no record is data like any other: the next seal covers it or fails.
	_ = json.Unmarshal(raw, &record)
	switch record.Event {
	case eventSeal:
		if err := v.seal(record.Seq, record.Records, record.Prev, record.SHA256); err != nil {
			return err
		}
		v.octets.Reset()
		v.octets.Write(raw)
		v.lines = 0
		return nil
	case eventStart:
		v.linked, v.prev, v.seq = true, [sha256.Size]byte{}, 0
		fallthrough
	case eventReopen:
		// A log and a file begin a link; lines before it that no seal covers were cut
		// off by a crash.
		v.found.Unsealed += v.lines
		v.octets.Reset()
		v.lines = 0
	}
	v.octets.Write(raw)
	v.lines++
	return nil
}

func (v *sealVerifier) seal(seq uint64, records int, prevHex, valueHex string) error {
	prev, err := parseHash(prevHex)
	if err != nil {
		return fmt.Errorf("seal %d: prev: %w", seq, err)
	}
	value, err := parseHash(valueHex)
	if err != nil {
		return fmt.Errorf("seal %d: sha256: %w", seq, err)
	}
	if v.linked && (prev != v.prev || seq != v.seq+1) {
		return fmt.Errorf("seal %d does not follow seal %d", seq, v.seq)
	}
	if records != v.lines || sealValue(prev, v.octets) != value {
		return fmt.Errorf("seal %d does not match the %d lines before it", seq, v.lines)
	}
	if v.found.Count == 0 {
		v.found.First = prev
	}
	v.found.Count++
	v.found.Records += v.lines
	v.found.Last = value
	v.linked, v.prev, v.seq = true, value, seq
	return nil
}

// parseHash reads a hash of a record; "" is the zero one, which records leave out.
func parseHash(s string) (h [sha256.Size]byte, err error) {
	if s == "" {
		return h, nil
	}
	b, err := hex.DecodeString(s)
	if err == nil && len(b) != len(h) {
		err = fmt.Errorf("%d octets, want %d", len(b), len(h))
	}
	copy(h[:], b)
	return h, err
}
