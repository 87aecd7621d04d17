package testnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/p2pnode/p2pnode/node"
)

// layout is where a testnet keeps its things. All paths are absolute.
type layout struct {
	name   string
	root   string // of all testnets
	dir    string // of this one
	binary string
}

var validName = regexp.MustCompile(`^[a-z0-9-]{1,24}$`)

// layout resolves o's defaults.
func (o Options) layout() (layout, error) {
	l := layout{name: o.Name, root: o.Dir, binary: o.Binary}
	if l.name == "" {
		l.name = DefaultName
	}
	if !validName.MatchString(l.name) {
		return layout{}, node.NewError(node.CodeBadUsage, nil, fmt.Sprintf("%q is no name of a testnet", l.name),
			"use 1 to 24 of a-z, 0-9 and -")
	}
	var err error
	if l.root == "" {
		l.root = os.Getenv("P2PNODE_TESTNET_DIR")
	}
	if l.root == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return layout{}, node.NewError(node.CodeBadUsage, err, "no home directory to keep a testnet in",
				"set P2PNODE_TESTNET_DIR")
		}
		l.root = filepath.Join(home, ".p2pnode-testnet")
	}
	if l.root, err = filepath.Abs(l.root); err != nil {
		return layout{}, err
	}
	l.dir = filepath.Join(l.root, l.name)
	if l.binary == "" {
		if l.binary, err = os.Executable(); err != nil {
			return layout{}, err
		}
	}
	l.binary, err = filepath.Abs(l.binary)
	return l, err
}

func (l layout) network() string      { return "testnet-" + l.name }
func (l layout) lockFile() string     { return l.dir + ".lock" }
func (l layout) portsLock() string    { return filepath.Join(l.root, "ports.lock") }
func (l layout) file() string         { return filepath.Join(l.dir, "testnet.json") }
func (l layout) home(n string) string { return filepath.Join(l.dir, n) }
func (l layout) pid(n string) string  { return filepath.Join(l.dir, n, "pid") }
func (l layout) log(n string) string  { return filepath.Join(l.dir, n, "log") }
func (l layout) exists() bool         { _, err := os.Stat(l.dir); return err == nil }

// socket is the path of the node's API.
func (l layout) socket(n string) string {
	paths, err := node.HomePaths(l.home(n))
	if err != nil {
		panic(fmt.Sprintf("testnet: %s: %v", l.home(n), err)) // it is absolute, so nothing can be wrong with it
	}
	return paths.Socket
}

// plan is what testnet.json holds: what stays the same while nodes come and go.
type plan struct {
	Nodes []planned `json:"nodes"`
}

type planned struct {
	Name string `json:"name"` // n1, n2, ...
	Port int    `json:"port"` // TCP and UDP
	ID   string `json:"id"`   // peer id; "" before the first start
}

// address is where the node listens for others, without its id.
func (n planned) address() string { return fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", n.Port) }

func (n planned) tcpAddress() string { return fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", n.Port) }

// dialAddress is the address that others bootstrap with.
func (n planned) dialAddress() string { return n.address() + "/p2p/" + n.ID }

func (l layout) load() (plan, error) {
	b, err := os.ReadFile(l.file())
	if errors.Is(err, os.ErrNotExist) {
		return plan{}, node.NewError(node.CodeUnknownTestnet, err, fmt.Sprintf("there is no testnet %q", l.name),
			"start it with 'p2pnode testnet up -n 5"+l.nameFlag()+"'")
	}
	if err != nil {
		return plan{}, err
	}
	var p plan
	if err := json.Unmarshal(b, &p); err != nil {
		return plan{}, fmt.Errorf("%s: %w", l.file(), err)
	}
	return p, nil
}

func (l layout) save(p plan) error {
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(l.file(), append(b, '\n'))
}

// find returns the testnet's plan and the index of the node in it.
func (l layout) find(name string) (plan, int, error) {
	p, err := l.load()
	if err != nil {
		return plan{}, 0, err
	}
	for i, n := range p.Nodes {
		if n.Name == name {
			return p, i, nil
		}
	}
	return plan{}, 0, node.NewError(node.CodeUnknownTestnet, nil,
		fmt.Sprintf("testnet %q has no node %q: it has n1 to n%d", l.name, name, len(p.Nodes)), "")
}

// takenPorts are those of all other testnets in the same root, whether their nodes run or not.
func (l layout) takenPorts() (map[int]bool, error) {
	files, err := filepath.Glob(filepath.Join(l.root, "*", "testnet.json"))
	if err != nil {
		return nil, err
	}
	taken := map[int]bool{}
	for _, file := range files {
		other := layout{dir: filepath.Dir(file)}
		if other.dir == l.dir {
			continue
		}
		p, err := other.load()
		if err != nil {
			continue // just being removed, or damaged: then the ports show by being in use
		}
		for _, n := range p.Nodes {
			taken[n.Port] = true
		}
	}
	return taken, nil
}

// processes are those of the testnet that live, with or without a pid file.
func (l layout) processes() ([]process, error) {
	ps, err := strays(l.dir)
	if err != nil {
		return nil, err
	}
	seen := map[process]bool{}
	for _, p := range ps {
		seen[p] = true
	}
	files, err := filepath.Glob(l.pid("*"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if p, err := readPID(file); err == nil && !seen[p] && p.alive() {
			ps = append(ps, p)
		}
	}
	return ps, nil
}

// nameFlag is " --name NAME", or nothing when that is the default.
func (l layout) nameFlag() string {
	if l.name == DefaultName {
		return ""
	}
	return " --name " + l.name
}

// environment is this process's without what would configure p2pnode, and with add.
func environment(add ...string) []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "P2PNODE_") {
			env = append(env, e)
		}
	}
	return append(env, add...)
}
