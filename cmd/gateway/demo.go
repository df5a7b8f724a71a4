package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newDemoCommand() *cobra.Command {
	var once bool
	var dir string
	c := &cobra.Command{
		Use:   "demo",
		Short: "See it work: trust domains, workloads, backends and a gateway, on loopback",
		Long: `demo makes three trust domains, four workloads and two backends in a temporary folder,
starts the gateway by a configuration file that it shows, sends real requests as each
workload and as several impostors, and prints who was accepted, who was refused and why.
Then it keeps serving and prints commands to paste, until Ctrl-C.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := untilAsked(c.Context())
			defer stop()
			return demo(ctx, c.OutOrStdout(), dir, once)
		},
	}
	c.Flags().BoolVar(&once, "once", false, "exit after the table, with 0 if everything went as it should")
	c.Flags().StringVar(&dir, "dir", "", "folder for certificates, configuration and audit file (default: a temporary one, removed at the end)")
	return c
}

// demo is the main job with nothing prepared. It fails if any caller fares
// otherwise than the table says it should.
func demo(ctx context.Context, out io.Writer, dir string, once bool) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "verigate-demo-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir) // it holds nothing but throwaway keys
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	world, err := newDemoWorld(dir)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer world.close()

	a, err := open(filepath.Join(dir, "gateway.yaml"), slog.New(slog.DiscardHandler))
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- a.serve(serving, nil) }()

	show := &demoShow{printer: newPrinter(out), world: world, app: a,
		edge: a.gateway.Addr("edge").String(), admin: a.admin.Addr().String()}
	showErr := show.run(ctx)
	if showErr == nil && !once {
		show.invitation()
		<-ctx.Done()
		show.printer.line("")
	}
	stop()
	if err := <-served; err != nil {
		return err
	}
	if showErr != nil {
		return showErr
	}
	return show.printer.err
}

// demoShow prints what happens.
type demoShow struct {
	*printer
	world       *demoWorld
	app         *app
	edge, admin string
}

func (s *demoShow) run(ctx context.Context) error {
	s.line("%s  a verification gateway; all of this happens on loopback, right now", s.paint(bold, "Verigate"))
	s.heading("What there is")
	s.field("trust", "spiffe://prod.example, spiffe://partner.example and spiffe://lab.example, each with its own root and issuing CA; lab's root has an ML-DSA-65 key, and prod has revocation lists")
	s.field("gateway", fmt.Sprintf("https://%s, mutual TLS 1.3 only; it is %s itself", s.edge, demoGatewayID))
	s.field("backends", "payments and catalog, mutual TLS as well: they see only the gateway, and learn the caller from it")
	s.field("config", filepath.Join(s.world.dir, "gateway.yaml"))

	results, err := s.world.callAll(ctx, s.edge)
	if err != nil {
		return err
	}
	if err := s.callers(results); err != nil {
		return err
	}
	if err := s.latency(ctx); err != nil {
		return err
	}
	if err := s.metrics(ctx); err != nil {
		return err
	}
	return s.audit()
}

// callers prints the table and fails if it is not the one that it should be.
func (s *demoShow) callers(results []demoResult) error {
	s.heading("Who called, and what became of it")
	var rows [][]string
	wrong := 0
	for _, r := range results {
		why := r.reason
		if r.reason == "" {
			why = "backend saw " + r.seen
		}
		rows = append(rows, []string{r.call.who, r.call.method + " " + r.call.host + r.call.path, r.outcome, why})
		if r.outcome != r.call.wantOutcome || r.reason != r.call.wantReason {
			wrong++
			rows = append(rows, []string{"", "", "EXPECTED", r.call.wantOutcome + " " + r.call.wantReason})
		}
	}
	s.table([]string{"CALLER", "REQUEST", "RESULT", "WHY"}, rows, func(row, column int) string {
		if column != 2 {
			return ""
		}
		if strings.HasPrefix(rows[row][2], "200") {
			return green
		}
		return red
	})
	if wrong > 0 {
		return fmt.Errorf("demo: %d callers fared otherwise than expected", wrong)
	}
	s.line("")
	s.line("  %s", s.paint(dim, "403: authenticated, not authorised. refused: the handshake failed, nothing was forwarded."))
	s.line("  %s", s.paint(dim, "Every reason explains itself: gateway explain untrusted_chain"))
	return nil
}

// latency shows what the cache saves: one workload connects again and again, and
// as many workloads connect for the first time.
func (s *demoShow) latency(ctx context.Context) error {
	cold, cached, err := s.world.verificationTimes(ctx, s.edge)
	if err != nil {
		return err
	}
	stats := s.app.cache.Stats()
	s.heading("What verification costs")
	s.field("new leaf", fmt.Sprintf("%8s median of %d first handshakes (path building, one signature; the issuer is known)", cold.median(), len(cold)))
	s.field("cached", fmt.Sprintf("%8s median of %d later handshakes", cached.median(), len(cached)))
	s.field("cache", fmt.Sprintf("%d hits, %d misses: hit ratio %.0f %%", stats.Hits, stats.Misses,
		100*float64(stats.Hits)/float64(max(stats.Hits+stats.Misses, 1))))
	s.line("  %s", s.paint(dim, "The proof that the client holds its key is never cached: TLS makes it anew each time."))
	return nil
}

func (s *demoShow) metrics(ctx context.Context) error {
	lines, err := s.world.scrape(ctx, "http://"+s.admin+"/metrics", []string{
		"verigate_verification_results_total{", "verigate_authorization_decisions_total{", "verigate_cache_lookups_total{",
	})
	if err != nil {
		return err
	}
	s.heading("A glance at http://" + s.admin + "/metrics")
	for _, l := range lines {
		s.line("  %s", l)
	}
	return nil
}

func (s *demoShow) audit() error {
	file := filepath.Join(s.world.dir, demoAuditFile)
	lines, err := s.world.auditSample()
	if err != nil {
		return err
	}
	s.heading("A glance at " + file)
	for _, l := range lines {
		s.line("  %s", l)
	}
	return nil
}

// invitation prints commands that work when pasted.
func (s *demoShow) invitation() {
	port := s.edge[strings.LastIndexByte(s.edge, ':')+1:]
	curl := func(cert, host, path, more string) string {
		return fmt.Sprintf("curl %s--cacert %s/prod/root.pem --cert %s/%s.pem --key %s/%s.key --resolve %s:%s:127.0.0.1 https://%s:%s%s",
			more, s.world.dir, s.world.dir, cert, s.world.dir, cert, host, port, host, port, path)
	}
	s.heading("Try it yourself, until Ctrl-C")
	for _, t := range []struct{ what, command string }{
		{"granted", curl("checkout", "pay.example", "/v1/charge", "")},
		{"authenticated, not authorised", curl("report", "pay.example", "/v1/charge", "")},
		{"refused in the handshake", curl("impostor", "pay.example", "/v1/charge", "")},
		{"and why", fmt.Sprintf("%s explain --config %s/gateway.yaml --cert %s/impostor.pem", executable(), s.world.dir, s.world.dir)},
		{"status", "curl -s http://" + s.admin + "/status"},
	} {
		s.line("  %s", s.paint(dim, "# "+t.what))
		s.line("  %s", t.command)
	}
}

// executable returns how this program can be called again.
func executable() string {
	path, err := os.Executable()
	if err != nil || strings.Contains(path, "go-build") {
		return "go run ./cmd/gateway" // `go run` removes what it built
	}
	return path
}

// durations are sorted.
type durations []time.Duration

func (d durations) median() time.Duration {
	if len(d) == 0 {
		return 0
	}
	return d[len(d)/2].Round(10 * time.Nanosecond)
}
