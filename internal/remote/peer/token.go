package peer

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"errors"
)

// token is what both ends have to know: a secret of 128 random bits, and the fingerprint of the server's public key, which is
// the SHA-256 of its SubjectPublicKeyInfo. The key is made from the secret, so that a serve that is given an earlier token is
// the server that the token names; and a text that connprof has not made names no key, whoever has chosen it.
type token struct {
	fingerprint [sha256.Size]byte
	secret      [secretBytes]byte
}

const secretBytes = 16

// tokenText writes tokens in letters and digits alone, for shells, and for a double click.
var tokenText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewToken makes a token, and with it a server's key that nobody has had before.
func NewToken() string {
	var t token
	_, _ = rand.Read(t.secret[:]) // never fails
	t.fingerprint = fingerprintOf(t.key())
	return t.String()
}

// CheckToken refuses a text that connprof has not made.
func CheckToken(text string) error {
	_, err := parseToken(text)
	return err
}

func (t token) String() string {
	return tokenText.EncodeToString(append(t.fingerprint[:], t.secret[:]...))
}

func parseToken(text string) (token, error) {
	var t token
	b, err := tokenText.DecodeString(text)
	if err == nil && len(b) == len(t.fingerprint)+len(t.secret) {
		copy(t.secret[:], b[copy(t.fingerprint[:], b):])
		if t.String() == text && t.fingerprint == fingerprintOf(t.key()) {
			return t, nil
		}
	}
	return token{}, errors.New("it is none that connprof has made; start connprof serve without one, and give what it prints")
}

// derive makes a key for one purpose.
func (t token) derive(purpose string) []byte {
	key, err := hkdf.Key(sha256.New, t.secret[:], nil, "connprof "+purpose, ed25519.SeedSize)
	if err != nil {
		panic(err) // the lengths are constants
	}
	return key
}

// key is the server's.
func (t token) key() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(t.derive("key")) }

// proofs are what only an end that knows the secret can say, and only in this session: what TLS exports is another in each.
func (t token) proofs(s tls.ConnectionState) (client, server []byte, err error) {
	key := t.derive("proof")
	of := func(end string) []byte {
		exported, failed := s.ExportKeyingMaterial("EXPORTER-connprof-"+end, nil, sha256.Size)
		err = errors.Join(err, failed)
		m := hmac.New(sha256.New, key)
		m.Write(exported)
		return m.Sum(nil)
	}
	client, server = of("client"), of("server")
	return client, server, err
}

// fingerprintOf is that of a server with a key.
func fingerprintOf(key ed25519.PrivateKey) [sha256.Size]byte {
	info, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err) // it knows the type
	}
	return sha256.Sum256(info)
}
