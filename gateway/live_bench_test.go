package gateway_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"verigate/devpki"
	"verigate/gateway"
	"verigate/trust"
	"verigate/verifycache"
)

// liveConns is how many connections BenchmarkTrustChange holds: 20 000 for the
// numbers that docs/live-connections.md publishes.
var liveConns = flag.Int("live", 2000, "connections of BenchmarkTrustChange")

// spareDescriptors are for everything but the connections.
const spareDescriptors = 200

// fleetVariable makes this program, started anew, the fleet of BenchmarkTrustChange
// instead of the tests.
const fleetVariable = "VERIGATE_TEST_FLEET"

func TestMain(m *testing.M) {
	if os.Getenv(fleetVariable) == "" {
		m.Run()
		return
	}
	if err := runFleet(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// BenchmarkTrustChange opens -live connections of as many workloads, changes trust
// and waits until every connection that the change takes trust from is closed, and
// every other that it concerns is judged. It isolates the gateway: its clients are
// another process, which does nothing meanwhile. Reported per change:
//
//	cpu-ms       of the gateway, user and system
//	wall-ms      from the snapshot being published to the last connection closed
//	judged       connections judged anew, and
//	closed       those that ended
//	probe-max-ms the slowest of the requests that another trust domain's caller made
//	             meanwhile, one every 5 ms
//
// Each connection takes a descriptor in both processes; with fewer than that the
// number is reduced, and a note says so. Run it as
//
//	go test ./gateway -run '^$' -bench TrustChange -benchtime 1x -live 20000
func BenchmarkTrustChange(b *testing.B) {
	n := *liveConns
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		b.Fatal(err)
	}
	if most := int(files.Cur) - spareDescriptors; n > most {
		b.Logf("%d descriptors allow %d connections, not %d", files.Cur, most, n)
		n = most
	}
	for _, cached := range []bool{true, false} {
		b.Run(fmt.Sprintf("cached=%v", cached), func(b *testing.B) { benchTrustChanges(b, n, cached) })
	}
}

func benchTrustChanges(b *testing.B, n int, cached bool) {
	swept := make(chan sweep, 16)
	w := newWorld(b, setting{
		cache: verifycache.Options{Disabled: !cached},
		log:   slog.New(sweeps{slog.DiscardHandler, swept}),
		listener: func(o *gateway.ListenerOptions) {
			o.TLS.MaxConnsPerClient = n
			o.IdleTimeout = time.Hour
		},
	})
	w.audit.discard.Store(true)
	f := w.startFleet(b)
	f.connect(b, 0, n)
	w.until(b, "all were connected", func() bool { return w.gateway.Connections()[0].Active == n })
	probe := w.dial(must(w.partner.Issue(devpki.LeafOptions{URIs: []string{reportID}}))(b), "catalog.example")
	_ = probe.NetConn().SetDeadline(time.Time{})
	w.until(b, "the probe was connected", func() bool { return w.gateway.Connections()[0].Active == n+1 })

	issuer := trust.RefOf(w.issue(cartID).Chain[0], w.prod.Certificate).IssuerSPKI
	anchor := must(devpki.NewRoot(devpki.CAOptions{Name: "another"}))(b).Certificate
	hundredth := n / 100
	var revoked []*big.Int
	for i := range hundredth {
		revoked = append(revoked, fleetSerial(i))
	}
	for _, change := range []struct {
		name   string
		closed int // the first of the fleet
		from   func()
		to     func()
	}{
		{"another trust domain changes", 0, func() { w.publish(nil) }, func() {
			w.publishBut(nil, func(origin string, o *trust.BundleOptions) {
				if origin == partnerOrigin {
					o.Anchors = append(o.Anchors, anchor)
				}
			})
		}},
		{"one identity denied", 1, func() { w.publish(nil) }, func() { w.publish(denied(b, fleetID(0))) }},
		{"1 % denied by serial", hundredth, func() { w.publish(nil) }, func() {
			var o trust.DenyOptions
			for _, serial := range revoked {
				o.Serials = append(o.Serials, trust.IssuerSerial{IssuerSPKI: issuer, Serial: trust.SerialOf(serial)})
			}
			w.publish(trust.NewDenyList(o))
		}},
		{"1 % revoked by CRL", hundredth, func() {
			set := crls(b, w.prod, devpki.CRLOptions{Number: big.NewInt(1)})
			w.publishBut(nil, prodOnly(func(o *trust.BundleOptions) { o.CRLs = set }))
		}, func() {
			set := crls(b, w.prod, devpki.CRLOptions{Number: big.NewInt(2), Revoked: revoked})
			w.publishBut(nil, prodOnly(func(o *trust.BundleOptions) { o.CRLs = set }))
		}},
		{"anchor added", 0, func() { w.publish(nil) }, func() {
			w.publishBut(nil, prodOnly(func(o *trust.BundleOptions) { o.Anchors = append(o.Anchors, anchor) }))
		}},
		{"trust domain removed", n, func() { w.publish(nil) }, func() {
			w.publishBut(nil, prodOnly(func(o *trust.BundleOptions) { o.Anchors = nil }))
		}},
	} {
		b.Run(change.name, func(b *testing.B) {
			var cpu, wall time.Duration
			var judged int
			p := w.probe(probe)
			for b.Loop() {
				b.StopTimer()
				change.from()
				if w.gateway.Connections()[0].Active < n+1 {
					w.until(b, "those of before were closed", func() bool { return w.gateway.Connections()[0].Active == n+1-change.closed })
					f.connect(b, 0, change.closed)
				}
				w.until(b, "all were connected", func() bool { return w.gateway.Connections()[0].Active == n+1 })
				settle(swept)
				ended := w.audit.discarded.Load()
				b.StartTimer()

				beganCPU, began := cpuTime(b), time.Now()
				change.to()
				for change.name != "another trust domain changes" {
					if s := <-swept; s.domain == prodOrigin {
						judged = s.judged
						break
					}
				}
				for w.audit.discarded.Load()-ended < int64(change.closed) || w.gateway.Connections()[0].Active > n+1-change.closed {
					time.Sleep(200 * time.Microsecond) // to look costs CPU that is not the gateway's
				}
				wall += time.Since(began)
				cpu += cpuTime(b) - beganCPU
			}
			slowest := p.stop()
			per := func(d time.Duration) float64 { return d.Seconds() * 1e3 / float64(b.N) }
			b.ReportMetric(per(cpu), "cpu-ms")
			b.ReportMetric(per(wall), "wall-ms")
			b.ReportMetric(float64(judged), "judged")
			b.ReportMetric(float64(change.closed), "closed")
			b.ReportMetric(slowest.Seconds()*1e3, "probe-max-ms")
			b.ReportMetric(0, "ns/op")
			w.publish(nil)
			if change.closed > 0 && change.closed < n {
				f.connect(b, 0, change.closed)
			}
		})
	}
}

// settle waits until the rejudger has been idle for a moment.
func settle(swept chan sweep) {
	for {
		select {
		case <-swept:
		case <-time.After(300 * time.Millisecond):
			return
		}
	}
}

// cpuTime returns what this process has used so far.
func cpuTime(t testing.TB) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// sweep is what the rejudger logs of one.
type sweep struct {
	domain string
	judged int
}

// sweeps is a log that passes them on.
type sweeps struct {
	slog.Handler
	to chan<- sweep
}

func (s sweeps) Enabled(context.Context, slog.Level) bool { return true }

func (s sweeps) Handle(_ context.Context, r slog.Record) error {
	var found sweep
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "trust_domain":
			found.domain = a.Value.String()
		case "judged":
			found.judged = int(a.Value.Int64())
		}
		return true
	})
	if found.judged > 0 {
		s.to <- found
	}
	return nil
}

