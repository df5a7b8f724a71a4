// Command backend is what the peers forward to: it answers /1k and /64k with as many
// octets, and says who the caller is according to the peer. It speaks plain
// HTTP/1.1 on loopback, only as much of it as the load generator asks for.
//
// It prints its address as one line, and ends when its input does.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
)

// maxHeaderBytes is more than any peer makes of the generator's request.
const maxHeaderBytes = 16 << 10

// callers are the fields by which peers say who calls; the first that is there counts.
var callers = [][]byte{[]byte("\r\nx-workload-id:"), []byte("\r\nx-client-dn:")}

// bodies by the path that asks for them.
var bodies = map[string][]byte{"/1k": bytes.Repeat([]byte{'x'}, 1<<10), "/64k": bytes.Repeat([]byte{'x'}, 64<<10)}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "backend:", err)
		os.Exit(1)
	}
	fmt.Println(listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // whoever started it holds the other end
		os.Exit(0)
	}()
	fmt.Fprintln(os.Stderr, "backend:", serve(listener))
	os.Exit(1)
}

// serve answers until the listener fails, and returns why.
func serve(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			answer(conn)
		}()
	}
}

// answer serves one connection until the other side, or its request, ends it.
func answer(conn io.ReadWriter) {
	in, out, n := make([]byte, maxHeaderBytes), []byte(nil), 0
	for {
		end := bytes.Index(in[:n], []byte("\r\n\r\n"))
		for end < 0 {
			more, err := conn.Read(in[n:])
			if err != nil || n+more == len(in) {
				return
			}
			n += more
			end = bytes.Index(in[:n], []byte("\r\n\r\n"))
		}
		request := in[:end+2]
		out = respond(out[:0], request)
		if _, err := conn.Write(out); err != nil || closes(request) {
			return
		}
		n = copy(in, in[end+4:n])
	}
}

// respond appends the answer to request, a header block without its last line end.
func respond(out, request []byte) []byte {
	line, _, _ := bytes.Cut(request, []byte("\r\n"))
	_, target, _ := bytes.Cut(line, []byte(" "))
	path, _, _ := bytes.Cut(target, []byte(" "))
	body, ok := bodies[string(path)]
	status := "200 OK"
	if !ok {
		status = "404 Not Found"
	}
	out = fmt.Appendf(out, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nX-Caller: %s\r\nContent-Length: %d\r\n\r\n",
		status, caller(request), len(body))
	return append(out, body...)
}

// caller is who calls according to the peer, "" if it does not say.
func caller(request []byte) []byte {
	for _, name := range callers {
		if value, ok := field(request, name); ok {
			return value
		}
	}
	return nil
}

// closes reports whether the connection ends after the answer. Only peers that copy
// octets let that through.
func closes(request []byte) bool {
	value, _ := field(request, []byte("\r\nconnection:"))
	return bytes.EqualFold(value, []byte("close"))
}

// field finds the value of a field; name has the line end before it and the colon.
func field(request, name []byte) ([]byte, bool) {
	for rest := request; ; {
		i := bytes.Index(rest, name[:2])
		if i < 0 || len(rest)-i < len(name) {
			return nil, false
		}
		if rest = rest[i:]; bytes.EqualFold(rest[:len(name)], name) {
			value, _, _ := bytes.Cut(rest[len(name):], []byte("\r\n"))
			return bytes.TrimSpace(value), true
		}
		rest = rest[2:]
	}
}
