package testnet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/p2pnode/p2pnode/node"
)

const (
	pollReady     = 20 * time.Millisecond // a refused dial of a socket costs some 50 us
	pollAgreement = 50 * time.Millisecond // a look costs each node about 1 ms
	leaveGrace    = 8 * time.Second       // a node that leaves waits up to 5 s for others to have heard it
	downGrace     = 2 * time.Second       // when all leave together nobody is left to hear it, and their files go anyway
	cleanupGrace  = time.Second           // nobody waits for what a testnet that never came up has to say
	logTail       = 8                     // lines of a log that an error shows
	tailsShown    = 3                     // logs that an error shows
)

// Up starts a testnet of n nodes and returns when all of them see n members alive and hold the same state. When ctx ends
// first, everything is stopped and removed. When the deadline passes or a node ends, everything is stopped and the logs
// stay. Errors are *node.Error: bad-usage, testnet-runs, testnet-failed; or that of ctx.
func Up(ctx context.Context, o Options, n int) (Report, error) {
	began := time.Now()
	l, err := o.layout()
	if err != nil {
		return Report{}, err
	}
	if n < 1 || n > MaxNodes {
		return Report{}, node.NewError(node.CodeBadUsage, nil,
			fmt.Sprintf("a testnet has 1 to %d nodes, not %d", MaxNodes, n), "")
	}
	release, err := lock(ctx, l.lockFile(), fmt.Sprintf("is at work on testnet %q", l.name))
	if err != nil {
		return Report{}, err
	}
	defer release()
	p, err := l.prepare(ctx, n)
	if err != nil {
		return Report{}, err
	}

	runCtx, cancel := o.withDeadline(ctx)
	defer cancel()
	nodes, err := l.bringUp(runCtx, p)
	if err != nil {
		return Report{}, errors.Join(err, l.abandon(ctx.Err() != nil))
	}
	return Report{Name: l.name, Nodes: nodes, Took: time.Since(began)}, nil
}

// errDeadline is the cause when Options.Deadline, not the caller's context, ended the wait.
var errDeadline = errors.New("the testnet's deadline passed")

func (o Options) withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	d := o.Deadline
	if d == 0 {
		d = DefaultDeadline
	}
	return context.WithTimeoutCause(ctx, d, errDeadline)
}

// prepare makes the testnet's directory, with ports for n nodes, in place of what a stopped one left.
func (l layout) prepare(ctx context.Context, n int) (plan, error) {
	running, err := l.processes()
	if err != nil {
		return plan{}, err
	}
	if len(running) > 0 {
		return plan{}, node.NewError(node.CodeTestnetRuns, nil, fmt.Sprintf("testnet %q runs already", l.name),
			"stop it with 'p2pnode testnet down"+l.nameFlag()+"', or start another one with --name")
	}
	if err := os.RemoveAll(l.dir); err != nil {
		return plan{}, err
	}
	release, err := lock(ctx, l.portsLock(), "looks for free ports")
	if err != nil {
		return plan{}, err
	}
	defer release()
	taken, err := l.takenPorts()
	if err != nil {
		return plan{}, err
	}
	ports, err := freePorts(n, l.dir, taken)
	if err != nil {
		return plan{}, node.NewError(node.CodeTestnetFailed, err, err.Error(), "stop some of what listens on loopback")
	}
	var p plan
	for i, port := range ports {
		p.Nodes = append(p.Nodes, planned{Name: fmt.Sprintf("n%d", i+1), Port: port})
		if err := os.MkdirAll(l.home(p.Nodes[i].Name), 0o700); err != nil {
			return plan{}, err
		}
	}
	return p, l.save(p)
}

