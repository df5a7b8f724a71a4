package trust

// MemoryBytes returns about how much memory the CRL takes.
func (c *CRL) MemoryBytes() int {
	const fixed = 1 << 10
	return fixed + len(c.rawIssuer) + len(c.issuer) + len(c.keyID) + len(c.signed) + len(c.signature) + c.serials.size()
}

// size returns the octets of memory that the set takes.
func (s *revokedSerials) size() int {
	return cap(s.short.rows) + cap(s.long.rows) + 4*(cap(s.short.limits)+cap(s.long.limits))
}
