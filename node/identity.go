package node

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/libp2p/go-libp2p/core/crypto"
)

// maxIdentity bounds what is read as a key file, in bytes. An Ed25519 key has 68.
const maxIdentity = 4096

// LoadIdentity reads the Ed25519 key that MakeIdentity wrote: libp2p's protobuf form of a private key. A file that is
// not there is fs.ErrNotExist; all else is an *Error: key-permissions when others can read it, key-unreadable,
// key-corrupt.
func LoadIdentity(file string) (crypto.PrivKey, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, identityUnreadable(file, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, identityUnreadable(file, err)
	}
	if !info.Mode().IsRegular() {
		return nil, NewError(CodeKeyCorrupt, nil, fmt.Sprintf("%s is not a regular file", file), "")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, NewError(CodeKeyPermissions, nil, fmt.Sprintf("%s can be read by other users (mode %04o)", file, mode),
			fmt.Sprintf("chmod 600 %s; if others had access, make a new one with 'p2pnode init --force'", file))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxIdentity))
	if err != nil {
		return nil, identityUnreadable(file, err)
	}
	key, err := crypto.UnmarshalPrivateKey(text)
	if err == nil && key.Type() != crypto.Ed25519 {
		err = fmt.Errorf("it holds a key of type %s", key.Type())
	}
	if err != nil {
		return nil, NewError(CodeKeyCorrupt, err, fmt.Sprintf("%s holds no Ed25519 key (%d bytes): %v", file, len(text), err),
			"restore it from a backup, or make a new identity with 'p2pnode init --force'")
	}
	return key, nil
}

// identityUnreadable names the owner of the file and this user, since a wrong user is the usual reason.
func identityUnreadable(file string, cause error) error {
	detail := fmt.Sprintf("%s: %v", file, cause)
	if info, err := os.Stat(file); err == nil {
		if sys, ok := info.Sys().(*syscall.Stat_t); ok && int(sys.Uid) != os.Getuid() {
			detail = fmt.Sprintf("%s belongs to uid %d, this is uid %d: %v", file, sys.Uid, os.Getuid(), cause)
		}
	}
	return NewError(CodeKeyUnreadable, cause, detail, "")
}

// MakeIdentity makes a new Ed25519 key and stores it durably under file, mode 0600, in a directory that it makes with
// mode 0700 when needed. It never overwrites: an existing file is an *Error key-exists around fs.ErrExist.
func MakeIdentity(file string) (crypto.PrivKey, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make identity: %w", err)
	}
	text, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make identity: %w", err)
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, identityUnwritable(file, err)
	}
	// A link, unlike a rename, does not overwrite, and unlike writing in place never shows half a key.
	temp, err := writeTemp(dir, text)
	if err != nil {
		return nil, identityUnwritable(file, err)
	}
	defer os.Remove(temp)
	switch err := os.Link(temp, file); {
	case errors.Is(err, fs.ErrExist):
		return nil, NewError(CodeKeyExists, err, file+" exists already and is not overwritten", "'p2pnode init --force' moves it aside and makes a new identity")
	case err != nil:
		return nil, identityUnwritable(file, err)
	}
	return key, syncDir(dir)
}

// writeTemp stores text durably in a new file of dir, mode 0600. It leaves none behind on an error.
func writeTemp(dir string, text []byte) (file string, err error) {
	f, err := os.CreateTemp(dir, ".identity-*") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

func identityUnwritable(file string, cause error) error {
	if errors.Is(cause, syscall.ENOSPC) {
		return NewError(CodeDiskFull, cause, "no space left to write "+file, "")
	}
	return NewError(CodeKeyUnreadable, cause, fmt.Sprintf("the identity %s can't be written: %v", file, cause), "give another directory with --home")
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
