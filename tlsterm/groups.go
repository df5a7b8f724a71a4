package tlsterm

import "crypto/tls"

// groups are the key exchanges that a listener can admit, by their names in the IANA
// registry "TLS Supported Groups". crypto/tls has names of its own.
var groups = [...]struct {
	name string
	id   tls.CurveID
}{
	{"X25519MLKEM768", tls.X25519MLKEM768},
	{"x25519", tls.X25519},
	{"secp256r1", tls.CurveP256},
	{"SecP256r1MLKEM768", tls.SecP256r1MLKEM768},
	{"secp384r1", tls.CurveP384},
	{"SecP384r1MLKEM1024", tls.SecP384r1MLKEM1024},
}

// Group returns the key exchange of that name in the IANA registry "TLS Supported
// Groups", if a listener can admit it ([Options.Curves]).
func Group(name string) (tls.CurveID, bool) {
	for _, g := range groups {
		if g.name == name {
			return g.id, true
		}
	}
	return 0, false
}

// GroupName returns the name of a key exchange that [Group] knows it by, and what
// crypto/tls calls any other.
func GroupName(id tls.CurveID) string {
	for _, g := range groups {
		if g.id == id {
			return g.name
		}
	}
	return id.String()
}
