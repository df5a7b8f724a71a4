//go:build !unix

package tlsterm

// glance cannot look ahead here, and leaves waiting to the read.
type glance struct{}

func (*glance) done(uintptr) bool { return true }
