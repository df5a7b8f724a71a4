// Command gateway is Verigate: a verification gateway that terminates mutual TLS
// from workloads, proves who calls, routes and authorises by that identity, and
// hands it on to the backend.
//
//	gateway demo                 see it work, nothing to prepare
//	gateway run -c gateway.yaml  serve
//	gateway check gateway.yaml   find what is wrong with a configuration
//	gateway explain --help       why a certificate is accepted or refused
//	gateway pki --help           certificates for development
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// The exit codes. They are part of the interface; see `gateway help exit-codes`.
const (
	exitOK      = 0
	exitFailed  = 1 // something went wrong while working
	exitUsage   = 2 // the command line is wrong
	exitInvalid = 3 // the configuration, or a file that it names, is wrong
	exitReject  = 4 // explain: the verdict is "reject", or the request would be refused
)

// codedError is an error that decides the exit code.
type codedError struct {
	code int
	err  error // nil: everything has been said already
}

func (e *codedError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *codedError) Unwrap() error { return e.err }

func invalid(err error) error { return &codedError{exitInvalid, err} }

func usage(format string, args ...any) error {
	return &codedError{exitUsage, fmt.Errorf(format, args...)}
}

func main() {
	os.Exit(Main(os.Args[1:]))
}

// Main runs the command line and returns the exit code.
func Main(args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exitOK
	}
	coded, ok := errors.AsType[*codedError](err)
	if !ok {
		fmt.Fprintln(os.Stderr, "gateway: "+err.Error())
		return exitFailed
	}
	if coded.err != nil {
		fmt.Fprintln(os.Stderr, "gateway: "+coded.err.Error())
	}
	return coded.code
}

// untilAsked returns a context that is done when the process is asked to stop.
// Whoever asks twice means it: the second signal has its usual effect.
func untilAsked(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "gateway",
		Short: "Verigate: a verification gateway for workload identities",
		Long: `Verigate terminates mutual TLS from workloads, proves who is calling (a SPIFFE or
WIMSE identifier, judged against the trust anchors of its own trust domain and of
no other), remembers the proof, routes and authorises by that identity, hands it
on to the backend and leaves an audit record of every step.

Start with

  gateway demo

which needs nothing prepared.`,
		Version:       versionLine(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage("%v; see `%s --help`", err, c.CommandPath())
	})
	root.AddCommand(
		newDemoCommand(), newRunCommand(), newCheckCommand(), newExplainCommand(),
		newPKICommand(), newConfigCommand(), newVersionCommand(), newExitCodesTopic(),
	)
	for _, c := range allCommands(root) {
		if c.Args != nil {
			check := c.Args
			c.Args = func(c *cobra.Command, args []string) error {
				err := check(c, args)
				if err == nil {
					return nil
				}
				if c.HasSubCommands() {
					return unknownCommand(c, args[0])
				}
				return usage("%v; see `%s --help`", err, c.CommandPath())
			}
		}
	}
	return root
}

// unknownCommand says what was probably meant.
func unknownCommand(c *cobra.Command, word string) error {
	if c.SuggestionsMinimumDistance == 0 {
		c.SuggestionsMinimumDistance = 2
	}
	if similar := c.SuggestionsFor(word); len(similar) > 0 {
		return usage("%s has no command %q; did you mean `%s %s`?", c.CommandPath(), word, c.CommandPath(), similar[0])
	}
	return usage("%s has no command %q; see `%s --help`", c.CommandPath(), word, c.CommandPath())
}

func allCommands(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		all = append(all, allCommands(sub)...)
	}
	return all
}

// newExitCodesTopic is a help topic, not a command: it has nothing to run.
func newExitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: `The exit codes of gateway:

  0  done; for run: stopped as asked
  1  something went wrong while working (a port is taken, a file cannot be written)
  2  the command line is wrong
  3  the configuration, or a file that it names, is wrong
  4  explain: the certificate would be refused, or the request would be`,
	}
}
