package policy

import (
	"bytes"
	"crypto/sha256"
	"fmt"
)

// mask stands for every secret in text.
const mask = "***"

// Secret is a shared secret or password. It prints as "***" whatever the verb or encoding, an empty one too, so that not
// even its presence shows; Reveal gives the octets (P130).
type Secret struct{ octets []byte }

// NewSecret keeps a copy of octets.
func NewSecret(octets []byte) Secret {
	if len(octets) == 0 {
		return Secret{}
	}
	return Secret{octets: bytes.Clone(octets)}
}

// Reveal gives the octets, nil for an empty secret. The caller must not change them, nor let them reach a log.
func (s Secret) Reveal() []byte { return s.octets }

// Empty says that there is no secret.
func (s Secret) Empty() bool { return len(s.octets) == 0 }

// Equal says that both hold the same octets. It is not constant-time: it compares configurations, never what a peer sent.
func (s Secret) Equal(o Secret) bool { return bytes.Equal(s.octets, o.octets) }

// String gives the mask.
func (s Secret) String() string { return mask }

// GoString gives the mask.
func (s Secret) GoString() string { return mask }

// Format writes the mask for every verb and flag.
func (s Secret) Format(f fmt.State, _ rune) { writeMask(f) }

// MarshalText gives the mask.
func (s Secret) MarshalText() ([]byte, error) { return []byte(mask), nil }

// MarshalJSON gives the mask.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }

// digest makes a comparable value out of s that says no more than whether two secrets are equal.
func (s Secret) digest() Digest {
	if s.Empty() {
		return Digest{}
	}
	return Digest{sum: sha256.Sum256(s.octets)}
}

// Digest stands for a secret where a comparable value is needed. A short secret could be guessed from it, so it prints as
// "***" too. The zero Digest is that of the empty secret.
type Digest struct{ sum [sha256.Size]byte }

// String gives the mask.
func (d Digest) String() string { return mask }

// GoString gives the mask.
func (d Digest) GoString() string { return mask }

// Format writes the mask for every verb and flag.
func (d Digest) Format(f fmt.State, _ rune) { writeMask(f) }

// MarshalText gives the mask.
func (d Digest) MarshalText() ([]byte, error) { return []byte(mask), nil }

// writeMask ignores the error: a fmt.State has nobody to report it to.
func writeMask(f fmt.State) { _, _ = f.Write([]byte(mask)) }
