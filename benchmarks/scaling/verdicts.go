package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"verigate/benchmarks/peers/usage"
	"verigate/benchmarks/report"
	"verigate/certpath"
	"verigate/devpki"
	"verigate/trust"
	"verigate/verifycache"
	"verigate/workloadid"
)

// verdictBytes is more than a verdict takes, the chain that it keeps and what the
// collector leaves included. It decides whether a point fits into memory.
const verdictBytes = 14 << 10

// curveVerdicts is the cache by itself, in this process, with up to a million
// verdicts: a million handshakes would take a quarter of an hour. Its chains differ
// from real ones in that the CA has an Ed25519 key, which signs fast, and that leaves
// have all the same key; each is parsed from octets of its own, as handshakes do.
//
// Resident bytes are of the heap after a collection, without what was there before.
func curveVerdicts(ctx context.Context, b *bench) error {
	const scenario = "verdicts"
	for round := 1; round <= b.rounds; round++ {
		for _, n := range b.points([]int{100, 1000}, 1, 100, 10_000, 100_000, 1_000_000) {
			if n >= 100_000 && round > 1 || n > b.verdicts && !b.quick {
				continue // those that take long are measured once
			}
			if have := availableMemory(); uint64(n)*verdictBytes > have {
				b.run.Notes = append(b.run.Notes, fmt.Sprintf("verdicts: %d of them do not fit into the %d MiB that are available; left out.", n, have>>20))
				continue
			}
			m, err := measureVerdicts(ctx, n, b.duration/2)
			if err != nil {
				return fmt.Errorf("%d: %w", n, err)
			}
			m.Scenario, m.Subject, m.Round, m.X = scenario, subject, round, float64(n)
			m.Point = map[string]string{"verdicts": fmt.Sprint(n)}
			b.run.Measurements = append(b.run.Measurements, m)
		}
	}
	return nil
}

// verdicts is a cache and who it knows.
type verdicts struct {
	*mint
	cache *verifycache.Cache
	scope *verifycache.Scope
	snap  *trust.Snapshot
}

func newVerdicts(most int) (*verdicts, error) {
	mint, err := newMint()
	if err != nil {
		return nil, err
	}
	o, err := workloadid.ParseOrigin(origin)
	if err != nil {
		return nil, err
	}
	bundle, err := trust.NewBundle(o, trust.BundleOptions{Anchors: []*x509.Certificate{mint.root}})
	if err != nil {
		return nil, err
	}
	v := &verdicts{mint: mint}
	var errs [3]error
	v.snap, errs[0] = trust.NewSnapshot([]*trust.Bundle{bundle}, nil)
	v.scope, errs[1] = verifycache.NewScope("edge", []workloadid.Origin{o})
	// Twice the population, as verifycache.Options advises; never so old that it is
	// judged again while this runs.
	v.cache, errs[2] = verifycache.New(verifycache.Options{MaxEntries: 2 * max(most, 1000), MaxAge: time.Hour})
	return v, errors.Join(errs[:]...)
}

func (v *verdicts) verify(chain []*x509.Certificate) verifycache.Verdict {
	return v.cache.Verify(chain, certpath.RoleClient, v.scope, v.snap)
}

// measureVerdicts fills a cache with n verdicts, then looks up some of them at random.
func measureVerdicts(ctx context.Context, n int, duration time.Duration) (m report.Measurement, err error) {
	v, err := newVerdicts(n)
	if err != nil {
		return m, err
	}
	defer v.cache.Close()
	before := heap()
	began := time.Now()
	if err := v.fill(ctx, n); err != nil {
		return m, err
	}
	filled := time.Since(began)
	held := float64(heap()) - float64(before)
	m.Values = map[string]float64{
		"fill_seconds": filled.Seconds(), residentBytes: held, "entries": float64(v.cache.Stats().Entries),
	}
	return m, v.ask(ctx, n, duration, &m)
}

