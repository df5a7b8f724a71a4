package trust

// SecretBytes is the size of a [Secret].
const SecretBytes = 32

// Secret is a key that several gateways share, such as the one that session
// tickets are sealed by.
type Secret [SecretBytes]byte

// Secrets is what a secret file says: the first seals, all open. It is immutable.
type Secrets struct {
	all    []Secret
	digest Digest
}

// ParseSecrets reads one secret a line, 64 hexadecimal digits or base64, the
// current one first; at most four. Empty lines and lines that begin with '#' are
// left out.
func ParseSecrets(name string, data []byte) (*Secrets, error) {
	return nil, &Error{Reason: ReasonEmpty, Name: name}
}

// All returns the secrets, the current one first. The slice is not to be modified.
func (s *Secrets) All() []Secret { return s.all }

// Digest tells two contents apart and does not give them away.
func (s *Secrets) Digest() Digest { return s.digest }

// SecretSource yields the secrets in force. It may be called concurrently and is
// cheap.
type SecretSource interface {
	Secrets() *Secrets
}
