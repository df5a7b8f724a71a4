package mirror

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// MaxRedirects is how often one fetch is sent on. A publisher that moved needs one,
// a load balancer in front of it another.
const MaxRedirects = 3

// Limits of an exchange, beside the time-out and the size of the document.
const (
	maxHeaderBytes    = 64 << 10
	maxValidatorBytes = 1 << 10 // of an ETag or a date
	dialTimeout       = 10 * time.Second
	tlsTimeout        = 10 * time.Second
)

// Getter fetches one document by GET, on condition that it is another than the one
// that was confirmed last. It is used by one goroutine at a time.
type Getter struct {
	URL      string // as [CheckURL] wants it
	Accept   string // media types
	MaxBytes int64
	Timeout  time.Duration // of the whole exchange, redirects and body included

	confirmed, offered validators
}

// validators say which version of a document one has (RFC 9110 §8.8).
type validators struct{ etag, modified string }

// CheckURL accepts an absolute URL of one of the schemes, with a host, and without
// user or fragment. The error is an [*Error] with [ReasonOptions].
func CheckURL(raw string, schemes ...string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return &Error{Reason: ReasonOptions, Err: err}
	}
	if detail := faultOf(u, schemes); detail != "" {
		return &Error{Reason: ReasonOptions, Detail: fmt.Sprintf("the URL %s %s", Quote(u.Redacted()), detail)}
	}
	return nil
}

func faultOf(u *url.URL, schemes []string) string {
	allowed := false
	for _, scheme := range schemes {
		allowed = allowed || u.Scheme == scheme
	}
	switch {
	case !allowed:
		return fmt.Sprintf("has the scheme %s; want one of %q", Quote(u.Scheme), schemes)
	case u.Opaque != "" || u.Hostname() == "":
		return "has no host"
	case u.User != nil:
		return "has a user, and a password in a URL ends up in logs"
	case u.Fragment != "":
		return "has a fragment"
	}
	return ""
}

// Get fetches the document through transport, which it closes when it is done. If
// conditional is set and the document is the one that was confirmed last, modified
// is false and there is no body. The error is an [*Error].
//
// Redirects are followed for this one fetch: the next begins at the URL again,
// whatever kind of redirect it was (FED-06). None leads from https to anything else.
func (g *Getter) Get(ctx context.Context, transport http.RoundTripper, conditional bool) (body []byte, modified bool, err error) {
	g.offered = validators{}
	ctx, cancel := context.WithTimeout(ctx, g.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL, nil)
	if err != nil {
		return nil, false, &Error{Reason: ReasonOptions, Err: err}
	}
	request.Header.Set("Accept", g.Accept)
	request.Header.Set("User-Agent", "verigate")
	if !conditional {
		g.confirmed = validators{}
	}
	if g.confirmed.etag != "" {
		request.Header.Set("If-None-Match", g.confirmed.etag)
	}
	if g.confirmed.modified != "" {
		request.Header.Set("If-Modified-Since", g.confirmed.modified)
	}

	client := &http.Client{Transport: transport, CheckRedirect: checkRedirect}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		if fault, ok := errors.AsType[*Error](err); ok { // ours, out of checkRedirect or the TLS callback
			return nil, false, fault
		}
		return nil, false, &Error{Reason: ReasonUnreachable, Err: err}
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusOK:
	case response.StatusCode == http.StatusNotModified && g.confirmed != (validators{}):
		return nil, false, nil
	default:
		return nil, false, &Error{Reason: ReasonAnswer, Detail: "status " + Quote(response.Status)}
	}
	body, err = g.read(response)
	if err != nil {
		return nil, false, err
	}
	g.offered = validators{etag: short(response.Header.Get("ETag")), modified: short(response.Header.Get("Last-Modified"))}
	return body, true, nil
}

func (g *Getter) read(response *http.Response) ([]byte, error) {
	tooLarge := &Error{Reason: ReasonTooLarge, Detail: fmt.Sprintf("over %d octets", g.MaxBytes)}
	if response.ContentLength > g.MaxBytes {
		return nil, tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, g.MaxBytes+1))
	switch {
	case err != nil:
		return nil, &Error{Reason: ReasonUnreachable, Detail: "the document breaks off", Err: err}
	case int64(len(body)) > g.MaxBytes:
		return nil, tooLarge
	}
	return body, nil
}

// Confirm says that the document that Get returned last was taken up, so that only
// another one is worth fetching. Without it a document that was refused would count
// as unchanged ever after.
func (g *Getter) Confirm() { g.confirmed = g.offered }

func short(validator string) string {
	if len(validator) > maxValidatorBytes {
		return ""
	}
	return validator
}

// checkRedirect judges every address on the way by the rules for the first.
func checkRedirect(request *http.Request, via []*http.Request) error {
	schemes := []string{"https"}
	if via[0].URL.Scheme == "http" {
		schemes = append(schemes, "http")
	}
	// Go takes the fragment of the first URL over; it is never sent.
	to := *request.URL
	to.Fragment = ""
	if detail := faultOf(&to, schemes); detail != "" {
		return &Error{Reason: ReasonRedirect, Detail: fmt.Sprintf("%s %s", Quote(to.Redacted()), detail)}
	}
	if len(via) > MaxRedirects {
		return &Error{Reason: ReasonRedirect, Detail: fmt.Sprintf("more than %d", MaxRedirects)}
	}
	return nil
}

// NewTransport returns a transport for one fetch: it keeps no connection, so that
// the next fetch judges the other side anew, believes no content coding, so that a
// small answer cannot become a large document, and speaks HTTP/1.1, because one GET
// gains nothing from more. config may be nil. Proxies are taken from the environment.
func NewTransport(config *tls.Config) http.RoundTripper {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    tlsTimeout,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
}
