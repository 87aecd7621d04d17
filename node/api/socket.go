package api

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// probeTimeout bounds the question whether a socket's owner still lives. A dead one refuses at once.
const probeTimeout = time.Second

// open listens on e. addr is how e was written, for errors.
func (e endpoint) open(addr string) (net.Listener, error) {
	if e.network == "unix" {
		return openSocket(addr, e.address)
	}
	l, err := net.Listen("tcp", e.address)
	if err != nil {
		return nil, &ListenError{
			Addr: addr, Detail: cause(err), InUse: errors.Is(err, syscall.EADDRINUSE), Err: err,
			Hint: "stop the process that listens there, or choose another port",
		}
	}
	return l, nil
}

// openSocket listens on a unix socket that only this user can use. A socket that a dead process left is replaced;
// the lock of the data directory keeps two nodes from doing so at once.
func openSocket(addr, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, &ListenError{Addr: addr, Detail: cause(err), Err: err, Hint: "choose another --home or --api"}
	}
	if err := removeStale(addr, path); err != nil {
		return nil, err
	}
	// The mode is set before the socket has a name: there is no moment at which others could connect.
	lc := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var chmodErr error
		err := conn.Control(func(fd uintptr) { chmodErr = syscall.Fchmod(int(fd), 0o600) })
		return errors.Join(err, chmodErr)
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, &ListenError{
			Addr: addr, Detail: cause(err), InUse: errors.Is(err, syscall.EADDRINUSE), Err: err,
			Hint: "choose another --home or --api",
		}
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	own := &ownSocket{Listener: l, path: path}
	if own.made, err = os.Lstat(path); err == nil {
		err = os.Chmod(path, 0o600) // where the kernel ignores the descriptor's mode
	}
	if err != nil {
		own.Close()
		return nil, &ListenError{Addr: addr, Detail: cause(err), Err: err, Hint: "choose another --home or --api"}
	}
	return own, nil
}

// removeStale removes the socket at path when nobody answers there.
func removeStale(addr, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return &ListenError{Addr: addr, Detail: cause(err), Err: err, Hint: "choose another --home or --api"}
	case info.Mode().Type() != fs.ModeSocket:
		return &ListenError{
			Addr: addr, Detail: "a file that is no socket is there", Err: fs.ErrExist,
			Hint: "move it away, or choose another --api",
		}
	}
	conn, err := net.DialTimeout("unix", path, probeTimeout)
	if err == nil {
		conn.Close()
		return &ListenError{
			Addr: addr, Detail: "another process answers there", InUse: true, Err: syscall.EADDRINUSE,
			Hint: "stop that node, or give this one another --home or --api",
		}
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return &ListenError{Addr: addr, Detail: cause(err), Err: err, Hint: "choose another --home or --api"}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &ListenError{Addr: addr, Detail: cause(err), Err: err, Hint: "remove the stale socket by hand"}
	}
	return nil
}

// cause is the innermost error: it names neither the operation nor the path, which the address says already.
func cause(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// ownSocket removes its path when it closes, unless another process has put its own socket there.
type ownSocket struct {
	net.Listener
	path string
	made fs.FileInfo
}

// Close stops listening.
func (l *ownSocket) Close() error {
	err := l.Listener.Close()
	if now, statErr := os.Lstat(l.path); statErr == nil && l.made != nil && os.SameFile(now, l.made) {
		return errors.Join(err, os.Remove(l.path))
	}
	return err
}
