//go:build !x25519circl || !amd64

package x25519

// Installed reports whether crypto/ecdh computes X25519 by [ScalarMult].
const Installed = false
