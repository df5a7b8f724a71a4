package upstream

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"verigate/devpki"
)

// Bodies of any size pass through in constant memory, both ways at once.
func TestLargeBodiesStreamInConstantMemory(t *testing.T) {
	const size = 64 << 20
	d := newDomain(t)
	ln := serve(t, d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}})), func(ctx *fasthttp.RequestCtx) {
		n, err := io.Copy(io.Discard, ctx.RequestBodyStream())
		if err != nil || n != size {
			ctx.Error("incomplete", 500)
			return
		}
		ctx.SetBodyStream(io.LimitReader(zeroes{}, size), size)
	})
	u := open(t, d.options(t, ln.addr()))
	grant := grantFor(t, "pay")

	for _, length := range []int{size, chunked} {
		var req fasthttp.Request
		var resp fasthttp.Response
		req.Header.SetHost("h")
		req.Header.SetMethod("PUT")
		var peak peakReader
		peak.Reader = io.LimitReader(zeroes{}, size)
		req.SetBodyStream(&peak, length)
		runtime.GC()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := u.Forward(grant, &Call{Request: &req, Response: &resp}); err != nil || resp.StatusCode() != 200 {
			t.Fatalf("Forward() = %d, %v", resp.StatusCode(), err)
		}
		peak.Reader = resp.BodyStream()
		n, err := io.Copy(io.Discard, &peak)
		resp.CloseBodyStream()
		if n != size || err != nil {
			t.Fatalf("the response has %d octets, %v, want %d", n, err, size)
		}
		if grown := int64(peak.heap) - int64(before.HeapAlloc); grown > 4<<20 {
			t.Errorf("the heap grew by %d KiB for a body of %d MiB", grown>>10, size>>20)
		}
	}
}

// peakReader notes how much memory is in use while it is read.
type peakReader struct {
	io.Reader
	octets, next int
	heap         uint64
}

func (r *peakReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if r.octets += n; r.octets >= r.next {
		r.next = r.octets + 16<<20
		runtime.GC()
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		r.heap = max(r.heap, now.HeapAlloc)
	}
	return n, err
}

// A header larger than the buffer makes it grow beyond what the digits of a chunk
// size can say.
func TestChunksBehindALargeHeader(t *testing.T) {
	t.Parallel()
	received := make(chan string, 1)
	ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) {
		_, wire := readRequest(in)
		received <- wire
		io.WriteString(c, ok)
	})
	body := strings.Repeat("0123456789abcdef", 64<<10)
	_, _, _, err := forward(t, open(t, plainOptions(ln.addr())), func(req *fasthttp.Request) {
		req.Header.SetMethod("PUT")
		req.Header.Set("X-Large", strings.Repeat("x", 300<<10))
		req.SetBodyStream(strings.NewReader(body), chunked)
	})
	if err != nil {
		t.Fatal(err)
	}
	got, rest, err := dechunk([]byte(<-received))
	if err != nil || len(rest) != 0 || string(got) != body {
		t.Errorf("the backend received %d octets, rest %d, %v, want %d", len(got), len(rest), err, len(body))
	}
}

// RFC 9112 §9.8: the end of the connection ends a body only if TLS says so too.
func TestBodyUntilTheEndNeedsCloseNotify(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	config := d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}}))
	for _, farewell := range []bool{true, false} {
		ln := script(t, func(_ int, c net.Conn, _ *bufio.Reader) {
			tc := tls.Server(c, config)
			readRequest(bufio.NewReader(tc))
			io.WriteString(tc, "HTTP/1.1 200 OK\r\n\r\nall of it")
			if farewell {
				tc.Close()
			}
		})
		_, body, _, err := forward(t, open(t, d.options(t, ln.addr())), nil)
		if want := map[bool]string{false: ReasonClosed}[farewell]; reasonOf(err) != want {
			t.Errorf("with close_notify %v the body is %q, %v, want reason %q", farewell, body, err, want)
		}
	}
}

func FuzzParseChunkSize(f *testing.F) {
	for _, seed := range []string{"0", "5", "fF", "5;a=b", "5 ;a", "5\t", "", ";", "0x5", "-1", "+1", "5 5", "fffffffffffffff", "ffffffffffffffff", "00000000000000005"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		size, err := parseChunkSize([]byte(line))
		if err != nil {
			return
		}
		digits := line[:len(line)-len(strings.TrimLeft(line, "0123456789abcdefABCDEF"))]
		if digits == "" || len(digits) > 15 || size < 0 {
			t.Fatalf("parseChunkSize(%q) = %d", line, size)
		}
		if rest := strings.TrimLeft(line[len(digits):], " \t"); rest != "" && rest[0] != ';' {
			t.Fatalf("parseChunkSize(%q) accepted what follows the size", line)
		}
	})
}

