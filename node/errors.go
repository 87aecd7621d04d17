package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Exit codes of p2pnode. They are a promise: scripts branch on them.
const (
	ExitOK          = 0
	ExitInternal    = 1 // unexpected: a bug
	ExitUsage       = 2 // usage or configuration wrong
	ExitUnreachable = 3 // no node answers
	ExitNotFound    = 4 // key, topic, job, member
	ExitCheck       = 5 // a check failed
	ExitRefused     = 6 // not allowed
	ExitTimeout     = 7
	ExitConflict    = 8 // version, port or data directory is another's
	ExitResource    = 9 // key file, permissions, disk
)

// Slugs of all errors and problems that people and programs meet. A slug is never reused for another meaning.
// `p2pnode errors SLUG` explains one, the API sends it as "code", and the exit code follows from it.
const (
	CodeInternal             = "internal"
	CodeBadUsage             = "bad-usage"
	CodeBadConfig            = "bad-config"
	CodeUnknownConfigKey     = "unknown-config-key"
	CodeBadMultiaddr         = "bad-multiaddr"
	CodeMissingPeerID        = "missing-peer-id"
	CodeBadPeerID            = "bad-peer-id"
	CodeUnusableMultiaddr    = "unusable-multiaddr"
	CodePortInUse            = "port-in-use"
	CodeListenLost           = "listen-lost"
	CodeDataDirLocked        = "data-dir-locked"
	CodeKeyPermissions       = "key-permissions"
	CodeKeyUnreadable        = "key-unreadable"
	CodeKeyCorrupt           = "key-corrupt"
	CodeKeyExists            = "key-exists"
	CodeStoreCorrupt         = "store-corrupt"
	CodeStoreUnreadable      = "store-unreadable"
	CodeDiskFull             = "disk-full"
	CodeIdentityConflict     = "identity-conflict"
	CodeEquivocation         = "equivocation"
	CodeKeysWithdrawn        = "keys-withdrawn"
	CodeBootstrapUnreachable = "bootstrap-unreachable"
	CodePeerIDMismatch       = "peer-id-mismatch"
	CodeMemberSuspected      = "member-suspected"
	CodeClockSkew            = "clock-skew"
	CodeAPINotRunning        = "api-not-running"
	CodeNotReady             = "not-ready"
	CodeStopped              = "stopped"
	CodeValidation           = "validation"
	CodeNotFound             = "not-found"
	CodeUnknownTopic         = "unknown-topic"
	CodeUnknownMember        = "unknown-member"
	CodeAmbiguousPeer        = "ambiguous-peer"
	CodeBadKey               = "bad-key"
	CodeReservedKey          = "reserved-key"
	CodeValueTooLarge        = "value-too-large"
	CodeQuotaExceeded        = "quota-exceeded"
	CodeVersionConflict      = "version-conflict"
	CodeClockExhausted       = "clock-exhausted"
	CodeNotSeen              = "not-seen"
	CodeBadProof             = "bad-proof"
	CodeBadExport            = "bad-export"
	CodeImportIncomplete     = "import-incomplete"
	CodeNotVerified          = "not-verified"
	CodeNotConverged         = "not-converged"
	CodeTimeout              = "timeout"
	CodeBadHeader            = "bad-header"
	CodeBadRange             = "bad-range"
	CodeBadTarget            = "bad-target"
	CodeBadJob               = "bad-job"
	CodeUnknownJob           = "unknown-job"
	CodeNotAllowed           = "not-allowed"
	CodeJobCanceled          = "job-canceled"
	CodeJobFailed            = "job-failed"
	CodeNothingFound         = "nothing-found"
	CodeUnknownHost          = "unknown-host"
	CodeForeignOrigin        = "foreign-origin"
	CodeMethodNotAllowed     = "method-not-allowed"
	CodeUnsupportedMedia     = "unsupported-media-type"
	CodeNotAcceptable        = "not-acceptable"
	CodeUnknownTestnet       = "unknown-testnet"
	CodeTestnetRuns          = "testnet-runs"
	CodeTestnetFailed        = "testnet-failed"
)

// Explanation is what `p2pnode errors SLUG` says of one slug.
type Explanation struct {
	Code   string // the slug
	Exit   int    // exit code of a command that ends with it; 0: a warning, it ends none
	Status int    // HTTP status of the API's answer; 0: the API never answers it
	Text   string // one sentence: what happened, and what helps
}

