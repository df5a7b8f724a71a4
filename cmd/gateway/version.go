package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"verigate/internal/x25519"
)

// version is set at release time with -ldflags "-X main.version=v1.2.3".
var version = ""

// buildVersion returns the version, or what the build knows of its commit, and the tag of a build
// that has replaced what the standard library computes.
func buildVersion() string {
	replaced := ""
	if x25519.Installed {
		replaced = "+x25519circl"
	}
	return cmp.Or(version, developmentVersion()) + replaced
}

// developmentVersion returns what the build knows of its commit.
func developmentVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			revision = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	if revision == "" {
		return "development"
	}
	return "development-" + revision + dirty
}

// versionLine is what `gateway version` and `gateway --version` print.
func versionLine() string {
	return fmt.Sprintf("verigate %s %s %s/%s", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), versionLine())
			return err
		},
	}
}
