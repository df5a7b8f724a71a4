package upstream

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// What the kernel takes in part only goes out once, and whole: octets that are sent
// twice would be a request of somebody else's making.
func TestHeldOctetsGoOutOnce(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789abcde\n"), 1<<19) // 8 MiB: more than a socket holds
	ln := script(t, func(_ int, c net.Conn, _ *bufio.Reader) {
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		got, _ := io.ReadAll(io.LimitReader(c, int64(len(content))))
		if !bytes.Equal(got, content) {
			c.Write([]byte("n"))
			return
		}
		c.Write([]byte("y"))
	})
	c, err := net.Dial("tcp", ln.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w, err := newWire(c)
	if err != nil {
		t.Fatal(err)
	}
	w.hold = true
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	w.hold = false
	var answer [1]byte
	if _, err := w.Read(answer[:]); err != nil || answer[0] != 'y' || w.sent != int64(len(content)) {
		t.Errorf("Read() = %q, %v with %d octets sent, want all %d to arrive as they are", answer, err, w.sent, len(content))
	}
}
