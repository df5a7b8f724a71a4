package telemetry

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/tlsterm"
	"verigate/trust"
	"verigate/verifycache"
)

// fixed is a credential that does not rotate.
type fixed struct{ credential *trust.Credential }

func (f fixed) Credential() *trust.Credential { return f.credential }

// A listener on loopback whose handshakes are recorded: of a workload, of a
// stranger, and of a thief who has the workload's certificates and another key.
func TestHandshakesOfAListenerAreRecorded(t *testing.T) {
	t.Parallel()
	root := must(devpki.NewRoot(devpki.CAOptions{Name: "prod root"}))(t)
	stranger := must(devpki.NewRoot(devpki.CAOptions{Name: "another root"}))(t)
	const name = "spiffe://prod.example/ns/shop/sa/checkout"
	issue := func(ca *devpki.CA, o devpki.LeafOptions) tls.Certificate { return must(ca.Issue(o))(t).TLS() }
	workload := issue(root, devpki.LeafOptions{URIs: []string{name}})
	foreign := issue(stranger, devpki.LeafOptions{URIs: []string{name}})
	thief := workload
	thief.PrivateKey = foreign.PrivateKey

	origin := origins(t, "spiffe://prod.example")
	bundle := must(trust.NewBundle(origin[0], trust.BundleOptions{Anchors: []*x509.Certificate{root.Certificate}}))(t)
	var store trust.Store
	store.Publish(must(trust.NewSnapshot([]*trust.Bundle{bundle}, nil))(t))
	cache := must(verifycache.New(verifycache.Options{}))(t)
	t.Cleanup(cache.Close)
	own := must(root.Issue(devpki.LeafOptions{DNS: []string{"gateway.test"}}))(t)
	credential := must(trust.ParseCredential("own.pem", devpki.CertificatesPEM(own.Chain...), "own.key", must(devpki.KeyPEM(own.Key))(t), time.Now()))(t)

	var snapshot string
	log := audited(t, nil, func(tel *Telemetry) {
		ended := make(chan *tlsterm.Handshake)
		observer := tel.Observer("edge")
		record := observer.Handshake
		observer.Handshake = func(h *tlsterm.Handshake) { record(h); ended <- h }
		listener := must(tlsterm.Listen(tlsterm.Options{
			Name: "edge", Address: "127.0.0.1:0", Cache: cache, Trust: &store,
			Scope:       must(verifycache.NewScope("edge", origin))(t),
			Credentials: map[string]trust.CredentialSource{"": fixed{credential}},
			Observer:    observer,
		}))(t)
		defer listener.Close()
		go func() {
			for {
				if _, err := listener.Accept(); err != nil {
					return
				}
			}
		}()
		for _, certificate := range []tls.Certificate{workload, foreign, thief} {
			// What the client makes of a refusal depends on timing; the record does not.
			conn, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{
				ServerName: "gateway.test", InsecureSkipVerify: true,
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil },
			})
			if err == nil {
				defer conn.Close()
			}
			select {
			case <-ended:
			case <-time.After(patience):
				t.Fatalf("no handshake ended in %v", patience)
			}
		}
		listener.Each(func(c *tlsterm.Conn) bool {
			snapshot = c.Peer().Snapshot().String()
			return true
		})
		text := scrape(t, tel, textFormat)
		for _, want := range []string{
			`verigate_verification_results_total{outcome="accepted",trust_domain="spiffe://prod.example"} 2`,
			`verigate_verification_results_total{error_type="untrusted_chain",outcome="rejected",trust_domain="spiffe://prod.example"} 1`,
		} {
			if !strings.Contains(text, want+"\n") {
				t.Errorf("exposition lacks %s", want)
			}
		}
		refusals := tel.RecentRefusals()
		if len(refusals) != 2 || refusals[0].Reason != tlsterm.ReasonPoPFailed || refusals[1].Reason != "untrusted_chain" {
			t.Errorf("RecentRefusals() = %+v, want the thief and the stranger", refusals)
		}
	})

	got := events(t, log, eventHandshake)
	if len(got) != 3 {
		t.Fatalf("%d handshakes in the log, want 3:\n%s", len(got), log)
	}
	leaf := sha256.Sum256(workload.Certificate[0])
	issuer := sha256.Sum256(root.Certificate.RawSubjectPublicKeyInfo)
	for i, want := range []map[string]any{
		{
			"outcome": "accepted", "authenticated": true, "identity": name, "claimed_identity": nil, "trust_domain": "spiffe://prod.example",
			"listener": "edge", "sni": "gateway.test", "tls_version": "1.3", "resumed": false, "mial": 1.0,
			"leaf_sha256":        hex.EncodeToString(leaf[:]),
			"issuer_spki_sha256": hex.EncodeToString(issuer[:]), "anchor_spki_sha256": hex.EncodeToString(issuer[:]),
			"trust_snapshot": snapshot, "chain": nil,
		},
		{
			"outcome": "failed", "reason": "untrusted_chain", "authenticated": false, "identity": nil, "claimed_identity": name,
			"trust_domain": nil, "leaf_sha256": nil, "depth": 0.0, "chain_length": 1.0,
		},
		{
			"outcome": "failed", "reason": "pop_failed", "authenticated": false, "identity": nil, "claimed_identity": name,
			"trust_domain": nil, "leaf_sha256": nil, "claimed_leaf_sha256": hex.EncodeToString(leaf[:]),
		},
	} {
		for member, value := range want {
			if fmt.Sprint(got[i][member]) != fmt.Sprint(value) {
				t.Errorf("handshake %d: %s = %v, want %v", i, member, got[i][member], value)
			}
		}
	}
	serial := fmt.Sprintf("%x", workload.Leaf.SerialNumber.Bytes())
	if got[0]["serial"] != serial {
		t.Errorf("serial = %v, want %s", got[0]["serial"], serial)
	}
}
