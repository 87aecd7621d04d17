package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/pflag"

	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
	"github.com/p2pnode/p2pnode/testnet"
)

// Environment variables that are no settings of config.toml.
const (
	envHome   = "P2PNODE_HOME"
	envConfig = "P2PNODE_CONFIG"
	envAPI    = "P2PNODE_API"
)

// requestTimeout is how long a command that asks one question waits for its answer, unless --timeout says otherwise.
const requestTimeout = 10 * time.Second

// app is one command line: its streams and the flags that every command takes.
type app struct {
	in       io.Reader
	out, err io.Writer

	json, quiet, verbose, noColor bool

	api     string
	home    string
	node    string
	timeout duration
	topic   string // of state and work commands
}

func (a *app) globalFlags(f *pflag.FlagSet) {
	f.BoolVar(&a.json, "json", false, "write JSON, one object a line for streams")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "write only what was asked for, no messages")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "write the causes of errors too")
	f.BoolVar(&a.noColor, "no-color", false, "write no colours; so does NO_COLOR")
	f.StringVar(&a.api, "api", "", "API of the node to talk to: unix:PATH or tcp://HOST:PORT")
	f.StringVar(&a.home, "home", "", "directory of the node's files (default: the places of the XDG specification)")
	f.StringVar(&a.node, "node", "", "node of a testnet to talk to: nX, or TESTNET/nX")
	f.Var(&a.timeout, "timeout", "give up after this long, such as 5s or 5m (default 10s; commands that wait: 30s, that watch: never)")
}

// paths are where the files of the node are that the flags and the environment mean.
func (a *app) paths() (node.Paths, error) {
	if a.node != "" {
		home, _, err := testnet.Locate(testnet.Options{}, a.node)
		if err != nil {
			return node.Paths{}, err
		}
		return node.HomePaths(home)
	}
	if home := firstOf(a.home, os.Getenv(envHome)); home != "" {
		return node.HomePaths(home)
	}
	return node.UserPaths()
}

// apiAddr is where the node answers that the flags and the environment mean. What is said by a flag counts before what
// the environment says, and in each an address before a place.
func (a *app) apiAddr() (string, error) {
	switch {
	case a.api != "":
		return a.api, nil
	case a.node != "":
		_, addr, err := testnet.Locate(testnet.Options{}, a.node)
		return addr, err
	case a.home == "" && os.Getenv(envAPI) != "":
		return os.Getenv(envAPI), nil
	}
	p, err := a.paths()
	if err != nil {
		return "", err
	}
	// A node writes where its API is into its lock file, since its configuration may put it anywhere.
	if info, err := node.ReadLock(p.Data); err == nil && info.API != "" {
		if info.API == apiOff {
			return "", node.NewError(node.CodeAPINotRunning, nil, "the node of "+p.Data+" was started without an API (api.listen = \"off\")", "")
		}
		return info.API, nil
	}
	return "unix:" + p.Socket, p.CheckSocket()
}

// client makes a client of the node that the flags mean.
func (a *app) client() (*api.Client, error) {
	addr, err := a.apiAddr()
	if err != nil {
		return nil, err
	}
	c, err := api.NewClient(addr)
	if err != nil {
		return nil, err
	}
	return c.WithTopic(a.topic), nil
}

// deadline bounds ctx by --timeout, or else by standard; 0 is no bound.
func (a *app) deadline(ctx context.Context, standard time.Duration) (context.Context, context.CancelFunc) {
	d := standard
	if a.timeout.set {
		d = a.timeout.d
	}
	if d == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

// ask makes a client and a context for one question, and closes both after f.
func (a *app) ask(ctx context.Context, f func(context.Context, *api.Client) error) error {
	return a.talk(ctx, requestTimeout, f)
}

func (a *app) talk(ctx context.Context, limit time.Duration, f func(context.Context, *api.Client) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := a.deadline(ctx, limit)
	defer cancel()
	return f(ctx, c)
}

// ended is how an endless stream ends: well by Ctrl-C, as a time-out by --timeout.
func ended(ctx context.Context) error {
	if err := ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
		return node.NewError(node.CodeTimeout, err, "the time given by --timeout is over", "")
	}
	return nil
}

// writeJSON writes v on one line.
func (a *app) writeJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printf writes data to stdout.
func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }

// note writes a message to stderr, unless --quiet.
func (a *app) note(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.err, format+"\n", args...)
	}
}

// warn writes a warning to stderr, even with --quiet: it tells of something that will not do what was meant.
func (a *app) warn(detail, hint string) {
	fmt.Fprintf(a.err, "p2pnode: warning: %s\n", detail)
	if hint != "" {
		fmt.Fprintf(a.err, "p2pnode: hint: %s\n", hint)
	}
}

// terminal reports whether stdout is one, so that a person reads along.
func (a *app) terminal() bool { return isTerminal(a.out) && os.Getenv("TERM") != "dumb" }

// colors reports whether tables may be coloured: https://no-color.org.
func (a *app) colors() bool { return a.terminal() && !a.noColor && os.Getenv("NO_COLOR") == "" }

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// duration is a flag of a duration above zero that insists on a unit.
type duration struct {
	d   time.Duration
	set bool
}

func (d *duration) String() string {
	if !d.set {
		return ""
	}
	return d.d.String()
}

func (d *duration) Set(s string) error {
	v, err := parseDuration(s)
	if err != nil {
		return err
	}
	d.d, d.set = v, true
	return nil
}

func (d *duration) Type() string { return "duration" }
