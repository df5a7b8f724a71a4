package main

import (
	"io"
	"net"
	"strings"
	"testing"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	const ok, empty = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Caller: ", "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nX-Caller: \r\nContent-Length: 0\r\n\r\n"
	kib := "\r\nContent-Length: 1024\r\n\r\n" + strings.Repeat("x", 1024)
	for _, tt := range []struct{ name, requests, want string }{
		{"a request without a caller", "GET /1k HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", ok + kib},
		{"a subject", "GET /1k HTTP/1.1\r\nX-Client-DN: CN=a-1\r\nConnection: close\r\n\r\n", ok + "CN=a-1" + kib},
		{"an identifier, in another spelling", "GET /1k HTTP/1.1\r\nx-workload-ID:spiffe://a/b\r\nConnection: Close\r\n\r\n", ok + "spiffe://a/b" + kib},
		{"two requests in one piece", "GET /1k HTTP/1.1\r\nX-Client-DN: a\r\n\r\nGET /1k HTTP/1.1\r\nX-Client-DN: b\r\nConnection: close\r\n\r\n",
			ok + "a" + kib + ok + "b" + kib},
		{"64 KiB", "GET /64k HTTP/1.1\r\nConnection: close\r\n\r\n", ok + "\r\nContent-Length: 65536\r\n\r\n" + strings.Repeat("x", 65536)},
		{"another path", "GET /2k HTTP/1.1\r\nConnection: close\r\n\r\n", empty},
	} {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			answer(server)
		}()
		go func() {
			for _, piece := range []string{tt.requests[:9], tt.requests[9:]} { // it may arrive in any pieces
				_, _ = io.WriteString(client, piece)
			}
		}()
		if got, _ := io.ReadAll(client); string(got) != tt.want {
			t.Errorf("%s: %.200q, want %.200q", tt.name, got, tt.want)
		}
	}
}

func TestHeaderWithoutEndEndsTheConnection(t *testing.T) {
	t.Parallel()
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		answer(server)
	}()
	if n, err := io.WriteString(client, "GET /1k HTTP/1.1\r\nA: "+strings.Repeat("a", 2*maxHeaderBytes)); err == nil {
		t.Errorf("the backend read all of a header of %d octets, want an end at %d", n, maxHeaderBytes)
	}
}
