package federation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"time"

	"verigate/certpath"
	"verigate/trust"
	"verigate/trust/mirror"
)

// client fetches the bundle of one endpoint. It is used by one goroutine at a time.
type client struct {
	Endpoint
	options Options
	file    mirror.File
	getter  mirror.Getter
	// reached is the highest sequence that was taken up since the copy was there: a
	// bundle without a sequence is no licence to go back behind it afterwards.
	reached *uint64
	// taken is of what was fetched last and taken up: as long as the copy still says
	// that, only another version is worth fetching.
	taken trust.Digest
}

func newClient(e Endpoint, o Options) *client {
	return &client{
		Endpoint: e,
		options:  o,
		file:     mirror.File{Path: e.Path},
		getter:   mirror.Getter{URL: e.URL, Accept: "application/json", MaxBytes: MaxBundleBytes, Timeout: o.Timeout},
	}
}

// held is what the copy says.
type held struct {
	data   []byte
	digest trust.Digest
	parsed trust.ParsedAnchors
	good   bool // there is a copy, and it can be read
}

// poll fetches the bundle and takes it up, if it is good and not older than what is
// held.
func (c *client) poll(ctx context.Context, now time.Time) (mirror.Outcome, error) {
	h, err := c.held()
	if err != nil {
		return mirror.Outcome{}, err
	}
	config, err := c.tls(h)
	if err != nil {
		return mirror.Outcome{}, err
	}
	body, modified, err := c.getter.Get(ctx, c.options.Transport(config), h.good && h.digest == c.taken)
	if err != nil {
		return mirror.Outcome{}, err
	}
	if !modified {
		return c.outcome(h.digest, h.parsed, false, now), c.file.Confirm(now)
	}
	parsed, err := c.judge(body)
	if err != nil {
		return mirror.Outcome{}, &mirror.Error{Reason: mirror.ReasonDocument, Err: err}
	}
	changed := !h.good || !bytes.Equal(body, h.data)
	if changed {
		err = c.file.Write(body, now)
	} else {
		err = c.file.Confirm(now)
	}
	if err != nil {
		return mirror.Outcome{}, err
	}
	c.getter.Confirm()
	c.taken = sha256.Sum256(body)
	if parsed.Sequence != nil {
		c.reached = parsed.Sequence
	}
	return c.outcome(c.taken, parsed, changed, now), nil
}

// held reads the copy. One that is garbled is as good as none: what is fetched will
// take its place.
func (c *client) held() (held, error) {
	data, digest, err := c.file.Read(trust.MaxDocumentBytes)
	if err != nil {
		return held{}, err
	}
	if data == nil { // the operator wants to begin anew, or this is the beginning
		c.reached = nil
		return held{}, nil
	}
	parsed, err := trust.ParseAnchors(c.Path, data, c.Origin)
	if err != nil {
		return held{}, nil
	}
	if n := parsed.Sequence; n != nil && (c.reached == nil || *n > *c.reached) {
		c.reached = n
	}
	return held{data: data, digest: digest, parsed: parsed, good: true}, nil
}

// judge refuses what package files would, so that it never gets there.
func (c *client) judge(body []byte) (trust.ParsedAnchors, error) {
	// PEM is for files that people write. An endpoint that sends it is not a bundle
	// endpoint.
	if start := bytes.TrimSpace(body); len(start) > 0 && start[0] != '{' {
		return trust.ParsedAnchors{}, &trust.Error{Reason: trust.ReasonJSON, Name: c.URL, Detail: "it begins with " + mirror.Quote(string(start[:min(len(start), 24)]))}
	}
	parsed, err := trust.ParseAnchors(c.URL, body, c.Origin)
	if err != nil {
		return trust.ParsedAnchors{}, err
	}
	if err := trust.CheckSequence(c.reached, parsed.Sequence); err != nil {
		return trust.ParsedAnchors{}, err
	}
	return parsed, nil
}

func (c *client) outcome(digest trust.Digest, parsed trust.ParsedAnchors, changed bool, now time.Time) mirror.Outcome {
	o := mirror.Outcome{
		Changed:  changed,
		Interval: c.options.Interval,
		Digest:   digest,
		Sequence: parsed.Sequence,
		NotAfter: parsed.NotAfter(),
		Notes:    parsed.NotesAt(now),
	}
	if hint := parsed.RefreshHint; hint != 0 {
		// A hint of a month would delay a revocation by a month (BUN-06).
		o.Interval = min(max(hint, c.options.MinInterval), c.options.MaxInterval)
	}
	return o
}

// tls returns how the endpoint is judged in one fetch, redirects included.
func (c *client) tls(h held) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, Time: c.options.Now}
	if c.Profile == ProfileWeb {
		if c.RootsPath == "" {
			return config, nil // the system's roots, never those of a trust domain (FED-04)
		}
		roots, err := c.roots()
		config.RootCAs = roots
		return config, err
	}
	anchors, err := c.endpointAnchors(h)
	if err != nil {
		return nil, err
	}
	bundle, err := trust.NewBundle(c.ID.Origin(), trust.BundleOptions{Anchors: anchors})
	if err != nil {
		return nil, &mirror.Error{Reason: mirror.ReasonOptions, Err: err}
	}
	// crypto/tls judges host names by roots of the web. This endpoint is a workload:
	// VerifyConnection judges it by the bundle of its trust domain, and by nothing
	// else. It runs in every handshake, unlike VerifyPeerCertificate, which is skipped
	// when a session is resumed.
	config.InsecureSkipVerify = true
	config.VerifyConnection = func(state tls.ConnectionState) error {
		return c.verifyEndpoint(state.PeerCertificates, bundle)
	}
	return config, nil
}

// endpointAnchors returns what the endpoint is judged by. The bootstrap bundle does
// not come back into force once a bundle was fetched, not even an empty one: it may
// have a CA that was dropped for a reason.
func (c *client) endpointAnchors(h held) ([]*x509.Certificate, error) {
	if c.ID.Origin() == c.Origin && h.good {
		return h.parsed.Anchors, nil
	}
	return c.bootstrap()
}

// verifyEndpoint accepts exactly the endpoint that was configured (FED-05).
func (c *client) verifyEndpoint(chain []*x509.Certificate, bundle *trust.Bundle) error {
	path, err := certpath.Verify(chain, bundle, certpath.RoleServer, c.options.Now())
	if err != nil {
		return &mirror.Error{Reason: mirror.ReasonIdentity, Err: err}
	}
	if path.ID() != c.ID {
		return &mirror.Error{Reason: mirror.ReasonIdentity, Detail: "it is " + mirror.Quote(path.ID().String()) + "; want " + c.ID.String()}
	}
	return nil
}
