// Package admin serves what operators and their tools ask the gateway itself:
// health, metrics and status, on a private listener.
//
//	GET /livez        200 while the process can answer at all
//	GET /readyz       200, or 503 with the reasons why not, one a line
//	GET /metrics      Prometheus or OpenMetrics exposition
//	GET /status       everything that is in force, as JSON; see [Status]
//	GET /debug/pprof/ profiles, when switched on
//
// Nothing here changes anything, and nothing here is for callers: bind it to
// loopback or to a network that only operators reach. A request whose Host is a
// name other than localhost is refused, because a web page could otherwise make
// an operator's browser read this through DNS rebinding.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"time"
)

// Options of the admin listener.
type Options struct {
	// Address is host:port; port 0 takes a free one.
	Address string
	// Pprof serves /debug/pprof/.
	Pprof bool
	// Metrics answers /metrics.
	Metrics http.Handler
	// NotReady returns why the gateway should get no traffic; empty when it should.
	NotReady func() []string
	// Status returns what /status shows.
	Status func() Status
	// Log takes what goes wrong while serving; nil discards it.
	Log *slog.Logger
}

// Server is the admin listener.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// Listen binds the address. Call [Server.Serve] next.
func Listen(o Options) (*Server, error) {
	listener, err := net.Listen("tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{listener: listener, http: &http.Server{
		Handler:           handler(o),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}}, nil
}

// Addr returns the address bound.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve serves until [Server.Close].
func (s *Server) Serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin: %w", err)
	}
	return nil
}

// Close stops serving; requests in flight finish until ctx is done.
func (s *Server) Close(ctx context.Context) error { return s.http.Shutdown(ctx) }

// handler routes the requests of the admin listener.
func handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, "alive\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := o.NotReady(); len(why) > 0 {
			answer(w, http.StatusServiceUnavailable, "not ready:\n"+strings.Join(why, "\n")+"\n")
			return
		}
		answer(w, http.StatusOK, "ready\n")
	})
	mux.Handle("GET /metrics", o.Metrics)
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(o.Status()) // the client has gone; there is nobody to tell
	})
	if o.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, "Verigate admin: /livez /readyz /metrics /status\n")
	})
	return private(mux)
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the client has gone; there is nobody to tell
}

// private refuses requests that a foreign web page made a browser send.
func private(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if !isAddress(r.Host) {
			answer(w, http.StatusForbidden, "refused: use the listener's IP address or localhost as host, not a name\n")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isAddress reports whether host is an IP address or localhost, port aside. A
// Prometheus that scrapes by service name sets its own Host, so a single label
// without a dot, as in Kubernetes or compose, passes as well: such a name cannot
// be bought on the public DNS.
func isAddress(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	return host != "" && !strings.Contains(host, ".")
}
