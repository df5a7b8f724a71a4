package tlsterm

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"

	"verigate/trust"
)

// keyID tells which key sealed a ticket, so that one is tried and not all. It is
// derived with the key and says nothing about it.
type keyID [8]byte

type ticketKey struct {
	id   keyID
	aead cipher.AEAD
}

// ring is the keys in force at one time, of every secret those of the current epoch,
// the one before and the next: what was sealed shortly before the epoch changed is still
// to be opened, and a replica's clock may be ahead. The first one seals. A ring is
// immutable; the next takes its place when the epoch or the secrets change, and with it
// no key outlives its time.
type ring struct {
	secrets *trust.Secrets // nil if the source has none
	epoch   int64
	keys    []ticketKey
}

// ring returns the keys in force now. It has none without a secret.
func (t *Tickets) ring() *ring {
	secrets := t.own
	if t.o.Secrets != nil {
		secrets = t.o.Secrets.Secrets()
	}
	epoch := floorDivide(t.o.Now().Unix(), int64(t.o.Rotation.Seconds()))
	if last := t.keys.Load(); last != nil && last.secrets == secrets && last.epoch == epoch {
		return last
	}
	next := &ring{secrets: secrets, epoch: epoch}
	if secrets != nil {
		for _, secret := range secrets.All() {
			for _, e := range []int64{epoch, epoch - 1, epoch + 1} {
				next.keys = append(next.keys, deriveTicketKey(secret, uint32(t.o.Rotation.Seconds()), e))
			}
		}
	}
	// Whoever else made one at the same moment made the same.
	t.keys.Store(next)
	return next
}

// find returns the key with that id, nil if it is not in force.
func (r *ring) find(id keyID) *ticketKey {
	for i := range r.keys {
		if r.keys[i].id == id {
			return &r.keys[i]
		}
	}
	return nil
}

func deriveTicketKey(secret trust.Secret, rotation uint32, epoch int64) ticketKey {
	derived := deriveKey(secret, rotation, epoch)
	block, err := aes.NewCipher(derived[:ticketKeyBytes])
	if err != nil {
		panic(err) // of a key of constant size
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // of a block of constant size
	}
	return ticketKey{keyID(derived[ticketKeyBytes:]), aead}
}

const ticketKeyBytes = 32

// deriveKey returns the key of a secret in an epoch, and behind it its id.
func deriveKey(secret trust.Secret, rotation uint32, epoch int64) []byte {
	info := binary.BigEndian.AppendUint32(nil, rotation)
	info = binary.BigEndian.AppendUint64(info, uint64(epoch))
	derived, err := hkdf.Key(sha256.New, secret[:], []byte(ticketTag), string(info), ticketKeyBytes+len(keyID{}))
	if err != nil {
		panic(err) // of a length that is constant
	}
	return derived
}

// floorDivide returns a divided by b > 0, rounded down.
func floorDivide(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