// explanations holds every slug, sorted by Code; a test keeps it so.
var explanations = [...]Explanation{
	{CodeAmbiguousPeer, ExitUsage, 400, "more than one peer has that name or id suffix: write more of the id"},
	{CodeAPINotRunning, ExitUnreachable, 0, "no node answers on the API socket: start it with 'p2pnode run', or point at another one with --home, --node or --api"},
	{CodeBadConfig, ExitUsage, 0, "a setting has a value outside its range; all wrong settings are listed with their ranges"},
	{CodeBadExport, ExitUsage, 400, "the file is no export, or of another network: 'p2pnode state export' writes one"},
	{CodeBadHeader, ExitUsage, 400, "a block header is 76 bytes without its nonce or 80 bytes with it, in hex"},
	{CodeBadJob, ExitUsage, 400, "the job is not one that workers could do"},
	{CodeBadKey, ExitUsage, 400, "a key is 1 to 256 bytes of UTF-8"},
	{CodeBadMultiaddr, ExitUsage, 400, "an address must be a multiaddr such as /ip4/203.0.113.7/udp/4747/quic-v1/p2p/PEER-ID; 'p2pnode id --addrs' prints a node's own"},
	{CodeBadPeerID, ExitUsage, 400, "the text is not a peer id: ids of nodes start with 12D3KooW and have 52 characters"},
	{CodeBadProof, ExitUsage, 0, "the file is no proof: 'p2pnode state get KEY --proof' writes one"},
	{CodeBadRange, ExitUsage, 400, "a range is START:END in decimal, START below END; END is not part of it"},
	{CodeBadTarget, ExitUsage, 400, "a target is 64 hex digits, above zero; without one the header's own bits say it"},
	{CodeBadUsage, ExitUsage, 0, "the command line is wrong: 'p2pnode COMMAND --help' shows how it is meant"},
	{CodeBootstrapUnreachable, 0, 0, "no bootstrap peer answers; the node goes on and tries again for ever"},
	{CodeClockExhausted, ExitConflict, 409, "the key's clock is at its largest value: some writer set it there, and nobody can write over it"},
	{CodeClockSkew, 0, 0, "wall clocks differ by membership.max_clock_skew or more: no write is lost or refused for it, but times that are shown, and keys that expire, are as wrong as the clock of the node that wrote them"},
	{CodeDataDirLocked, ExitConflict, 0, "another process uses the data directory: give a second node its own --home"},
	{CodeDiskFull, ExitResource, 503, "no space is left for the data directory; what is stored stays valid"},
	{CodeEquivocation, 0, 0, "a member has signed two histories under one version: its key is used by two processes, or it lies"},
	{CodeForeignOrigin, ExitRefused, 403, "the request comes from a web page of another server"},
	{CodeIdentityConflict, ExitConflict, 409, "another node runs with the same identity key; the younger of the two does not write"},
	{CodeImportIncomplete, ExitCheck, 0, "some owners of an export were not imported: the command says line by line why, and the others were"},
	{CodeInternal, ExitInternal, 500, "something unexpected happened: this is a bug in p2pnode"},
	{CodeJobCanceled, ExitCheck, 0, "the job was cancelled before it was done"},
	{CodeJobFailed, ExitCheck, 0, "part of the job's range was given up: too many workers were lost on it"},
	{CodeKeyCorrupt, ExitResource, 0, "the identity file holds no Ed25519 key: restore it from a backup, or move it away to get a new identity"},
	{CodeKeyExists, ExitConflict, 0, "an identity is there already and is never overwritten; 'p2pnode init --force' moves it aside"},
	{CodeKeyPermissions, ExitResource, 0, "the identity file can be read by other users: chmod 600 it; if others had access, make a new one with 'p2pnode init --force'"},
	{CodeKeyUnreadable, ExitResource, 0, "the identity file cannot be read or written by this user"},
	{CodeKeysWithdrawn, 0, 0, "this node was away for so long that others had forgotten it; it withdrew its shared keys, which may have been deleted meanwhile: set those that are still wanted again"},
	{CodeListenLost, ExitConflict, 0, "the node cannot listen on an address it was told to: it is not on this machine, or not allowed"},
	{CodeMemberSuspected, 0, 0, "a member is silent; it is declared dead unless it shows a sign of life"},
	{CodeMethodNotAllowed, ExitUsage, 405, "the API has that path, but not with that method"},
	{CodeMissingPeerID, ExitUsage, 400, "the address names no peer: add /p2p/ and the peer's id"},
	{CodeNotAcceptable, ExitUsage, 406, "the API cannot answer in any form that the request accepts"},
	{CodeNotAllowed, ExitRefused, 403, "this node may not do that: only the node that submitted a job can cancel it"},
	{CodeNotConverged, ExitCheck, 0, "members hold different states; after the last write this lasts seconds"},
	{CodeNotFound, ExitNotFound, 404, "nothing is there under that key or name"},
	{CodeNotReady, ExitUnreachable, 503, "the node is of no use to others yet: it starts, has not synced with a peer, or cannot write: 'p2pnode health' shows which, 'p2pnode wait ready' waits"},
	{CodeNotSeen, ExitTimeout, 504, "the write is stored here, but not as many members as asked have confirmed it in time"},
	{CodeNotVerified, ExitCheck, 0, "the proof or a line of the export does not hold, or not for the owner, network or topic that were asked for"},
	{CodeNothingFound, ExitNotFound, 0, "the whole range was searched and holds no nonce that meets the target"},
	{CodePeerIDMismatch, 0, 0, "another identity answers at the address than the one it was given for"},
	{CodePortInUse, ExitConflict, 0, "the port is another process's: stop that one, or listen on port 0 for a free one"},
	{CodeQuotaExceeded, ExitResource, 507, "this node's own state is full: delete keys that are no longer needed"},
	{CodeReservedKey, ExitRefused, 403, "the key is the node's own and cannot be written by hand: choose another"},
	{CodeStopped, ExitUnreachable, 503, "the node is stopping"},
	{CodeStoreCorrupt, ExitResource, 0, "the state file is damaged; it was moved aside, and the node takes its state from its peers"},
	{CodeStoreUnreadable, ExitResource, 0, "the state file cannot be opened by this user"},
	{CodeTestnetFailed, ExitCheck, 0, "a node of the testnet did not start or did not agree with the others in time: 'p2pnode testnet logs nX' shows why"},
	{CodeTestnetRuns, ExitConflict, 0, "a testnet of that name runs already: use another --name, or 'p2pnode testnet down' first"},
	{CodeTimeout, ExitTimeout, 504, "it did not happen in the time given by --timeout"},
	{CodeUnknownConfigKey, ExitUsage, 0, "the configuration has a key that means nothing: it is misspelt or in the wrong section"},
	{CodeUnknownHost, ExitUsage, 421, "the request's Host header names another server than this one"},
	{CodeUnknownJob, ExitNotFound, 404, "no job has that id, name or unique prefix: 'p2pnode work ls' lists them"},
	{CodeUnknownMember, ExitNotFound, 404, "no member has that id, unique suffix or name: 'p2pnode members' lists them"},
	{CodeUnknownTestnet, ExitNotFound, 0, "no testnet or node of that name: 'p2pnode testnet status' lists the nodes"},
	{CodeUnknownTopic, ExitNotFound, 404, "the node is not on that topic: start it with --topic"},
	{CodeUnsupportedMedia, ExitUsage, 415, "the request's body is of a content type that the API does not read"},
	{CodeUnusableMultiaddr, ExitUsage, 400, "the address is well-formed, but no node can be dialled there"},
	{CodeValidation, ExitUsage, 422, "the request has wrong or missing fields; all of them are listed"},
	{CodeValueTooLarge, ExitUsage, 413, "a value has at most 64 KiB: store it elsewhere and put its hash here"},
	{CodeVersionConflict, ExitConflict, 412, "the key is at another version than the command asked for: read it again"},
}

