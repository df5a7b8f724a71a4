package tlsterm

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// stream returns records with that many octets of content each.
func stream(sizes ...int) []byte {
	var all []byte
	for _, size := range sizes {
		all = binary.BigEndian.AppendUint16(append(all, 23, 3, 3), uint16(size))
		all = append(all, bytes.Repeat([]byte{0x17}, size)...)
	}
	return all
}

// Everything has arrived, so that only what is asked for ends a read.
func TestRecordsOfAnUploadAreReadOneByOne(t *testing.T) {
	t.Parallel()
	const full = 16<<10 + 17
	tests := []struct {
		name  string
		sizes []int
		want  []int // octets of each read
	}{
		{"a small request is one read", []int{200}, []int{205}},
		{"small records are read together", []int{200, 1000, 300}, []int{205 + 1005 + 305}},
		{"the first large one takes two, each further one", []int{full, full, full, 900}, []int{readAhead, full + 5 - readAhead, full + 5, full + 5, 905}},
		{"a large one behind a small one ends its read", []int{100, full, full}, []int{readAhead, 105 + full + 5 - readAhead, full + 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var r records
			var got []int
			for rest := stream(tt.sizes...); len(rest) > 0; {
				n := min(len(rest), r.ahead())
				r.pass(rest[:n])
				rest = rest[n:]
				got = append(got, n)
			}
			if len(got) != len(tt.want) {
				t.Fatalf("reads of %v octets, want %v", got, tt.want)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Fatalf("reads of %v octets, want %v", got, tt.want)
				}
			}
		})
	}
}

// However the octets come, the end of a record is known when it has passed.
func TestRecordsAreFollowedInPiecesOfAnySize(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var r records
		for range 20 {
			rest := stream(random.IntN(1 << 14))
			for len(rest) > 0 {
				if ahead := r.ahead(); ahead < 1 {
					t.Fatalf("%d octets are to be read with %d of the record to come", ahead, len(rest))
				}
				n := 1 + random.IntN(min(len(rest), 1+random.IntN(5000)))
				r.pass(rest[:n])
				rest = rest[n:]
				if begun := int(r.left) > 0; begun && int(r.left) != len(rest) {
					t.Fatalf("%d octets of the record are missing, want %d", r.left, len(rest))
				}
			}
			if r.left != 0 || r.inHeader != 0 {
				t.Fatalf("after a whole record %d octets of it and %d of the next header are expected", r.left, r.inHeader)
			}
		}
	}
}
