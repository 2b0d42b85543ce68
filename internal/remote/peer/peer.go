// Package peer is what two machines say to each other while connections are opened from one to the other: who they
// are, that both know the session's token, what is wanted, how it goes, and at the end the accepting end's recording.
// It knows nothing of load, probes or accounts, and imports nothing of the project: messages are plain data, and what
// they mean is for others to say.
//
// They speak TLS 1.3. The server's key is made from the token and has no other name than its fingerprint, which the
// client holds it against; then each end proves that it knows the token's secret, by a code over what TLS exports of
// this session. So nothing can be read or changed in between, and nobody gets anything to try guesses of the secret on.
//
// Nothing that comes in is trusted. Every message has a bound on its size and a time by which it has to come, and
// nothing is decoded before its sender has proved that it knows the token.
package peer

import "time"

// Version is that of the protocol. Two ends have to have the same. Version 1 was before TLS.
const Version = 2

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
