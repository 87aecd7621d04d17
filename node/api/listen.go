package api

import (
	"net"
	"net/netip"
	"strings"
)

// maxSocketPath is how long the path of a unix socket may be on Linux: sun_path has 108 bytes, the last one 0.
const maxSocketPath = 107

// ListenError says that an address is wrong, or that the API cannot listen on it.
type ListenError struct {
	Addr   string // as it was given
	Detail string
	Hint   string
	InUse  bool  // another process answers there
	Err    error // the cause, nil when the address itself is wrong
}

func (e *ListenError) Error() string { return "API address " + e.Addr + ": " + e.Detail }

// Unwrap gives the cause.
func (e *ListenError) Unwrap() error { return e.Err }

// endpoint is a parsed API address.
type endpoint struct {
	network string // unix or tcp
	address string // path, or host:port
}

// parseListen reads unix:PATH, tcp://HOST:PORT and http://HOST:PORT.
func parseListen(addr string) (endpoint, error) {
	wrong := func(detail string) (endpoint, error) {
		return endpoint{}, &ListenError{
			Addr: addr, Detail: detail,
			Hint: "write unix:PATH or tcp://127.0.0.1:PORT",
		}
	}
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		path = strings.TrimPrefix(path, "//") // unix:///run/x.sock is /run/x.sock
		switch {
		case path == "":
			return wrong("has no path")
		case len(path) > maxSocketPath:
			return endpoint{}, &ListenError{
				Addr: addr, Detail: "is longer than the 107 bytes a socket's path may have",
				Hint: "choose a shorter --home, or --api unix:PATH",
			}
		}
		return endpoint{"unix", path}, nil
	}
	hostport, ok := strings.CutPrefix(addr, "tcp://")
	if !ok {
		hostport, ok = strings.CutPrefix(addr, "http://")
	}
	if !ok {
		return wrong("starts with neither unix: nor tcp://")
	}
	hostport = strings.TrimSuffix(hostport, "/")
	if host, port, err := net.SplitHostPort(hostport); err != nil || host == "" || port == "" {
		return wrong("is not HOST:PORT")
	}
	return endpoint{"tcp", hostport}, nil
}

// host is what a client puts into the Host header.
func (e endpoint) host() string {
	if e.network == "unix" {
		return "localhost"
	}
	return e.address
}

// loopback reports whether only processes of this machine can reach e.
func (e endpoint) loopback() bool {
	if e.network == "unix" {
		return true
	}
	host, _, _ := net.SplitHostPort(e.address)
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
