package tlsterm

import "encoding/binary"

// records follows the records of TLS that pass through a socket, to bound what
// crypto/tls reads ahead.
//
// Its buffer is as large as what was ever in it and stays with the connection. If the
// beginning of a record is read together with the end of the one before, it grows to
// hold both, so that an upload left 36 KiB with every connection that had made one; if
// every record ends a read, it is half of that. That must not cost a system call more:
// records of an upload are of one size, so each is read as long as the one before.
type records struct {
	left     int32   // octets missing of the record that is passing
	last     int32   // the length of that record, with its header
	header   [5]byte // of the next one, as far as it has passed
	inHeader uint8   // octets of it
}

// readAhead is how much is read where a record is expected to begin, at least. A
// request and the beginning of its body are usually in it.
const readAhead = 4096

// ahead returns how many octets to read at most.
func (r *records) ahead() int {
	if r.left > 0 {
		return int(r.left)
	}
	return max(readAhead, int(r.last)) - int(r.inHeader)
}

// pass takes note of octets that were read.
func (r *records) pass(octets []byte) {
	for len(octets) > 0 {
		if r.left > 0 {
			n := min(len(octets), int(r.left))
			r.left -= int32(n)
			octets = octets[n:]
			continue
		}
		n := copy(r.header[r.inHeader:], octets)
		octets = octets[n:]
		if r.inHeader += uint8(n); int(r.inHeader) == len(r.header) {
			r.inHeader = 0
			r.left = int32(binary.BigEndian.Uint16(r.header[3:]))
			r.last = r.left + int32(len(r.header))
		}
	}
}
