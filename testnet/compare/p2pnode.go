package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/p2pnode/p2pnode/node/api"
	"github.com/p2pnode/p2pnode/testnet/compare/event"
)

const (
	pollReady = 20 * time.Millisecond // a refused dial of a socket costs some 50 us
	askWait   = 5 * time.Second       // for an answer on a full machine
)

// p2pNode is a process `p2pnode run`, followed through its API.
type p2pNode struct {
	name   string
	cmd    *exec.Cmd
	errors string // file
	client *api.Client
	id     string
	gone   chan struct{} // closed when the process has ended
}

func (p *p2pNode) process() *os.Process { return p.cmd.Process }
func (p *p2pNode) wait()                { <-p.gone }

func (p *p2pNode) ended() error {
	select {
	case <-p.gone:
		return endedError(p.name, p.cmd, p.errors)
	default:
		return nil
	}
}

func (p *p2pNode) alive(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	status, err := p.client.Status(ctx)
	return status.Members.Alive, err
}

func (p *p2pNode) peers(ctx context.Context) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	status, err := p.client.Status(ctx)
	return float64(status.Peers), err
}

// p2pnode starts nodes with the defaults of the network's profile and the settings NAME=VALUE in their environment.
func p2pnode(binary string, settings ...string) starter {
	var mu sync.Mutex
	names := map[*cluster]map[string]string{} // id -> name
	return func(ctx context.Context, cl *cluster, i, join int) (member, error) {
		p := &p2pNode{name: nodeName(i), errors: cl.logFile(i), gone: make(chan struct{})}
		socket := filepath.Join(cl.dir, p.name+".sock")
		cmd, err := p2pnodeCommand(ctx, binary, cl, i, join, socket)
		if err != nil {
			return nil, err
		}
		p.cmd, cmd.Env = cmd, append(cmd.Env, settings...)
		if p.client, err = api.NewClient("unix:" + socket); err != nil {
			return nil, err
		}
		cl.log.forget(p.name)
		done, err := runLogged(cl, i, cmd)
		if err != nil {
			return nil, err
		}
		go func() {
			defer close(p.gone)
			defer done()
			_ = cmd.Wait()
		}()
		if p.id, err = p.ready(ctx); err != nil {
			return nil, errors.Join(err, cmd.Process.Kill())
		}
		mu.Lock()
		if names[cl] == nil {
			names[cl] = map[string]string{}
		}
		names[cl][p.id] = p.name
		mu.Unlock()
		go p.watch(cl, func(id string) string {
			mu.Lock()
			defer mu.Unlock()
			return names[cl][id]
		})
		return p, nil
	}
}

// p2pnodeCommand is `p2pnode run` at the place of node i.
func p2pnodeCommand(ctx context.Context, binary string, cl *cluster, i, join int, socket string) (*exec.Cmd, error) {
	args := []string{"run", "--home", filepath.Join(cl.dir, nodeName(i)), "--name", nodeName(i),
		"--network", "compare", "--api", "unix:" + socket}
	if profile := cl.net.profile(); profile != "" {
		at := cl.net.place(i)
		args = append(args, "--profile", profile, "--listen", tcpAddress(at), "--listen", quicAddress(at))
	}
	if join >= 0 {
		args = append(args, "--bootstrap", quicAddress(cl.net.place(join))+"/p2p/"+cl.members[join].(*p2pNode).id)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, args...)
	cmd.Env = cleanEnvironment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches the runner alone, which ends them
	return cmd, nil
}

func tcpAddress(at netip.AddrPort) string { return fmt.Sprintf("/ip4/%s/tcp/%d", at.Addr(), at.Port()) }

func quicAddress(at netip.AddrPort) string {
	return fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", at.Addr(), at.Port())
}

// cleanEnvironment is this process's without what would configure p2pnode.
func cleanEnvironment() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "P2PNODE_") {
			env = append(env, e)
		}
	}
	return env
}

// ready returns the node's id when it takes part in its network.
func (p *p2pNode) ready(ctx context.Context) (string, error) {
	tick := time.NewTicker(pollReady)
	defer tick.Stop()
	for {
		ask, cancel := context.WithTimeout(ctx, askWait)
		status, err := p.client.Status(ask)
		if err == nil {
			_, err = p.client.Readyz(ask)
		}
		cancel()
		if err == nil {
			return status.Node.ID, nil
		}
		select {
		case <-p.gone:
			return "", p.ended()
		case <-ctx.Done():
			return "", errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// watch enters the node's transitions into the log until its process ends.
func (p *p2pNode) watch(cl *cluster, name func(id string) string) {
	for t, err := range p.client.WatchMembers(context.Background()) {
		if err != nil {
			return // its process has ended, or is about to: the stream ends with nothing else
		}
		if subject := name(t.ID); subject != "" {
			cl.log.add(p.name, event.Event{See: event.See(t.To), Node: subject})
		}
	}
}

// quietSetting is the environment variable of the setting quiet, read from the configuration that the binary explains by
// `init`; "" when it has no such setting.
func quietSetting(bin binaries) (string, error) {
	home := filepath.Join(bin.dir, "init")
	cmd := exec.Command(bin.p2pnode, "init", "--home", home)
	cmd.Env = append(cleanEnvironment(), "HOME="+home)
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("p2pnode init: %w: %s", err, said)
	}
	f, err := os.ReadFile(filepath.Join(home, "config.toml"))
	if err != nil {
		return "", err
	}
	return findSetting(string(f), "quiet"), nil
}

// findSetting is the environment variable of the setting of that name in a config.toml whose settings may be commented out.
func findSetting(config, name string) string {
	section := ""
	lines := bufio.NewScanner(strings.NewReader(config))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
			continue
		}
		key, _, found := strings.Cut(strings.TrimLeft(line, "# "), "=")
		if found && strings.TrimSpace(key) == name {
			return strings.ToUpper(strings.Join(strings.Fields("P2PNODE "+section+" "+name), "_"))
		}
	}
	return ""
}
