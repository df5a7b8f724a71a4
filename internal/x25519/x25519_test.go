package x25519_test

import (
	"bytes"
	"crypto/ecdh"
	"encoding/hex"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"verigate/internal/x25519"
)

const (
	nine = "0900000000000000000000000000000000000000000000000000000000000000" // the base point
	two  = "0200000000000000000000000000000000000000000000000000000000000000" // on the twist
	ones = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
)

func octets(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 {
		t.Fatalf("%s is not 32 octets: %v", s, err)
	}
	return b
}

// TestInstalledIsOfTheTag compares with what the build says of itself.
func TestInstalledIsOfTheTag(t *testing.T) {
	t.Parallel()
	info, ok := debug.ReadBuildInfo()
	if !ok {
		t.Fatal("the build says nothing of itself")
	}
	tags := ""
	for _, s := range info.Settings {
		if s.Key == "-tags" {
			tags = s.Value
		}
	}
	if want := slices.Contains(strings.Split(tags, ","), "x25519circl") && runtime.GOARCH == "amd64"; x25519.Installed != want {
		t.Errorf("Installed is %t with the tags %q on %s, expected %t", x25519.Installed, tags, runtime.GOARCH, want)
	}
}

// TestVectors has those of RFC 7748, sections 5.2 and 6.1.
func TestVectors(t *testing.T) {
	t.Parallel()
	const (
		alice       = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
		alicePublic = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
		bob         = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
		bobPublic   = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
		both        = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
	)
	for _, v := range []struct{ scalar, point, product string }{
		{
			"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
			"e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
			"c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
		},
		{
			"4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
			"e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
			"95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
		},
		{alice, nine, alicePublic},
		{bob, nine, bobPublic},
		{alice, bobPublic, both},
		{bob, alicePublic, both},
	} {
		got := make([]byte, 32)
		x25519.ScalarMult(got, octets(t, v.scalar), octets(t, v.point))
		if want := octets(t, v.product); !bytes.Equal(got, want) {
			t.Errorf("%s times %s is %x, expected %x", v.scalar, v.point, got, want)
		}
	}
}

// TestIteratedVector is the other one of RFC 7748, section 5.2.
func TestIteratedVector(t *testing.T) {
	t.Parallel()
	k, u := octets(t, nine), octets(t, nine)
	for i := range 1000 {
		product := make([]byte, 32)
		x25519.ScalarMult(product, k, u)
		k, u = product, k
		switch i + 1 {
		case 1:
			expect(t, k, "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079")
		case 1000:
			expect(t, k, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51")
		}
	}
}

func expect(t *testing.T, got []byte, want string) {
	t.Helper()
	if hex.EncodeToString(got) != want {
		t.Errorf("got %x, expected %s", got, want)
	}
}

// lowOrder are the points whose product is zero, in every encoding: not reduced, too, and with the
// bit set that RFC 7748, section 5, has receivers ignore.
var lowOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11d7",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

// odd are other points that are easily mistaken.
var odd = []string{
	"f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // 9, not reduced
	"0900000000000000000000000000000000000000000000000000000000000080", // 9, with the bit
	"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	ones,
	two,
	nine,
}

// FuzzScalarMult compares with the standard library, which refuses a product of zeros. In a
// build that has [x25519.Installed] it compares with itself.
func FuzzScalarMult(f *testing.F) {
	scalars := []string{lowOrder[0], ones, "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"}
	for _, scalar := range scalars {
		for _, point := range append(odd, lowOrder...) {
			f.Add(octets(f, scalar), octets(f, point))
		}
	}
	f.Fuzz(func(t *testing.T, scalar, point []byte) {
		if len(scalar) != 32 || len(point) != 32 {
			return
		}
		private, err := ecdh.X25519().NewPrivateKey(scalar)
		if err != nil {
			t.Fatal(err)
		}
		public, err := ecdh.X25519().NewPublicKey(point)
		if err != nil {
			t.Fatal(err)
		}
		want, err := private.ECDH(public)
		if err != nil {
			want = make([]byte, 32)
		}
		got := make([]byte, 32)
		if x25519.ScalarMult(got, scalar, point); !bytes.Equal(got, want) {
			t.Errorf("%x times %x is %x, crypto/ecdh says %x", scalar, point, got, want)
		}
		if x25519.ScalarMult(got, scalar, octets(t, nine)); !bytes.Equal(got, private.PublicKey().Bytes()) {
			t.Errorf("the public key of %x is %x, crypto/ecdh says %x", scalar, got, private.PublicKey().Bytes())
		}
	})
}

func TestScalarMultAllocatesNothing(t *testing.T) {
	dst, scalar, base, point := make([]byte, 32), octets(t, ones), octets(t, nine), octets(t, two)
	if n := testing.AllocsPerRun(100, func() {
		x25519.ScalarMult(dst, scalar, base)
		x25519.ScalarMult(dst, scalar, point)
	}); n != 0 {
		t.Errorf("a key and a secret take %v allocations, expected none", n)
	}
}

// BenchmarkX25519 is what a handshake takes of it, an own key and a shared secret, by crypto/ecdh
// and by circl.
func BenchmarkX25519(b *testing.B) {
	scalar, point := octets(b, ones), octets(b, two)
	b.Run("by=crypto_ecdh", func(b *testing.B) {
		public, err := ecdh.X25519().NewPublicKey(point)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			private, err := ecdh.X25519().NewPrivateKey(scalar)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := private.ECDH(public); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("by=circl", func(b *testing.B) {
		dst, base := make([]byte, 32), octets(b, nine)
		for b.Loop() {
			x25519.ScalarMult(dst, scalar, base)
			x25519.ScalarMult(dst, scalar, point)
		}
	})
}
