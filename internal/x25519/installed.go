//go:build x25519circl && amd64

package x25519

import "crypto/ecdh"

// Installed reports whether crypto/ecdh computes X25519 by [ScalarMult].
const Installed = true

// Without the overlay crypto/ecdh has no such variable, and the build ends here: `make build-x25519`
// gives both the overlay and the tag.
func init() { ecdh.X25519ScalarMult = ScalarMult }