// A request that begins with any header and body is framed so that what follows
// it cannot be mistaken for a part of it.
func FuzzChunksRoundTrip(f *testing.F) {
	f.Add([]byte("hello"), uint16(3))
	f.Add([]byte(strings.Repeat("0\r\n\r\n", 100)), uint16(bufferBytes-1))
	f.Fuzz(func(t *testing.T, body []byte, room uint16) {
		r := request{stream: strings.NewReader(string(body)), left: chunked}
		buffer := make([]byte, 0, min(int(room)+64, bufferBytes))
		var wire []byte
		for r.stream != nil {
			piece, err := r.more(buffer[:0])
			if err != nil {
				t.Fatal(err)
			}
			wire = append(wire, piece...)
		}
		got, rest, err := dechunk(wire)
		if err != nil || string(got) != string(body) || len(rest) != 0 {
			t.Fatalf("%d octets became %q, rest %q, %v", len(body), got, rest, err)
		}
	})
}

func dechunk(wire []byte) (body, rest []byte, err error) {
	for {
		line, after, found := strings.Cut(string(wire), "\r\n")
		size, err := parseChunkSize([]byte(line))
		if !found || err != nil || int(size)+2 > len(after) || after[size:size+2] != "\r\n" {
			return body, wire, errors.Join(err, io.ErrUnexpectedEOF)
		}
		body = append(body, after[:size]...)
		wire = []byte(after[size+2:])
		if size == 0 {
			return body, wire, nil
		}
	}
}

// A body that is written in pieces arrives octet for octet, over TLS too, however it
// comes in. If it breaks off, what came arrives, and the error behind it.
func TestWriteTo(t *testing.T) {
	t.Parallel()
	const size = 5*pieceBytes + 7
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i ^ i>>8 ^ i>>16)
	}
	d := newDomain(t)
	for _, tt := range []struct {
		name    string
		sent    int // of size octets
		atOnce  int
		mutual  bool
		framing string
		reason  string
	}{
		{"whole", size, size, false, fmt.Sprintf("Content-Length: %d", size), ""},
		{"whole over TLS", size, size, true, fmt.Sprintf("Content-Length: %d", size), ""},
		{"in small pieces", size, 1000, false, fmt.Sprintf("Content-Length: %d", size), ""},
		{"in small pieces over TLS", size, 1000, true, fmt.Sprintf("Content-Length: %d", size), ""},
		{"until the connection closes", size, size, false, "Connection: close", ""},
		{"cut", 3*pieceBytes + 5, size, false, fmt.Sprintf("Content-Length: %d", size), ReasonClosed},
		{"cut over TLS", 3*pieceBytes + 5, size, true, fmt.Sprintf("Content-Length: %d", size), ReasonClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			config := d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}}))
			ln := script(t, func(_ int, c net.Conn, in *bufio.Reader) {
				if tt.mutual {
					c = tls.Server(c, config)
					in = bufio.NewReader(c)
				}
				defer c.Close()
				readRequest(in)
				io.WriteString(c, "HTTP/1.1 200 OK\r\n"+tt.framing+"\r\n\r\n")
				for rest := content[:tt.sent]; len(rest) > 0; {
					n := min(len(rest), tt.atOnce)
					c.Write(rest[:n])
					rest = rest[n:]
				}
			})
			o := plainOptions(ln.addr())
			if tt.mutual {
				o = d.options(t, ln.addr())
			}
			u := open(t, o)
			resp := answered(t, u)
			defer resp.CloseBodyStream()
			var got bytes.Buffer
			n, err := resp.BodyStream().(io.WriterTo).WriteTo(&got)
			if !bytes.Equal(got.Bytes(), content[:tt.sent]) || n != int64(tt.sent) || reasonOf(err) != tt.reason {
				t.Errorf("WriteTo() = %d, %v and wrote %d octets, want %d as sent and reason %q", n, err, got.Len(), tt.sent, tt.reason)
			}
		})
	}
}

// slowWriter is a client that stops reading for longer than a backend may stall.
type slowWriter struct {
	written int
	stalls  int
	stall   time.Duration
}

func (s *slowWriter) Write(p []byte) (int, error) {
	s.written += len(p)
	if s.stalls > 0 {
		s.stalls--
		time.Sleep(s.stall)
	}
	return len(p), nil
}

// The time that the client takes does not count against the backend, whose octets
// have long been there: in records that do not add up to pieces, so that some of
// them wait in a buffer.
func TestSlowClientIsNotTheBackendsFault(t *testing.T) {
	t.Parallel()
	const size = 256 << 10
	d := newDomain(t)
	config := d.serverTLS(d.leaf(t, devpki.LeafOptions{URIs: []string{apiID}}))
	config.DynamicRecordSizingDisabled = true
	ln := script(t, func(_ int, c net.Conn, _ *bufio.Reader) {
		tc := tls.Server(c, config)
		readRequest(bufio.NewReader(tc))
		fmt.Fprintf(tc, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
		for left := size; left > 0; left -= min(left, 8000) {
			tc.Write(make([]byte, min(left, 8000)))
		}
	})
	o := d.options(t, ln.addr())
	o.BodyIdleTimeout = 200 * time.Millisecond
	u := open(t, o)
	resp := answered(t, u)
	body := resp.BodyStream().(*responseBody)
	client := &slowWriter{stalls: 3, stall: 2 * o.BodyIdleTimeout}
	if _, err := body.WriteTo(client); err != nil || client.written != size {
		t.Errorf("WriteTo a slow client wrote %d octets of %d, %v", client.written, size, err)
	}
	if n := body.c.e.errors.Load(); n != 0 {
		t.Errorf("%d errors count against the backend, want none", n)
	}
}
