package tlsterm

import (
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"verigate/trust"
)

// credentials are the gateway's own certificates by server name, in lower case;
// "" is the default.
type credentials map[string]trust.CredentialSource

// pick returns the certificate for a server name: the exact one, else that of
// the wildcard with one label in place of the first, else the default. One that
// has expired is refused, as every client would refuse it, so that the record
// names the cause.
func (c credentials) pick(name string, now time.Time) (*tls.Certificate, error) {
	credential := c.source(strings.ToLower(name)).Credential()
	if end := credential.NotAfter(); now.After(end) {
		return nil, fmt.Errorf("%w: on %s", errCredentialExpired, end.UTC().Format(time.RFC3339))
	}
	return credential.TLS(), nil
}

func (c credentials) source(name string) trust.CredentialSource {
	if name != "" {
		if source, ok := c[name]; ok {
			return source
		}
		if first, rest, ok := strings.Cut(name, "."); ok && first != "" {
			if source, ok := c["*."+rest]; ok {
				return source
			}
		}
	}
	return c[""]
}
