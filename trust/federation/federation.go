// Package federation is a source of trust: SPIFFE bundle endpoints.
package federation