// bringUp starts all nodes and returns them when they agree.
func (l layout) bringUp(ctx context.Context, p plan) ([]Node, error) {
	children, err := l.start(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := l.save(p); err != nil {
		return nil, err
	}
	return l.converge(ctx, p, children)
}

// start runs all nodes until they are ready and fills in their ids: the first one, then, since they bootstrap with its
// address, the others together.
func (l layout) start(ctx context.Context, p plan) ([]*child, error) {
	children := make([]*child, len(p.Nodes))
	run := func(i int, bootstrap ...string) error {
		c, err := l.spawn(p.Nodes[i], bootstrap)
		if err != nil {
			return err
		}
		children[i] = c
		p.Nodes[i].ID, err = c.ready(ctx)
		return err
	}
	if err := run(0); err != nil {
		return nil, err
	}
	var g errgroup.Group
	for i := range p.Nodes[1:] {
		g.Go(func() error { return run(i+1, p.Nodes[0].dialAddress()) })
	}
	return children, g.Wait()
}

// converge returns when all nodes agree.
func (l layout) converge(ctx context.Context, p plan, children []*child) ([]Node, error) {
	tick := time.NewTicker(pollAgreement)
	defer tick.Stop()
	for {
		if nodes, err := l.survey(ctx, p); err == nil && len(odd(nodes)) == 0 {
			return nodes, nil
		}
		if i := slices.IndexFunc(children, (*child).ended); i >= 0 {
			return nil, children[i].failed()
		}
		select {
		case <-ctx.Done():
			if !errors.Is(context.Cause(ctx), errDeadline) {
				return nil, ctx.Err()
			}
			return l.disagreement(context.WithoutCancel(ctx), p)
		case <-tick.C:
		}
	}
}

// disagreement takes a last look when the deadline has passed, to say who differs.
func (l layout) disagreement(ctx context.Context, p plan) ([]Node, error) {
	nodes, err := l.survey(ctx, p)
	if err != nil {
		return nil, err
	}
	blame := odd(nodes)
	if len(blame) == 0 {
		return nodes, nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "testnet %q did not agree in time", l.name)
	shown := 0
	for _, n := range nodes {
		if why, ok := blame[n.Name]; !ok {
			continue
		} else if shown++; shown <= tailsShown {
			fmt.Fprintf(&b, "\n%s %s; its log ends:\n%s", n.Name, why, tail(l.log(n.Name)))
		} else {
			fmt.Fprintf(&b, "\n%s %s", n.Name, why)
		}
	}
	return nil, node.NewError(node.CodeTestnetFailed, errDeadline, b.String(), l.logHint("nX"))
}

func (l layout) logHint(name string) string {
	return fmt.Sprintf("all of a log: p2pnode testnet logs%s %s", l.nameFlag(), name)
}

// abandon stops what a failed Up started, and removes all or, so that the logs can be read, nothing.
func (l layout) abandon(remove bool) error {
	ps, err := l.processes()
	if err != nil {
		return err
	}
	// The caller's context may have ended; the clean-up is bounded by itself.
	if _, err := stop(context.Background(), cleanupGrace, ps); err != nil || !remove {
		return err
	}
	return os.RemoveAll(l.dir)
}

// child is a node's process that this program started.
type child struct {
	l      layout
	name   string
	proc   process
	exited chan struct{} // closed when the process has ended
	exit   error         // how; valid when exited is closed
}

// spawn starts a node's process in a session of its own. Its end is collected whenever it comes, while this program lives.
func (l layout) spawn(n planned, bootstrap []string) (*child, error) {
	return l.spawnBy((*exec.Cmd).Start, n, bootstrap, "--profile", "local", "--listen", n.tcpAddress(), "--listen", n.address())
}

// spawnBy is spawn with another way to start a process, and other flags.
func (l layout) spawnBy(start func(*exec.Cmd) error, n planned, bootstrap []string, flags ...string) (*child, error) {
	log, err := os.OpenFile(l.log(n.Name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args := append([]string{"run", "--home", l.home(n.Name), "--network", l.network(), "--name", n.Name}, flags...)
	for _, addr := range bootstrap {
		args = append(args, "--bootstrap", addr)
	}
	cmd := exec.Command(l.binary, args...)
	cmd.Env = environment()
	cmd.Dir = l.home(n.Name)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := start(cmd); err != nil {
		return nil, node.NewError(node.CodeTestnetFailed, err, fmt.Sprintf("start %s: %v", n.Name, err), "")
	}
	c := &child{l: l, name: n.Name, exited: make(chan struct{})}
	c.proc, err = identify(cmd.Process.Pid)
	if err == nil {
		err = writePID(l.pid(n.Name), c.proc)
	} else if errors.Is(err, os.ErrProcessDone) {
		err = nil // ended at once: ready tells why
	}
	go func() {
		c.exit = cmd.Wait()
		close(c.exited)
	}()
	if err != nil {
		_ = cmd.Process.Kill()
		<-c.exited
		return nil, err
	}
	return c, nil
}

// ready returns the node's peer id when it takes part in its network.
func (c *child) ready(ctx context.Context) (id string, err error) {
	tick := time.NewTicker(pollReady)
	defer tick.Stop()
	why := errors.New("it was not asked")
	for {
		n := Node{API: c.l.socket(c.name)}
		err := c.l.ready(ctx, n)
		if err == nil {
			err = c.l.look(ctx, &n)
		}
		if err == nil {
			return n.ID, nil
		}
		if ctx.Err() == nil {
			why = err
		}
		select {
		case <-c.exited:
			return "", c.failed()
		case <-ctx.Done():
			return "", c.late(ctx, why)
		case <-tick.C:
		}
	}
}

// late is the error when ctx ended before the node was ready; why is what it answered last.
func (c *child) late(ctx context.Context, why error) error {
	if !errors.Is(context.Cause(ctx), errDeadline) {
		return ctx.Err()
	}
	return node.NewError(node.CodeTestnetFailed, why, fmt.Sprintf("%s is not ready in time: %v; its log ends:\n%s",
		c.name, why, tail(c.l.log(c.name))), c.l.logHint(c.name))
}

func (c *child) ended() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

// failed is the error when the process has ended though nobody asked it to.
func (c *child) failed() error {
	how := "exit status 0"
	if c.exit != nil {
		how = c.exit.Error()
	}
	return node.NewError(node.CodeTestnetFailed, c.exit, fmt.Sprintf("%s ended (%s); its log ends:\n%s",
		c.name, how, tail(c.l.log(c.name))), c.l.logHint(c.name))
}

// tail is the end of a log, indented.
func tail(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return "  (" + err.Error() + ")"
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	lines = lines[max(0, len(lines)-logTail):]
	return "  " + strings.Join(lines, "\n  ")
}
