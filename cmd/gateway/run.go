package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"verigate/internal/timerslack"
)

// defaultConfig is the configuration that run and check take when none is named.
const defaultConfig = "gateway.yaml"

func newRunCommand() *cobra.Command {
	var path string
	var verbose bool
	c := &cobra.Command{
		Use:   "run",
		Short: "Serve by a configuration file",
		Long: `run serves until SIGTERM or SIGINT; then requests in flight finish (drain_timeout) and
it exits with 0; a second signal ends it at once. SIGHUP reloads the configuration and
every file that it names and reopens the audit file; if anything is wrong, the old state
stays in force, and log, /readyz, /status and metrics say why. Listeners (but for their
trust_domains), admin, telemetry, cache, handshake_tokens, resumption, shared_credentials
and state_dir take a restart. Anchors, CRLs, certificates, keys and secrets are also
watched and taken up by themselves.

  gateway config example > gateway.yaml
  gateway check gateway.yaml
  gateway run -c gateway.yaml

The log goes to standard error; audit records go to the file of telemetry.audit, or to
standard output.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			// A SIGHUP that comes before its handler would end the process, and there is nothing
			// to reload yet. What is ignored stays so across a start anew.
			signal.Ignore(syscall.SIGHUP)
			slack, err := timerslack.Widen() // before anything is open
			ctx, stop := untilAsked(c.Context())
			defer stop()
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, syscall.SIGHUP)
			defer signal.Stop(hangup)
			log := logger(verbose)
			log.Debug("timer slack", "slack", slack, "processors", runtime.GOMAXPROCS(0))
			if err != nil {
				log.Info("timer slack not widened", "error", err)
			}
			return run(ctx, path, hangup, log)
		},
	}
	c.Flags().StringVarP(&path, "config", "c", defaultConfig, "configuration file")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "log what is only for developers")
	return c
}

func logger(verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// run serves by the file at path until ctx is done, and reloads at each hangup.
func run(ctx context.Context, path string, hangup <-chan os.Signal, log *slog.Logger) error {
	a, err := open(path, log)
	if err != nil {
		return err
	}
	log.Info("starting", "version", buildVersion(), "config", path, "pid", os.Getpid())
	for _, note := range a.config.Notes() {
		log.Warn("configuration", "note", note)
	}
	for _, l := range a.gateway.Listeners() {
		log.Info("listening", "listener", l.Name, "address", l.Address)
	}
	log.Info("admin listening", "url", fmt.Sprintf("http://%s/", a.admin.Addr()))
	return a.serve(ctx, hangup)
}