// Explain returns what is known of a slug. It is safe for concurrent use.
func Explain(code string) (Explanation, bool) {
	i, ok := slices.BinarySearchFunc(explanations[:], code, func(e Explanation, code string) int {
		return strings.Compare(e.Code, code)
	})
	if !ok {
		return Explanation{}, false
	}
	return explanations[i], true
}

// Explanations returns all slugs, sorted.
func Explanations() []Explanation { return slices.Clone(explanations[:]) }

// Error is a failure that an operator can act on. Detail and Hint are sentences for people: lower case, no full stop.
type Error struct {
	Code   string // slug, see Explain
	Detail string // what happened, naming the thing
	Hint   string // what to do about it; may be empty
	Exit   int    // exit code of a command that ends with it
	Err    error  // the cause, for errors.Is; not printed again; may be nil
}

// NewError makes an Error whose exit code is the slug's. An unknown slug is a bug and panics.
func NewError(code string, cause error, detail, hint string) *Error {
	e, ok := Explain(code)
	if !ok {
		panic(fmt.Sprintf("node: no explanation for error code %q", code))
	}
	return &Error{Code: code, Detail: detail, Hint: hint, Exit: e.Exit, Err: cause}
}

// Error is the detail alone: the hint is printed on a line of its own.
func (e *Error) Error() string {
	if e.Detail == "" && e.Err != nil {
		return e.Err.Error()
	}
	return e.Detail
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ExitCode is the exit code for err: 0 for nil, that of an Error in its chain, 7 for a deadline that passed, else 1.
func ExitCode(err error) int {
	var e *Error
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &e):
		return e.Exit
	case errors.Is(err, context.DeadlineExceeded):
		return ExitTimeout
	default:
		return ExitInternal
	}
}