// prober makes requests that need no backend, one every 5 ms.
type prober struct {
	stopping chan struct{}
	done     sync.WaitGroup
	slowest  atomic.Int64
}

func (w *world) probe(c *client) *prober {
	p := &prober{stopping: make(chan struct{})}
	p.done.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-p.stopping:
				return
			case <-tick.C:
			}
			began := time.Now()
			if r := c.do(get("catalog.example", "/nobody")); r.StatusCode != 403 {
				w.t.Errorf("the probe: %d", r.StatusCode)
				return
			}
			p.slowest.Store(max(p.slowest.Load(), int64(time.Since(began))))
		}
	})
	return p
}

func (p *prober) stop() time.Duration {
	close(p.stopping)
	p.done.Wait()
	return time.Duration(p.slowest.Load())
}

// fleetID is the identity of workload i of the fleet, fleetSerial the serial number
// of its certificate.
func fleetID(i int) string { return fmt.Sprintf("spiffe://prod.example/ns/fleet/sa/w%d", i) }

func fleetSerial(i int) *big.Int { return big.NewInt(1<<40 + int64(i)) }

// fleet is the other process: many workloads, each with one connection on which it
// does nothing, but for one request if it is told to.
type fleet struct {
	in  io.Writer
	out *bufio.Scanner
}

// fleetOrder tells the other process to close and to open the connections from First
// to Last, the latter excluded.
type fleetOrder struct {
	Address, Chain, Key, Root string // PEM, in the first order only
	First, Last               int
	Leaves                    int    // if not 0, that many workloads share the connections
	Request                   string // if any, sent once on each, and its answer read
}

