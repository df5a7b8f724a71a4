// Package x25519 is X25519 (RFC 7748, section 5) by circl, for builds whose crypto/ecdh, and so
// crypto/tls, is to compute it that way: those for amd64 with the tag x25519circl and the overlay
// that the command below this folder writes (ADR 0030). In all others only tests call it. Other
// processors are left out because circl has assembly for none of them.
package x25519

import circl "github.com/cloudflare/circl/dh/x25519"

// base is the u-coordinate of the base point, 9.
var base = circl.Key{9}

// ScalarMult sets dst to the product of a scalar and the point whose u-coordinate is point, each
// of 32 octets, as RFC 7748 encodes and clamps them. Of a point of low order the product is 32
// zeros, which the caller is to refuse. It takes the same time for all scalars, and can be called
// by several goroutines.
func ScalarMult(dst, scalar, point []byte) {
	secret, public := circl.Key(scalar), circl.Key(point)
	var product circl.Key
	if public == base {
		circl.KeyGen(&product, &secret) // by a table, which is faster
	} else {
		circl.Shared(&product, &secret, &public)
	}
	copy(dst, product[:])
}
