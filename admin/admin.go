// Package admin serves what operators and their tools ask the gateway itself:
// health, metrics and status, on a private listener.
//
//	GET /livez        200 while the process can answer at all
//	GET /readyz       200 or 503, with what is wrong, one a line; see [Readiness]
//	GET /metrics      Prometheus or OpenMetrics exposition
//	GET /status       everything that is in force, as JSON; see [Status]
//	POST /explain     how a chain, and perhaps a request, would fare; see [Question]
//	GET /debug/pprof/ profiles, when switched on
//
// Nothing here changes anything, and nothing here is for callers: bind it to
// loopback or to a network that only operators reach. Two kinds of request are
// refused, because a web page could make an operator's browser send them: those
// whose Host is a public name, by which DNS rebinding would read what is here, and
// those that say they come from another site, which could start profiles.
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
	"strconv"
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
	// Readiness returns what /readyz shows.
	Readiness func() Readiness
	// Status returns what /status shows.
	Status func() Status
	// Explain answers POST /explain with what is encoded as JSON; nil: there is no
	// such endpoint. An error that is a [*QuestionError] is told to whoever asked, any
	// other one is logged. It may be called concurrently, for two questions at most.
	Explain func(context.Context, *Question) (any, error)
	// Log takes what goes wrong while serving; nil discards it.
	Log *slog.Logger
}

// writeTimeout bounds an answer. The longest one is a profile, which says so when
// it is asked to take longer.
const writeTimeout = 2 * time.Minute

// Readiness says whether the gateway should get traffic, one reason an element.
type Readiness struct {
	// NotReady is why it should not: it would fail, or is about to end.
	NotReady []string
	// Degraded is what somebody has to look at while the last good state serves on.
	// It does not make the gateway unready: a bad file that reaches every replica
	// would otherwise take all of them out at once.
	Degraded []string
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
		WriteTimeout:      writeTimeout,
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

// Close stops serving, also a server that was never asked to serve. Requests in
// flight finish until ctx is done and are cut then.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	// Shutdown knows the listener only once Serve was called.
	if closing := s.listener.Close(); closing != nil && !errors.Is(closing, net.ErrClosed) {
		err = errors.Join(err, closing)
	}
	return err
}

// handler routes the requests of the admin listener.
func handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, "alive\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		r := o.Readiness()
		status, text := http.StatusOK, "ready\n"
		if len(r.NotReady) > 0 {
			status, text = http.StatusServiceUnavailable, "not ready:\n"+strings.Join(r.NotReady, "\n")+"\n"
		}
		if len(r.Degraded) > 0 {
			text += "degraded:\n" + strings.Join(r.Degraded, "\n") + "\n"
		}
		answer(w, status, text)
	})
	mux.Handle("GET /metrics", o.Metrics)
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, o.Log, o.Status())
	})
	index := "Verigate admin: /livez /readyz /metrics /status\n"
	if o.Explain != nil {
		mux.HandleFunc("POST /explain", explainHandler(&o))
		index = "Verigate admin: /livez /readyz /metrics /status, POST /explain\n"
	}
	if o.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, index)
	})
	return private(mux)
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the client has gone; there is nobody to tell
}

// answerJSON answers with value. What cannot be encoded is no answer at all, rather
// than half of one.
func answerJSON(w http.ResponseWriter, log *slog.Logger, value any) {
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		log.Error("an answer cannot be encoded", "error", err)
		answer(w, http.StatusInternalServerError, "the answer cannot be encoded\n")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) // the client has gone; there is nobody to tell
}

// private refuses requests that a foreign web page made a browser send.
func private(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if !isPrivateHost(r.Host) {
			answer(w, http.StatusForbidden, "refused: use the listener's IP address or localhost as host, not a name\n")
			return
		}
		// Browsers set it, and pages cannot change it.
		if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "none" && site != "same-origin" {
			answer(w, http.StatusForbidden, "refused: the request was made by a page of another site\n")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isPrivateHost reports whether host is an IP address or a single label such as
// localhost, port aside. A single label is how Prometheus scrapes by service name
// in compose or Kubernetes; nobody can buy one in the public DNS.
func isPrivateHost(host string) bool {
	if name, port, err := net.SplitHostPort(host); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return false
		}
		host = name
	}
	if address, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return address.Zone() == "" // a zone may spell anything
	}
	return host != "" && !strings.ContainsAny(host, ".:%")
}
