package routing

// scopes knows which hosts a connection may carry requests for.
type scopes struct {
	names names[string]      // every host and SNI of a route, under itself
	pairs map[[2]string]bool // SNI and host that a route names together
	// addresses are the hosts that are reached without SNI.
	addresses map[string]bool
}

func newScopes() scopes {
	return scopes{pairs: make(map[[2]string]bool), addresses: make(map[string]bool)}
}

// add takes note of the names of a route.
func (s *scopes) add(m *Match) {
	for _, pattern := range [...]string{m.Host, m.SNI} {
		if pattern != "" {
			*s.names.at(pattern) = pattern
		}
	}
	if m.SNI != "" {
		s.pairs[[2]string{m.SNI, m.Host}] = true
	}
	if isAddress(m.Host) {
		s.addresses[m.Host] = true
	}
}

// of returns the scope of a name: the most specific pattern that matches it, or
// "" when no route mentions it.
func (s *scopes) of(name string) string {
	if pattern, _ := s.names.next(name, 0); pattern != nil {
		return *pattern
	}
	return ""
}

// SameScope reports whether a connection that was opened for sni may carry a
// request for host (TLS-10). If not, the request is misdirected and 421 is its
// answer (RFC 9110 §15.5.20). The package comment has the rule. An empty sni is
// a connection without server name. Both are in the spelling of [Key]. SameScope
// does not allocate.
func (t *Table) SameScope(sni, host string) bool {
	if sni == host || sni == "" && t.scopes.addresses[host] {
		return true
	}
	from, to := t.scopes.of(sni), t.scopes.of(host)
	return from == to || t.scopes.pairs[[2]string{from, to}]
}
