// Package x25519 is X25519 (RFC 7748, section 5) by circl, for builds whose crypto/ecdh, and so
// crypto/tls, is to compute it that way: those with the tag x25519circl and the overlay that
// the command below this folder writes (ADR 0030). In all others nothing calls it.
package x25519

import "github.com/cloudflare/circl/dh/x25519"

// base is the u-coordinate of the base point, 9.
var base = x25519.Key{9}

// ScalarMult sets dst to the product of a scalar and the point whose u-coordinate is point, each
// of 32 octets, as RFC 7748 encodes and clamps them. Of a point of low order the product is 32
// zeros, which the caller is to refuse. It takes the same time for all scalars, and can be called
// by several goroutines.
func ScalarMult(dst, scalar, point []byte) {
	secret, public := x25519.Key(scalar), x25519.Key(point)
	var product x25519.Key
	if public == base {
		x25519.KeyGen(&product, &secret) // by a table, in two thirds of the time
	} else {
		x25519.Shared(&product, &secret, &public)
	}
	copy(dst, product[:])
}
