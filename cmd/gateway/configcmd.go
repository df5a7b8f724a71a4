package main

import (
	"context"

	"github.com/spf13/cobra"

	"verigate/assurance"
	"verigate/config"
)

func newConfigCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "The configuration's schema and an example to start from",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		&cobra.Command{
			Use:   "schema",
			Short: "Print the JSON Schema of the configuration",
			Long: `schema prints the JSON Schema of the configuration, for editors. With the YAML language
server, save it and put this line on top of the file:

  # yaml-language-server: $schema=gateway.schema.json`,
			Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				_, err := c.OutOrStdout().Write(config.Schema())
				return err
			},
		},
		&cobra.Command{
			Use:   "example",
			Short: "Print a commented configuration to start from",
			Args:  cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				_, err := c.OutOrStdout().Write(config.Example())
				return err
			},
		},
		&cobra.Command{
			Use:   "maal",
			Short: "Print what the grades of the local assurance profile mean",
			Long: `maal prints the profile by which "maal" is graded in statements and requirements: what each
characteristic asks, what its grades 0 to 4 mean, and what observation lowers, as JSON.`,
			Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				_, err := c.OutOrStdout().Write(assurance.ProfileDocument())
				return err
			},
		},
	)
	return c
}

// noWait is a context that is done already: close what is idle, wait for nothing.
func noWait() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
