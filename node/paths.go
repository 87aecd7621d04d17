package node

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Names of files in the data directory.
const (
	configFile = "config.toml"
	socketFile = "api.sock"
	lockFile   = "LOCK"
)

// Paths are where a node's files are, all absolute.
type Paths struct {
	Config string // config.toml; need not exist
	Data   string // directory of identity, state and lock; need not exist
	Socket string // where the API listens for api.listen = "unix:"
}

// HomePaths puts everything under one directory: --home, P2PNODE_HOME.
func HomePaths(home string) (Paths, error) {
	dir, err := filepath.Abs(home)
	if err != nil {
		return Paths{}, fmt.Errorf("home directory %q: %w", home, err)
	}
	return Paths{Config: filepath.Join(dir, configFile), Data: dir, Socket: dataSocket(dir)}, nil
}

// UserPaths are the places for a user's node by the XDG base directory specification: the configuration under
// XDG_CONFIG_HOME, data under XDG_DATA_HOME, the socket under XDG_RUNTIME_DIR or else with the data.
func UserPaths() (Paths, error) {
	config, err := xdgDir("XDG_CONFIG_HOME", ".config")
	if err != nil {
		return Paths{}, err
	}
	data, err := xdgDir("XDG_DATA_HOME", filepath.Join(".local", "share"))
	if err != nil {
		return Paths{}, err
	}
	p := Paths{
		Config: filepath.Join(config, "p2pnode", configFile),
		Data:   filepath.Join(data, "p2pnode"),
	}
	p.Socket = dataSocket(p.Data)
	if s, ok := runtimeSocket(socketFile); ok {
		p.Socket = s
	}
	return p, nil
}

// xdgDir is the directory that the variable names, or the one below the home directory. The specification says to
// ignore a relative path.
func xdgDir(variable, below string) (string, error) {
	if dir := os.Getenv(variable); filepath.IsAbs(dir) {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", NewError(CodeBadConfig, err, "no home directory is known: neither HOME nor "+variable+" is set", "give a directory with --home")
	}
	return filepath.Join(home, below), nil
}

// dataSocket is the socket in a data directory, or, for a directory whose path is too long for a socket's, a place that
// follows from the path: whoever knows the directory finds it.
func dataSocket(dir string) string {
	if socket := filepath.Join(dir, socketFile); len(socket) <= maxSocketPath {
		return socket
	}
	sum := sha256.Sum256([]byte(dir))
	name := hex.EncodeToString(sum[:8]) + ".sock"
	if socket, ok := runtimeSocket(name); ok {
		return socket
	}
	return filepath.Join(sharedSocketDir(), name)
}

// sharedSocketDir is this user's directory for sockets where there is no runtime directory: short, but in a place where
// everyone can make one of that name.
func sharedSocketDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("p2pnode-%d", os.Getuid()))
}

// CheckSocket makes sure that nobody else can put a socket in the place of p.Socket, for who listens there and who
// connects. It makes the directory among the temporary ones when it is missing; sockets elsewhere are in directories of the user's own.
func (p Paths) CheckSocket() error {
	dir := sharedSocketDir()
	if filepath.Dir(p.Socket) != dir {
		return nil
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return NewError(CodeStoreUnreadable, err, fmt.Sprintf("no place for the API's socket: %v", err), "choose a shorter --home, or --api unix:PATH")
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return NewError(CodeStoreUnreadable, err, fmt.Sprintf("no place for the API's socket: %v", err), "choose a shorter --home, or --api unix:PATH")
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || ok && int(owner.Uid) != os.Getuid() {
		return NewError(CodeStoreUnreadable, nil, dir+" is not this user's alone, so the API's socket is not safe there", "choose a shorter --home, or --api unix:PATH")
	}
	return nil
}

// runtimeSocket is a socket in the user's runtime directory, if there is one and its path is short enough.
func runtimeSocket(name string) (string, bool) {
	run := os.Getenv("XDG_RUNTIME_DIR")
	socket := filepath.Join(run, "p2pnode", name)
	return socket, filepath.IsAbs(run) && len(socket) <= maxSocketPath
}
