package upstream

import (
	"bufio"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// arrivals are what arrives, read by read.
type arrivals []string

func (a *arrivals) Read(p []byte) (int, error) {
	if len(*a) == 0 {
		return 0, io.EOF
	}
	n := copy(p, (*a)[0])
	if (*a)[0] = (*a)[0][n:]; (*a)[0] == "" {
		*a = (*a)[1:]
	}
	return n, nil
}

// Whether a header has its end and a Date does not depend on how it arrives, and it has its end
// exactly if its first blank line makes CRLF CRLF.
func TestHeadersAreDatedAlikeHoweverTheyArrive(t *testing.T) {
	t.Parallel()
	starts := []string{"HTTP/1.1 200 OK", "HTTP/1.1 103 Early Hints"}
	parts := []string{"\r\n", "\r\n", "\r\n", "\r\n\r\n", "\n", "\r", "X: y", "Date: x", "date:", " folded", ":", "octets"}
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[bool]int{}
	for range 5000 {
		whole := starts[random.IntN(len(starts))]
		for range random.IntN(12) {
			whole += parts[random.IntN(len(parts))]
		}
		said := func(a ...string) (hasDate, ends bool) {
			arriving := arrivals(a)
			return dated(bufio.NewReaderSize(&arriving, bufferBytes))
		}
		hasDate, ends := said(whole)
		for cut := 1; cut < len(whole); cut++ {
			if d, e := said(whole[:cut], whole[cut:]); d != hasDate || e != ends {
				t.Fatalf("dated(%q) = %v, %v, and cut at %d it is %v, %v", whole, hasDate, ends, cut, d, e)
			}
		}
		if d, e := said(strings.Split(whole, "")...); d != hasDate || e != ends {
			t.Fatalf("dated(%q) = %v, %v, and octet by octet it is %v, %v", whole, hasDate, ends, d, e)
		}
		at, blank := 0, false
		for first := true; !blank; first = false {
			line, _, ok := strings.Cut(whole[at:], "\n")
			if !ok {
				break
			}
			at += len(line) + 1
			blank = !first && (line == "" || line == "\r")
		}
		if !blank {
			continue // it never ends, which whoever reads it says
		}
		want := strings.HasSuffix(whole[:at], "\r\n\r\n")
		if ends != want {
			t.Fatalf("dated(%q) says that it ends: %v, want %v", whole, ends, want)
		}
		seen[want]++
	}
	if seen[true] == 0 || seen[false] == 0 {
		t.Errorf("%v, want headers with and without their end", seen)
	}
}
