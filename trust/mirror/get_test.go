package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"verigate/trust/mirror"
)

func newGetter(address string) *mirror.Getter {
	return &mirror.Getter{URL: address, Accept: "text/plain", MaxBytes: 100, Timeout: 10 * time.Second}
}

func get(t *testing.T, g *mirror.Getter, conditional bool) (string, bool, error) {
	t.Helper()
	body, modified, err := g.Get(t.Context(), mirror.NewTransport(nil), conditional)
	return string(body), modified, err
}

func TestOnlyWhatWasConfirmedCountsAsUnchanged(t *testing.T) {
	t.Parallel()
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("If-None-Match")+" "+r.Header.Get("If-Modified-Since"))
		w.Header().Set("ETag", `"one"`)
		w.Header().Set("Last-Modified", "Sun, 22 Nov 2026 12:00:00 GMT")
		if r.Header.Get("If-None-Match") == `"one"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "document")
	}))
	defer server.Close()
	g := newGetter(server.URL)
	const condition = `"one" Sun, 22 Nov 2026 12:00:00 GMT`
	for i, step := range []struct {
		confirm, conditional, modified bool
		asked                          string
	}{
		{false, true, true, " "}, // nothing was confirmed before the first
		{true, true, true, " "},  // what came first was refused
		{false, true, false, condition},
		{false, true, false, condition}, // an answer without a document changes nothing
		{true, false, true, " "},        // the copy is gone
		{false, true, false, condition},
	} {
		body, modified, err := get(t, g, step.conditional)
		if err != nil || modified != step.modified || modified != (body == "document") {
			t.Errorf("Get() number %d = %q, %v, %v; want modified %v", i+1, body, modified, err, step.modified)
		}
		if asked[i] != step.asked {
			t.Errorf("Get() number %d asked on condition %q, want %q", i+1, asked[i], step.asked)
		}
		if step.confirm {
			g.Confirm()
		}
	}
}

func TestGetRefuses(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	answer := func(path string, f http.HandlerFunc) { mux.HandleFunc(path, f) }
	for _, code := range []int{201, 203, 204, 206, 304, 404, 500} {
		answer(fmt.Sprintf("/status/%d", code), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	answer("/long", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 101)) })
	answer("/chunked", func(w http.ResponseWriter, _ *http.Request) {
		for range 101 {
			fmt.Fprint(w, "x")
			w.(http.Flusher).Flush()
		}
	})
	answer("/claim", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "1000000000000") })
	answer("/broken", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "50")
		fmt.Fprint(w, "half")
	})
	answer("/header", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Long", strings.Repeat("x", 1<<20)) })
	server := httptest.NewServer(mux)
	defer server.Close()
	for path, want := range map[string]mirror.Reason{
		"/status/201": mirror.ReasonAnswer,
		"/status/203": mirror.ReasonAnswer,
		"/status/204": mirror.ReasonAnswer,
		"/status/206": mirror.ReasonAnswer,
		"/status/304": mirror.ReasonAnswer, // nobody asked on condition
		"/status/404": mirror.ReasonAnswer,
		"/status/500": mirror.ReasonAnswer,
		"/long":       mirror.ReasonTooLarge,
		"/chunked":    mirror.ReasonTooLarge,
		"/claim":      mirror.ReasonTooLarge,
		"/broken":     mirror.ReasonUnreachable,
		"/header":     mirror.ReasonUnreachable,
	} {
		if body, modified, err := get(t, newGetter(server.URL+path), true); mirror.ReasonOf(err) != want || modified || body != "" {
			t.Errorf("Get(%s) = %q, %v, %v; want reason %v", path, body, modified, err, want)
		}
	}
	// A port of the kernel's choice might be given to another test.
	if _, _, err := get(t, newGetter("http://127.0.0.1:1"), true); mirror.ReasonOf(err) != mirror.ReasonUnreachable {
		t.Errorf("Get() where nobody listens = %v, want reason %v", err, mirror.ReasonUnreachable)
	}
}

func TestGetAsksForNoCodingAndSendsNoCredentials(t *testing.T) {
	t.Parallel()
	var header http.Header
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { header = r.Header }))
	defer server.Close()
	if _, _, err := get(t, newGetter(server.URL), true); err != nil {
		t.Fatalf("Get() = %v", err)
	}
	for _, name := range []string{"Accept-Encoding", "Authorization", "Cookie"} {
		if got := header.Get(name); got != "" {
			t.Errorf("Get() sends %s: %s, want none", name, got)
		}
	}
}

// FED-06: redirects lead only where the first address could have been, are followed
// a few times, and are forgotten.
func TestRedirects(t *testing.T) {
	t.Parallel()
	asked := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Path]++
		var hops int
		if n, _ := fmt.Sscanf(r.URL.Path, "/hops/%d", &hops); n == 1 && hops > 0 {
			http.Redirect(w, r, fmt.Sprintf("/hops/%d", hops-1), http.StatusMovedPermanently)
			return
		}
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		fmt.Fprint(w, "document")
	}))
	defer server.Close()
	for _, tt := range []struct {
		name, path string
		reason     mirror.Reason
	}{
		{"three redirects are followed", "/hops/3", mirror.ReasonNone},
		{"a fourth is not", "/hops/4", mirror.ReasonRedirect},
		{"to a file", "/?to=file:///etc/passwd", mirror.ReasonRedirect},
		{"with a user", "/?to=" + strings.Replace(server.URL, "http://", "http://user:hunter2@", 1), mirror.ReasonRedirect},
		{"to no host", "/?to=http:///x", mirror.ReasonRedirect},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := get(t, newGetter(server.URL+tt.path), true)
			if got := mirror.ReasonOf(err); got != tt.reason {
				t.Errorf("Get(%s) = %v, want reason %v", tt.path, err, tt.reason)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("Get(%s) = %v shows a password", tt.path, err)
			}
		})
	}
	before := asked["/hops/1"]
	g := newGetter(server.URL + "/hops/1")
	for range 2 {
		if _, _, err := get(t, g, true); err != nil {
			t.Fatalf("Get() = %v", err)
		}
		g.Confirm()
	}
	if got := asked["/hops/1"] - before; got != 2 {
		t.Errorf("after a permanent redirect %d of 2 fetches began at the configured address", got)
	}
}

func TestRedirectsNeverLeaveHTTPS(t *testing.T) {
	t.Parallel()
	var asked []string
	downgrade := roundTripper(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.URL.String())
		return &http.Response{
			StatusCode: http.StatusFound,
			Header:     http.Header{"Location": {"http://bundle.example/"}},
			Body:       http.NoBody,
			Request:    r,
		}, nil
	})
	_, _, err := newGetter("https://bundle.example/").Get(t.Context(), downgrade, true)
	if mirror.ReasonOf(err) != mirror.ReasonRedirect || len(asked) != 1 {
		t.Errorf("Get() sent to http = %v after asking %q, want reason %v", err, asked, mirror.ReasonRedirect)
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for address, good := range map[string]bool{
		"https://bundle.example/":              true,
		"https://bundle.example:8443/x?y=z":    true,
		"HTTPS://bundle.example":               true,
		"https://[::1]:8443/":                  true,
		"http://bundle.example/":               false,
		"file:///etc/passwd":                   false,
		"https://user@bundle.example/":         false,
		"https://user:hunter2@bundle.example/": false,
		"https:///bundle":                      false,
		"https:bundle.example":                 false,
		"https://:8443/":                       false,
		"https://bundle.example/#fragment":     false,
		"bundle.example":                       false,
		"//bundle.example/":                    false,
		"https://bundle.example/\x00":          false,
		"":                                     false,
	} {
		err := mirror.CheckURL(address, "https")
		if (err == nil) != good || err != nil && mirror.ReasonOf(err) != mirror.ReasonOptions {
			t.Errorf("CheckURL(%q) = %v, want good: %v", address, err, good)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("CheckURL(%q) = %v shows a password", address, err)
		}
	}
}

// roundTripper answers without a network.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// endless is a body that claims nothing and never ends.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	if e.read > 1<<20 {
		return 0, io.EOF // enough is known
	}
	return len(p), nil
}

func (e *endless) Close() error { return nil }

func TestEndlessDocumentIsNotRead(t *testing.T) {
	t.Parallel()
	body := new(endless)
	_, _, err := newGetter("https://bundle.example/").Get(t.Context(), roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: body, ContentLength: -1, Request: r}, nil
	}), true)
	if mirror.ReasonOf(err) != mirror.ReasonTooLarge || body.read > 4<<10 {
		t.Errorf("Get() of an endless document = %v after reading %d octets, want reason %v soon", err, body.read, mirror.ReasonTooLarge)
	}
}

func TestGetEndsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		silent := roundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		g := newGetter("https://bundle.example/")
		start := time.Now()
		_, _, err := g.Get(t.Context(), silent, true)
		if mirror.ReasonOf(err) != mirror.ReasonUnreachable || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Get() of a silent server = %v, want reason %v", err, mirror.ReasonUnreachable)
		}
		if took := time.Since(start); took != g.Timeout {
			t.Errorf("Get() of a silent server took %v, want %v", took, g.Timeout)
		}
	})
}
