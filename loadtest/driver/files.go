package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Bounds of files, in octets.
const (
	// maxTargetLineBytes bounds a line of a target file, those with bodies in base64
	// are long, and the files that bodies are read from.
	maxTargetLineBytes = 16 << 20
	// maxAnchorsBytes bounds -root-certs, and -cert and -key: thousands of CAs fit.
	maxAnchorsBytes = 16 << 20
	// maxIdentitiesBytes bounds -identities. A hundred thousand take 0.3 GB with P-256 and
	// 3 GB with ML-DSA.
	maxIdentitiesBytes = 4 << 30
)

// readFile reads a file of at most so many octets. Anything but a regular file, such as
// a device or a pipe, may have no end, and is refused.
func readFile(name string, maxBytes int64) ([]byte, error) {
	// Without waiting for somebody who writes into a pipe.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	var data bytes.Buffer
	if size := info.Size(); size <= maxBytes {
		data.Grow(int(size) + bytes.MinRead)
		// Not by the size that it had: some files have none, and others grow.
		if _, err := data.ReadFrom(io.LimitReader(f, maxBytes+1)); err != nil {
			return nil, err
		}
		if int64(data.Len()) <= maxBytes {
			return data.Bytes(), nil
		}
	}
	return nil, fmt.Errorf("%s is longer than %d octets", name, maxBytes)
}
