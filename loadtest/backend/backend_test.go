package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

func TestBindRefusesTheNetwork(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0"} {
		if l, err := bind(address); err == nil {
			l.Close()
			t.Errorf("bind(%q) listens at %s, want an error: requests would travel in the clear", address, l.Addr())
		}
	}
}

func TestBindReplacesASocketThatWasLeftBehind(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "http.sock")
	first, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false)
	first.Close()
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	second, err := bind("unix:" + path)
	if err != nil {
		t.Fatalf("bind() after a crash: %v", err)
	}
	second.Close()
}

func TestEveryAnswerIsTheSame(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "http.sock")
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	l, err := bind("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	go func() { served <- answer(ctx, l, 1024) }()
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		request, err := http.NewRequestWithContext(ctx, method, "http://backend/any/path", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || len(body) != 1024 {
			t.Errorf("%s: status %d, %d octets, %v; want 200 and 1024", method, response.StatusCode, len(body), err)
		}
	}
	client.CloseIdleConnections()
	cancel()
	if err := <-served; err != nil {
		t.Errorf("answer() = %v after it was asked to stop", err)
	}
}
