// Package pb holds the protobuf messages of the wire, generated from gossipstate.proto. Read package wire instead: it
// gives them checked Go types.
package pb

//go:generate go tool -modfile=../../../testnet/tools/go.mod buf generate
