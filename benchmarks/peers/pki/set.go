package pki

import (
	"bufio"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/gob"
	"errors"
	"fmt"
	"os"
)

// Set is identities of clients, as a load generator reads them from a file.
type Set struct {
	Keys       [][]byte // PKCS #8
	Identities []Identity
}

// Identity is one client.
type Identity struct {
	Name  string   // the end of what a peer forwards
	Chain [][]byte // DER, leaf first, no root
	Key   int      // which of the set's keys
}

// Write puts the set into a file that only its owner can read.
func (s *Set) Write(name string) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(file, 1<<20)
	return errors.Join(gob.NewEncoder(w).Encode(s), w.Flush(), file.Close())
}

// Client is an identity that is ready to be used.
type Client struct {
	Name        string
	Certificate *tls.Certificate
}

// Read returns the clients of a file that [Set.Write] wrote.
func Read(name string) ([]Client, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var s Set
	if err := gob.NewDecoder(bufio.NewReaderSize(file, 1<<20)).Decode(&s); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	keys := make([]crypto.PrivateKey, len(s.Keys))
	for i, der := range s.Keys {
		if keys[i], err = x509.ParsePKCS8PrivateKey(der); err != nil {
			return nil, fmt.Errorf("%s: key %d: %w", name, i, err)
		}
	}
	clients := make([]Client, len(s.Identities))
	for i, id := range s.Identities {
		clients[i] = Client{id.Name, &tls.Certificate{Certificate: id.Chain, PrivateKey: keys[id.Key]}}
	}
	return clients, nil
}
