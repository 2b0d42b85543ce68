package peer

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// VersionError says that the other end speaks another version of the protocol.
type VersionError struct{ Ours, Theirs int }

func (e *VersionError) Error() string {
	return fmt.Sprintf("this connprof speaks version %d of the protocol and the other end version %d; run the same connprof "+
		"on both machines", e.Ours, e.Theirs)
}

// The reasons why two ends do not come together, or part.
var (
	ErrToken = errors.New("the token is wrong; give the --token that connprof serve has printed")
	ErrKey   = errors.New("the token is wrong, or somebody stands in between: the other end has another key than the token " +
		"names; give the --token that connprof serve has printed")
	ErrStranger = errors.New("the other end does not speak connprof's protocol")
	ErrForged   = errors.New("a message was changed on its way, or is out of turn")
	ErrTooLong  = errors.New("a message is longer than it may be")
)

// RefusedError is what the other end said when it refused.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

// LostError says that the other end is no longer there.
type LostError struct{ Cause error }

func (e *LostError) Error() string { return "lost the peer: " + e.Cause.Error() }
func (e *LostError) Unwrap() error { return e.Cause }

// SilentError is the cause of a LostError where nothing was heard: the other end may still be there, and think the same.
type SilentError struct{ For time.Duration }

func (e *SilentError) Error() string {
	return fmt.Sprintf("nothing came or went on the control connection for %v", e.For)
}

// What TLS says of a record that was changed on its way, and of a server that is not whom the client wants (RFC 8446, 6.2).
const (
	badRecord      tls.AlertError = 20
	badCertificate tls.AlertError = 42
)

// alertOf is the alert that ended a TLS connection, at either end, nil where it was something else. crypto/tls has no type for
// one outside QUIC, but the same words.
func alertOf(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && (op.Op == "local error" || op.Op == "remote error") {
		return op.Err
	}
	return nil
}

func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
}

// unmet is why a handshake failed: what TLS has to complain of is that somebody does not speak as a connprof does.
func unmet(err error) error {
	var version *VersionError
	var op *net.OpError
	alert := alertOf(err)
	switch {
	case errors.As(err, &version), errors.Is(err, ErrStranger), errors.Is(err, ErrKey), hungUp(err),
		alert == nil && errors.As(err, &op):
		return err
	case alert != nil && alert.Error() == badCertificate.Error():
		return ErrToken
	case alert != nil && alert.Error() == badRecord.Error():
		return ErrForged
	}
	return fmt.Errorf("%w (%s)", ErrStranger, Text(err.Error()))
}

// plain is a network error for people.
func plain(err error, limit time.Duration) error {
	var op *net.OpError
	var header tls.RecordHeaderError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &SilentError{limit}
	case hungUp(err):
		return errors.New("it closed the control connection")
	case alertOf(err) != nil, errors.As(err, &header):
		return ErrForged
	case errors.As(err, &op):
		return op.Err
	}
	return err
}
