package main

import (
	"github.com/spf13/cobra"

	"verigate/devpki"
)

// complete lets the shell propose values of a flag. values is called when it is
// asked for them.
func complete(c *cobra.Command, flag string, values func() []string) {
	err := c.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return values(), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil { // there is no such flag
		panic(err)
	}
}

// keyTypes are the values of --key.
func keyTypes() []string {
	var all []string
	for _, k := range []devpki.KeyType{devpki.P256, devpki.P384, devpki.RSA2048, devpki.Ed25519} {
		all = append(all, string(k))
	}
	return all
}
