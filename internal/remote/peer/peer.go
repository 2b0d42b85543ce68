// Package peer is what two machines say to each other while connections are opened from one to the other: who they
// are, that both know the session's token, what is wanted, how it goes, and at the end the accepting end's recording.
// It knows nothing of load, probes or accounts, and imports nothing of the project: messages are plain data, and what
// they mean is for package run to say.
//
// Nothing that comes in is trusted. Every message has a bound on its size and a time by which it has to come, nothing
// is decoded before its sender has proved that it knows the token, and each message carries a code made with the
// token, so that nobody in between can change it. It is not encrypted: the token itself never crosses the wire, and
// the rest is no secret.
package peer

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// Version is that of the protocol. Two ends have to have the same.
const Version = 1

// What a message may take.
const (
	// handshakeTime is how long a peer may take for all of the handshake.
	handshakeTime = 5 * time.Second
	// aliveEvery is how often an end says that it is still there, and silence how long it may say nothing.
	aliveEvery = time.Second
	silence    = 10 * time.Second
	// writeTime is how long one message may take to leave.
	writeTime = 10 * time.Second
)

// MinToken is the least number of characters of a token that somebody has chosen: whoever records a handshake can try
// tokens against it at leisure.
const MinToken = 16

// NewToken makes a token of 128 random bits.
func NewToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// CheckToken refuses a token that is too short to keep others out, or too long for a command line.
func CheckToken(token string) error {
	if len(token) < MinToken || len(token) > 256 {
		return fmt.Errorf("want %d to 256 characters; connprof serve makes a good token by itself", MinToken)
	}
	return nil
}

const macBytes = sha256.Size

// code is the HMAC-SHA256 over parts, each with its length, by the token or a key made from it.
func code(key []byte, parts ...[]byte) []byte {
	m := hmac.New(sha256.New, key)
	for _, p := range parts {
		fmt.Fprintf(m, "%d:", len(p))
		m.Write(p)
	}
	return m.Sum(nil)
}