func (w *world) startFleet(b testing.TB) *fleet {
	b.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), fleetVariable+"=1")
	command.Stderr = os.Stderr
	in := must(command.StdinPipe())(b)
	out := must(command.StdoutPipe())(b)
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		_ = command.Wait()
	})
	f := &fleet{in, bufio.NewScanner(out)}
	f.order(b, fleetOrder{
		Address: w.address(), Chain: string(devpki.CertificatesPEM(append([]*x509.Certificate{}, w.prod.Chain...)...)),
		Key:  string(must(devpki.KeyPEM(w.prod.Key))(b)),
		Root: string(devpki.CertificatesPEM(w.prodRoot.Certificate)),
	})
	return f
}

// connect has the workloads from first to last connect anew, and waits for it.
func (f *fleet) connect(b testing.TB, first, last int) {
	b.Helper()
	f.order(b, fleetOrder{First: first, Last: last})
}

func (f *fleet) order(b testing.TB, o fleetOrder) {
	b.Helper()
	if err := json.NewEncoder(f.in).Encode(o); err != nil {
		b.Fatal(err)
	}
	if !f.out.Scan() || f.out.Text() != "done" {
		b.Fatalf("the fleet says %q, %v", f.out.Text(), f.out.Err())
	}
}

// runFleet is the other process.
func runFleet(in io.Reader, out io.Writer) error {
	decoder := json.NewDecoder(in)
	var setUp fleetOrder
	if err := decoder.Decode(&setUp); err != nil {
		return err
	}
	issuer, err := devpki.LoadCA([]byte(setUp.Chain), []byte(setUp.Key))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(setUp.Root))
	fmt.Fprintln(out, "done")
	var conns []*tls.Conn
	var certificates []tls.Certificate
	for {
		var order fleetOrder
		if err := decoder.Decode(&order); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if missing := order.Last - len(conns); missing > 0 {
			conns = append(conns, make([]*tls.Conn, missing)...)
			certificates = append(certificates, make([]tls.Certificate, missing)...)
		}
		for i := range min(order.Leaves, order.Last) {
			if certificates[i], err = fleetLeaf(issuer, i); err != nil {
				return err
			}
			for j := i + order.Leaves; j < order.Last; j += order.Leaves {
				certificates[j] = certificates[i]
			}
		}
		if err := each(order.First, order.Last, func(i int) error {
			if conns[i] != nil {
				conns[i].NetConn().Close()
			}
			if certificates[i].PrivateKey == nil {
				var err error
				if certificates[i], err = fleetLeaf(issuer, i); err != nil {
					return err
				}
			}
			var err error
			if conns[i], err = dialAs(setUp.Address, i, certificates[i], roots); err != nil || order.Request == "" {
				return err
			}
			return askOnce(conns[i], order.Request)
		}); err != nil {
			return err
		}
		fmt.Fprintln(out, "done")
	}
}

// fleetLeaf makes the certificate of workload i.
func fleetLeaf(issuer *devpki.CA, i int) (tls.Certificate, error) {
	leaf, err := issuer.Issue(devpki.LeafOptions{
		URIs: []string{fleetID(i)}, Edit: func(c *x509.Certificate) { c.SerialNumber = fleetSerial(i) },
	})
	if err != nil {
		return tls.Certificate{}, err
	}
	return leaf.TLS(), nil
}

// askOnce sends a request and reads the answer to its end.
func askOnce(c *tls.Conn, request string) error {
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r.Body)
	return err
}

// dialAs connects from one of many loopback addresses, or the ports would not do.
func dialAs(address string, i int, certificate tls.Certificate, roots *x509.CertPool) (*tls.Conn, error) {
	from := netip.AddrFrom4([4]byte{127, 0, 1, byte(1 + i%200)})
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	raw, err := dialer.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, &tls.Config{
		RootCAs: roots, ServerName: "catalog.example", NextProtos: []string{"http/1.1"},
		CurvePreferences: []tls.CurveID{tls.X25519}, Certificates: []tls.Certificate{certificate},
	})
	return c, c.Handshake()
}

// each calls f for the numbers from first to last, several at once, and returns the
// first error.
func each(first, last int, f func(int) error) error {
	var next atomic.Int64
	next.Store(int64(first))
	var workers sync.WaitGroup
	errs := make([]error, 16)
	for k := range errs {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < last && errs[k] == nil; i = int(next.Add(1)) - 1 {
				errs[k] = f(i)
			}
		})
	}
	workers.Wait()
	if k := slices.IndexFunc(errs, func(err error) bool { return err != nil }); k >= 0 {
		return errs[k]
	}
	return nil
}
