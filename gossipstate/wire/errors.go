package wire

import "errors"

// What can be wrong with bytes from a peer. Errors of this package wrap one of these and say what was found.
var (
	// ErrMalformed: not a message, or one that breaks a rule of the protocol.
	ErrMalformed = errors.New("malformed message")
	// ErrTooLarge: over one of the limits that all nodes share.
	ErrTooLarge = errors.New("message over a limit")
	// ErrBadSignature: the digest is not signed by its owner for this network and topic.
	ErrBadSignature = errors.New("bad signature")
)
