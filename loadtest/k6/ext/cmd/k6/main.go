// Command k6 is k6 with the module k6/x/mtls in it.
package main

import (
	"go.k6.io/k6/cmd"

	_ "verigate/loadtest/k6/ext/mtls" // registers itself
)

func main() { cmd.Execute() }
