// Command backend is what load tests put behind the gateway: it answers every
// request with the same body as fast as it can, so that what is measured is the
// gateway. It speaks plain HTTP/1.1, therefore only on loopback or on a unix
// socket.
//
//	backend -listen 127.0.0.1:0 -bytes 1024
//	backend -listen unix:/run/backend/http.sock
//
// It prints the address that it listens at as one line, and ends on SIGTERM.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/valyala/fasthttp"
)

// maxBodyBytes bounds what a request may send; it is read and thrown away.
const maxBodyBytes = 1 << 20

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address on loopback, or unix:PATH")
	size := flag.Int("bytes", 1024, "size of each answer's body")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *listen, *size); err != nil {
		fmt.Fprintln(os.Stderr, "backend:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, address string, size int) error {
	if size < 0 {
		return fmt.Errorf("-bytes %d: a body cannot be shorter than nothing", size)
	}
	listener, err := bind(address)
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	return answer(ctx, listener, size)
}

// answer serves until ctx is done.
func answer(ctx context.Context, listener net.Listener, size int) error {
	body := bytes.Repeat([]byte{'x'}, size)
	server := &fasthttp.Server{
		NoDefaultServerHeader: true,
		MaxRequestBodySize:    maxBodyBytes,
		Handler: func(c *fasthttp.RequestCtx) {
			c.SetContentType("text/plain")
			if caller := c.Request.Header.Peek("X-Workload-Id"); len(caller) > 0 {
				c.Response.Header.SetBytesV("Caller", caller) // for clients to check who arrived
			}
			c.SetBody(body)
		},
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		return listener.Close() // whoever measures has stopped; nothing is worth waiting for
	}
}

// bind listens at address. A socket that a backend left behind when it was killed
// is removed first.
func bind(address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return net.Listen("unix", path)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := listener.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return nil, errors.Join(fmt.Errorf("%s is not a loopback address: requests would travel in the clear", address), listener.Close())
	}
	return listener, nil
}
