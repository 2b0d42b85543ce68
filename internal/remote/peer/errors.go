package peer

import (
	"errors"
	"fmt"
	"time"
)

// VersionError says that the other end speaks another version of the protocol.
type VersionError struct{ Ours, Theirs int }

func (e *VersionError) Error() string {
	return fmt.Sprintf("this connprof speaks version %d of the protocol and the other end version %d; run the same connprof "+
		"on both machines", e.Ours, e.Theirs)
}

// The reasons why two ends do not come together.
var (
	ErrToken    = errors.New("the token is wrong; give the --token that connprof serve has printed")
	ErrStranger = errors.New("the other end does not speak connprof's protocol; is a connprof serve listening there?")
	ErrForged   = errors.New("a message was changed on its way, or is out of turn")
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
