//go:build !linux

package tlsterm

import (
	"fmt"
	"os"
)

// bell wakes one goroutine through the network poller: an octet through a pipe.
type bell struct{ read, write *os.File }

func newBell() (*bell, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	return &bell{read, write}, nil
}

// ring makes answer call its function after the next poll of the network. It blocks if
// it is called tens of thousands of times before that.
func (b *bell) ring() {
	// It fails when the bell is closed.
	_, _ = b.write.Write([]byte{0})
}

// answer calls f after a poll that followed a ring, until the bell is closed. It closes
// listening when no ring can be missed any more.
func (b *bell) answer(listening chan<- struct{}, f func()) {
	close(listening)
	var octets [64]byte
	for {
		if _, err := b.read.Read(octets[:]); err != nil {
			return
		}
		f()
	}
}

// close makes answer return.
func (b *bell) close() {
	b.read.Close()
	b.write.Close()
}
