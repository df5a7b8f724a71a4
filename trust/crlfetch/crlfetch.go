// Package crlfetch is a source of trust: certificate revocation lists behind URLs.
package crlfetch
