package certpath

import (
	"slices"
	"strings"
)

// algorithm is a kind of key, and thereby of the signatures that such keys make.
// From algorithmEd25519 on, keys can do nothing but sign.
type algorithm uint8

const (
	algorithmRSA algorithm = iota
	algorithmP256
	algorithmP384
	algorithmEd25519
	algorithmEd448
	algorithmMLDSA44
	algorithmMLDSA65
	algorithmMLDSA87
	algorithms
)

var algorithmNames = [algorithms]string{
	algorithmRSA:     "rsa",
	algorithmP256:    "ecdsa-p256",
	algorithmP384:    "ecdsa-p384",
	algorithmEd25519: "ed25519",
	algorithmEd448:   "ed448",
	algorithmMLDSA44: "ml-dsa-44",
	algorithmMLDSA65: "ml-dsa-65",
	algorithmMLDSA87: "ml-dsa-87",
}

// String returns the name that [Algorithms] lists.
func (a algorithm) String() string { return algorithmNames[a] }

// Algorithms returns the names that trust.BundleOptions.Algorithms may have, in a
// stable order: a kind of key, and with it the signatures that such keys make, with
// SHA-256 or better where a hash can be chosen. ed448 and the ml-dsa ones are for
// CAs; leaves cannot have such keys (ALG-03).
func Algorithms() []string { return slices.Clone(algorithmNames[:]) }

// KnownAlgorithm reports whether name is one of [Algorithms].
func KnownAlgorithm(name string) bool { return setNamed(name) != nothingAllowed }

// algorithmSet has the algorithms that an origin uses (ALG-05). The zero set stands
// for all of them.
type algorithmSet uint16

// nothingAllowed is what a name that is not known adds to a set: a set of such
// names alone has nothing in it, and is not the zero set.
const nothingAllowed = algorithmSet(1) << 15

func setOf(a algorithm) algorithmSet { return 1 << a }

func setNamed(name string) algorithmSet {
	for a, known := range algorithmNames {
		if name == known {
			return setOf(algorithm(a))
		}
	}
	return nothingAllowed
}

// algorithmsNamed returns the set of names, which may be empty for all.
func algorithmsNamed(names []string) algorithmSet {
	var s algorithmSet
	for _, name := range names {
		s |= setNamed(name)
	}
	return s
}

func (s algorithmSet) has(a algorithm) bool { return s == 0 || s&setOf(a) != 0 }

// String lists the names for the operator.
func (s algorithmSet) String() string {
	var names []string
	for a := range algorithms {
		if s.has(a) {
			names = append(names, a.String())
		}
	}
	if names == nil {
		return "none of the algorithms that are known"
	}
	return strings.Join(names, ", ")
}
