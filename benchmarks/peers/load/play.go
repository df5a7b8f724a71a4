package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"verigate/benchmarks/peers/pki"
	"verigate/benchmarks/report"
)

// Generator plays jobs. It is not for concurrent use.
type Generator struct {
	file    string // whose identities are in memory
	clients []pki.Client
	next    int64 // of clients, who comes back next
	held    []worker
}

// Play does a job and says what it came to. When ctx is done, it ends soon.
func (g *Generator) Play(ctx context.Context, job Job) Result {
	if job.Patience == 0 {
		job.Patience = 10 * time.Second
	}
	if job.Kind == Release {
		g.release()
		return Result{}
	}
	r, err := g.play(ctx, job)
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

func (g *Generator) release() {
	for _, w := range g.held {
		w.end()
	}
	g.held = nil
}

func (g *Generator) play(ctx context.Context, job Job) (Result, error) {
	clients, err := g.identities(job)
	if err != nil {
		return Result{}, err
	}
	c := newClient(job, clients)
	if !job.Once {
		// Where the last job stopped: many clients come back only if not always the same do.
		c.next.Store(g.next)
		defer func() { g.next = c.next.Load() }()
	}
	if job.Kind == Hold {
		return g.hold(ctx, c)
	}
	workers := g.held
	if !job.Held {
		workers, err = c.workers(ctx)
		defer func() {
			for _, w := range workers {
				w.end()
			}
		}()
	}
	if err != nil {
		return Result{}, err
	}
	m, err := begin(job)
	if err != nil {
		return Result{}, err
	}
	if job.Rate > 0 {
		err = m.open(ctx, workers)
	} else {
		m.closed(ctx, workers)
	}
	if err != nil {
		return Result{}, err
	}
	return m.finish()
}

// identities are those that the job is for.
func (g *Generator) identities(job Job) ([]pki.Client, error) {
	if job.Identities == "" {
		return nil, nil
	}
	if g.file != job.Identities {
		clients, err := pki.Read(job.Identities)
		if err != nil {
			return nil, err
		}
		g.file, g.clients, g.next = job.Identities, clients, 0
	}
	if job.Last == 0 {
		job.Last = len(g.clients)
	}
	if job.First < 0 || job.First >= job.Last || job.Last > len(g.clients) {
		return nil, fmt.Errorf("identities %d to %d of %d", job.First, job.Last, len(g.clients))
	}
	return g.clients[job.First:job.Last], nil
}

// workers makes them, connections and tickets included: that is not measured.
func (c *client) workers(ctx context.Context) (workers []worker, err error) {
	var hello []byte
	if c.job.Kind == Flood {
		if hello, err = c.hello(); err != nil {
			return nil, err
		}
	}
	for range c.job.Workers {
		if ctx.Err() != nil {
			return workers, ctx.Err()
		}
		buffer := make([]byte, maxHeaderBytes+c.job.Body)
		var w worker
		var err error
		switch c.job.Kind {
		case Handshake:
			w = &shaker{c, buffer}
		case Resume:
			w, err = c.newResumer(buffer)
		case KeepAlive:
			w, err = c.newKeeper(buffer)
		case Flood:
			w = &flooder{c, hello, buffer}
		default:
			return workers, fmt.Errorf("there is no job of the kind %q", c.job.Kind)
		}
		if err != nil {
			return workers, err
		}
		workers = append(workers, w)
	}
	return workers, nil
}

// openers is how many connections of a [Hold] are opened at the same time.
const openers = 16

// hold opens connections in addition to those that are held already.
func (g *Generator) hold(ctx context.Context, c *client) (Result, error) {
	m, err := begin(c.job)
	if err != nil {
		return Result{}, err
	}
	var mu sync.Mutex
	left := c.job.Workers
	var opening sync.WaitGroup
	for range openers {
		opening.Go(func() {
			for {
				mu.Lock()
				left--
				enough := left < 0 || ctx.Err() != nil
				mu.Unlock()
				if enough {
					return
				}
				w, err := c.newKeeper(make([]byte, maxHeaderBytes+c.job.Body))
				m.record(time.Now(), time.Now(), err)
				if err == nil {
					mu.Lock()
					g.held = append(g.held, w)
					mu.Unlock()
				}
			}
		})
	}
	opening.Wait()
	return m.finish()
}

// measurement is a job that is being measured.
type measurement struct {
	*meter
	job Job

	mu        sync.Mutex
	result    Result
	latencies *hdrhistogram.Histogram
}

// begin reads what has been used so far.
func begin(job Job) (*measurement, error) {
	job.Beside = append(slices.Clone(job.Beside), unix.Getpid())
	meter, err := read(job.Processes)
	return &measurement{meter: meter, job: job, latencies: hdrhistogram.New(1, time.Minute.Microseconds(), 3)}, err
}

// finish reads it again.
func (m *measurement) finish() (Result, error) {
	r, err := m.since(m.result)
	if err == nil && m.job.Rate > 0 {
		quantile := func(q float64) time.Duration {
			return time.Duration(m.latencies.ValueAtQuantile(q)) * time.Microsecond
		}
		r.Latency = &report.Latency{P50: quantile(50), P90: quantile(90), P99: quantile(99), Max: quantile(100), Count: m.latencies.TotalCount()}
	}
	return r, err
}

// record counts an operation.
func (m *measurement) record(due, finished time.Time, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.result.Failures++
		m.result.Failure = err.Error()
		if errors.Is(err, errFull) {
			m.result.Unresumed++
		}
		return
	}
	m.result.Operations++
	if after := finished.Sub(m.began); after >= m.job.From && after < m.job.Until {
		m.result.Within++
	}
	_ = m.latencies.RecordValue(min(finished.Sub(due), time.Minute).Microseconds()) // in range
}
