package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// refusedWithin is how soon after a CRL has been written nobody whom it names is
// served any more, on whatever connection.
const refusedWithin = time.Second

// rotation changes everything that is changed in production while clients call:
// the gateway's certificate, the CRL, and the configuration. Nobody notices but
// the one client that the CRL names.
func (s *stage) rotation(ctx context.Context) ([]measured, error) {
	length := max(4*s.duration, 4*time.Second)
	victim := min(s.clients, 1000) - 1 // it has files of its own
	if err := s.isolate(victim); err != nil {
		return nil, err
	}
	others := []string{"-first", fmt.Sprint(min(victim, 100))}
	loads := []load{
		{"rotation-keepalive", "keepalive", "clients", s.keepaliveRate / 4, length, append(others, "-expect", "200", "-connections", "50")},
		{"rotation-handshake", "handshake", "clients", max(1, s.handshakeRate/4), length, append(others, newEach...)},
		{"rotation-resumed", "resumed", "clients", max(1, s.handshakeRate/4), length, []string{"-first", fmt.Sprint(min(victim, 5)), "-expect", "200", "-keepalive=false", "-session-tickets"}},
		{"rotation-next", "keepalive", "next", s.keepaliveRate / 8, length, append(others, "-expect", "200", "-connections", "20")},
		// Whether these are right is judged below: until the CRL they must be.
		{"rotation-revoked", "keepalive", "victim", 100, length, []string{"-expect", "200", "-connections", "4", "-max-failures", "-1"}},
		{"rotation-revoked-resumed", "resumed", "victim", 20, length, []string{"-expect", "200", "-keepalive=false", "-session-tickets", "-max-failures", "-1"}},
	}
	var revoked time.Time
	changed := make(chan error, 1)
	go func() { changed <- s.change(ctx, length, victim, &revoked) }()
	all, outcomes, err := s.driveAll(ctx, loads)
	if err := errors.Join(err, <-changed); err != nil {
		return all, err
	}
	var errs []error
	for i, o := range outcomes {
		if loads[i].name == "rotation-handshake" && o.Connections.Chains < 2 {
			errs = append(errs, fmt.Errorf("%s: the gateway never showed its new certificate", loads[i].name))
		}
		if loads[i].identities != "victim" {
			continue
		}
		after := o.LastRight.Sub(revoked)
		fmt.Printf("%s: served until %v after the CRL was written, %d times; refused %d times: %v\n",
			loads[i].name, after.Round(time.Millisecond), o.Right, o.Wrong, o.Wrongs)
		for k := range all {
			if all[k].name == loads[i].name {
				all[k].operations += all[k].failures // they are what was wanted
				all[k].failures = 0
				all[k].values["seconds_until_refused"] = max(0, after.Seconds())
			}
		}
		switch {
		case o.Right == 0:
			errs = append(errs, fmt.Errorf("%s: the client was refused before it was revoked: %v", loads[i].name, o.Wrongs))
		case after > refusedWithin:
			errs = append(errs, fmt.Errorf("%s: the revoked client was served %v after the CRL was written, want %v at most", loads[i].name, after, refusedWithin))
		case o.Wrongs["alert: bad certificate"] == 0 || o.Dropped > 0:
			errs = append(errs, fmt.Errorf("%s: the revoked client was not refused in the handshake: %v, %d dropped", loads[i].name, o.Wrongs, o.Dropped))
		}
	}
	return all, errors.Join(errs...)
}

// isolate gives one client a folder of its own.
func (s *stage) isolate(client int) error {
	if err := os.MkdirAll(s.pki("victim"), 0o700); err != nil {
		return err
	}
	var bundle []byte
	for _, suffix := range []string{".pem", ".key"} {
		data, err := os.ReadFile(s.clientFile(client) + suffix)
		if err != nil {
			return err
		}
		bundle = append(bundle, data...)
	}
	return os.WriteFile(s.pki("victim", "bundle.pem"), bundle, 0o600)
}

// clientFile is the certificate and the key of a client, without their suffixes.
func (s *stage) clientFile(client int) string {
	return s.pki("clients", fmt.Sprintf("%03d", client/1000), fmt.Sprintf("%06d", client))
}

// change makes the changes of a rotation, spread over length, and notes when the
// CRL was there.
func (s *stage) change(ctx context.Context, length time.Duration, victim int, revoked *time.Time) error {
	step := length / 5
	for _, one := range []struct {
		what string
		do   func() error
	}{
		{"the gateway's certificate", func() error { return s.renewServer(ctx) }},
		{"the CRL", func() error {
			err := s.gateway(ctx, "pki", "crl", "--dir", s.pki(), s.clientFile(victim)+".pem")
			*revoked = time.Now()
			return err
		}},
		{"the configuration", func() error { return s.reconfigure(ctx, 1) }},
		{"the configuration again", func() error { return s.reconfigure(ctx, 2) }},
	} {
		if err := pause(ctx, step); err != nil {
			return err
		}
		if err := one.do(); err != nil {
			return fmt.Errorf("%s: %w", one.what, err)
		}
	}
	return nil
}

// renewServer replaces the gateway's certificate and key.
func (s *stage) renewServer(ctx context.Context) error {
	return s.gateway(ctx, "pki", "issue", "--dir", s.pki(), "--out", s.pki("server"), "--dns", "localhost", "--ip", "127.0.0.1", "spiffe://load.example/edge")
}

// reconfigure writes another configuration, has it loaded, and waits until it is in
// force.
func (s *stage) reconfigure(ctx context.Context, n int) error {
	before, err := s.figure(ctx, reloadsMetric)
	if err != nil {
		return err
	}
	file := filepath.Join(s.dir, "gateway.yaml")
	text := fmt.Appendf(nil, configuration, s.address, s.backend)
	text = fmt.Appendf(text, "# %d\ndeny: [{identity: \"spiffe://load.example/nobody/%d\"}]\n", n, n)
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	if err := s.process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		after, err := s.figure(ctx, reloadsMetric)
		if err != nil {
			return err
		}
		if after > before {
			return nil
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("the configuration was not put in force: %w", err)
		}
	}
}

// reload reloads the configuration ten times a second or more under load.
func (s *stage) reload(ctx context.Context) ([]measured, error) {
	length := max(2*s.duration, 2*time.Second)
	done := make(chan struct{})
	reloads := make(chan int, 1)
	failed := make(chan error, 1)
	go func() {
		n := 0
		for {
			select {
			case <-done:
				reloads <- n
				failed <- nil
				return
			default:
			}
			n++
			err := s.reconfigure(ctx, n)
			if err == nil {
				err = pause(ctx, 50*time.Millisecond)
			}
			if err != nil {
				reloads <- n
				failed <- err
				return
			}
		}
	}()
	all, _, err := s.driveAll(ctx, []load{
		{"reload-keepalive", "keepalive", "clients", s.keepaliveRate / 2, length, keepalive},
		{"reload-handshake", "handshake", "clients", max(1, s.handshakeRate/2), length, newEach},
	})
	close(done)
	n := <-reloads
	err = errors.Join(err, <-failed)
	fmt.Printf("reload: %d configurations were put in force meanwhile\n\n", n)
	for _, m := range all {
		m.values["reloads"] = float64(n)
	}
	return all, err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