// fill has n chains judged, accepted and remembered. It keeps none of them: what is
// held then is the cache's.
func (v *verdicts) fill(ctx context.Context, n int) error {
	const batch = 5000 // fits the queue of the cache
	for from := 0; from < n; from += batch {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := parallel(min(batch, n-from), func(i int) error {
			i += from
			chain, err := v.chain(i)
			if err != nil {
				return err
			}
			verdict := v.verify(chain)
			if !verdict.Accepted() {
				return verdict.Err
			}
			v.cache.Remember(&verdict)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// ask looks up some of n chains at random: first all in a row, for the CPU time of one,
// then each by itself, for the percentiles, which include reading the clock. The
// chains, made once more, come from memory like the entries; in a handshake they have
// just been parsed, and look-ups are faster.
func (v *verdicts) ask(ctx context.Context, n int, duration time.Duration, m *report.Measurement) error {
	asked := make([][]*x509.Certificate, min(n, 20_000)) // more than fit into the processor's caches
	if err := parallel(len(asked), func(k int) (err error) {
		asked[k], err = v.chain(k * (n / len(asked)))
		return err
	}); err != nil {
		return err
	}
	order := rand.New(rand.NewPCG(1, 2)).Perm(len(asked))
	once := func(i int) {
		if v.verify(asked[order[i%len(order)]]).Outcome == verifycache.Hit {
			m.Operations++
		} else {
			m.Failures++ // it was not taken into the cache
		}
	}
	used, err := usage.CPU(os.Getpid())
	if err != nil {
		return err
	}
	began := time.Now()
	for i := 0; time.Since(began) < duration && ctx.Err() == nil; {
		for range 100 {
			once(i)
			i++
		}
	}
	m.Wall = time.Since(began)
	until, err := usage.CPU(os.Getpid())
	if err != nil {
		return err
	}
	m.CPU = until - used
	operations, failures := m.Operations, m.Failures
	var took []time.Duration
	for i := range 50_000 {
		began := time.Now()
		once(i)
		took = append(took, time.Since(began))
	}
	m.Operations, m.Failures = operations, failures
	slices.Sort(took)
	at := func(share float64) time.Duration { return took[int(share*float64(len(took)-1))] }
	m.Latency = &report.Latency{P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: at(1), Count: int64(len(took))}
	runtime.KeepAlive(v)
	return ctx.Err()
}

// mint makes chains of three certificates by writing another name and serial number
// into one leaf and signing that again: fifty times faster than from the beginning.
type mint struct {
	root   *x509.Certificate
	key    ed25519.PrivateKey
	issuer [][]byte // DER of what comes behind the leaf
	leaf   []byte   // DER
	signed int      // where in leaf the octets that are signed begin, and how many
	length int
	name   int // where the name's number stands
	serial int // where the serial number's last octets stand
}

func newMint() (*mint, error) {
	root, err := devpki.NewRoot(devpki.CAOptions{Name: "Verdict root", Key: devpki.Ed25519})
	if err != nil {
		return nil, err
	}
	upper, err := root.NewIntermediate(devpki.CAOptions{Name: "Verdict CA 1", Key: devpki.Ed25519})
	if err != nil {
		return nil, err
	}
	issuing, err := upper.NewIntermediate(devpki.CAOptions{Name: "Verdict CA 2", Key: devpki.Ed25519})
	if err != nil {
		return nil, err
	}
	serial := bytes.Repeat([]byte{0x55}, 16)
	first, err := issuing.Issue(devpki.LeafOptions{
		URIs: []string{origin + "/ns/load/sa/" + identity(0)},
		Edit: func(c *x509.Certificate) { c.SerialNumber = new(big.Int).SetBytes(serial) },
	})
	if err != nil {
		return nil, err
	}
	leaf := first.Chain[0]
	m := &mint{root: root.Certificate, key: issuing.Key.(ed25519.PrivateKey), leaf: leaf.Raw, length: len(leaf.RawTBSCertificate)}
	for _, c := range issuing.Chain {
		m.issuer = append(m.issuer, c.Raw)
	}
	m.signed = bytes.Index(leaf.Raw, leaf.RawTBSCertificate)
	m.name = bytes.Index(leaf.Raw, []byte(identity(0)))
	m.serial = bytes.Index(leaf.Raw, serial) + 8
	if m.signed < 0 || m.name < 0 || m.serial < 8 || !bytes.Equal(leaf.Raw[len(leaf.Raw)-ed25519.SignatureSize:], leaf.Signature) {
		return nil, errors.New("a certificate is not laid out as expected")
	}
	return m, nil
}

// chain returns that of client i, up to 999 999, parsed from one message as a
// handshake has it.
func (m *mint) chain(i int) ([]*x509.Certificate, error) {
	leaf := bytes.Clone(m.leaf)
	copy(leaf[m.name:], identity(i))
	binary.BigEndian.PutUint64(leaf[m.serial:], uint64(i))
	copy(leaf[len(leaf)-ed25519.SignatureSize:], ed25519.Sign(m.key, leaf[m.signed:m.signed+m.length]))
	message := slices.Concat(append([][]byte{leaf}, m.issuer...)...)
	var chain []*x509.Certificate
	for _, der := range append([][]byte{leaf}, m.issuer...) {
		c, err := x509.ParseCertificate(message[:len(der)])
		if err != nil {
			return nil, err
		}
		chain, message = append(chain, c), message[len(der):]
	}
	return chain, nil
}

// heap returns the octets of what is reachable.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools held in the first is free after the second
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// availableMemory is what the machine could give without swapping, 0 if it does not say.
func availableMemory() uint64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		var kib uint64
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}
