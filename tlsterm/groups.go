package tlsterm

import "crypto/tls"

// groups are the key exchanges that a listener can admit, by their names in the IANA
// registry "TLS Supported Groups". crypto/tls has names of its own.
var groups = map[string]tls.CurveID{
	"X25519MLKEM768":     tls.X25519MLKEM768,
	"SecP256r1MLKEM768":  tls.SecP256r1MLKEM768,
	"SecP384r1MLKEM1024": tls.SecP384r1MLKEM1024,
	"x25519":             tls.X25519,
	"secp256r1":          tls.CurveP256,
	"secp384r1":          tls.CurveP384,
}

var groupNames = func() map[tls.CurveID]string {
	names := make(map[tls.CurveID]string, len(groups))
	for name, id := range groups {
		names[id] = name
	}
	return names
}()

// Group returns the key exchange of that name in the IANA registry "TLS Supported
// Groups", if a listener can admit it ([Options.Curves]).
func Group(name string) (tls.CurveID, bool) {
	id, ok := groups[name]
	return id, ok
}

// GroupName returns the name of a key exchange that [Group] knows it by, and what
// crypto/tls calls any other.
func GroupName(id tls.CurveID) string {
	if name, ok := groupNames[id]; ok {
		return name
	}
	return id.String()
}
