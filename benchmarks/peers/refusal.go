package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"verigate/benchmarks/peers/pki"
)

// refusalTimeout is how long a peer may take to answer or refuse one client.
const refusalTimeout = 5 * time.Second

// refuse starts every peer once and makes sure that it serves a client of the root, and
// nobody else: a proxy that verifies nothing is no peer, however fast.
func (r *rig) refuse(ctx context.Context) error {
	ours, err := r.authority.Issue("control", 1, false)
	if err != nil {
		return err
	}
	other, err := pki.New(r.key, r.intermediates)
	if err != nil {
		return err
	}
	foreign, err := other.Issue("control", 1, false)
	if err != nil {
		return err
	}
	known, err := r.certificate("control", ours)
	if err != nil {
		return err
	}
	stranger, err := r.certificate("stranger", foreign)
	if err != nil {
		return err
	}
	for _, p := range r.peers {
		err := r.visit(ctx, p, r.server, func(i *instance) error {
			// Without this, a control that cannot reach the peer would praise it.
			if served, err := i.serves(ctx, known); !served {
				return errors.Join(fmt.Errorf("it does not answer a client of the root whose only group is %s", r.group.name), err)
			}
			for who, certificate := range map[string]*tls.Certificate{
				"whose certificate is of another CA": stranger,
				"without a certificate":              {},
			} {
				if served, _ := i.serves(ctx, certificate); served {
					return fmt.Errorf("it answers a client %s: verify client certificates (nginx: ssl_verify_client on; HAProxy: ca-file … verify required)", who)
				}
			}
			return ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// certificate makes the one identity of a set ready to be shown.
func (r *rig) certificate(name string, set *pki.Set) (*tls.Certificate, error) {
	file := filepath.Join(r.dir, name+".identities")
	if err := set.Write(file); err != nil {
		return nil, err
	}
	clients, err := pki.Read(file)
	if err != nil {
		return nil, err
	}
	return clients[0].Certificate, nil
}

// serves reports whether a client that shows this certificate, or an empty one, gets an
// answer with status 200. Otherwise err has what it got instead, if that is known.
func (i *instance) serves(ctx context.Context, certificate *tls.Certificate) (bool, error) {
	anchor, err := os.ReadFile(i.pki.Root)
	if err != nil {
		return false, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(anchor)
	ctx, cancel := context.WithTimeout(ctx, refusalTimeout)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: "localhost", RootCAs: roots,
		CurvePreferences: []tls.CurveID{i.group.id},
		// Shown even to a peer that says it wants those of another CA.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil },
	}}
	conn, err := dialer.DialContext(ctx, "tcp", i.address)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(refusalTimeout)); err != nil {
		return false, err
	}
	if _, err := conn.Write([]byte("GET /1k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")); err != nil {
		return false, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return false, fmt.Errorf("its answer is %s", answer.Status)
	}
	return true, nil
}
