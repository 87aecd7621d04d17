package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/p2pnode/p2pnode/testnet/compare/event"
)

// child is the process of a node that tells what it sees by standard output.
type child struct {
	name   string
	log    *sightings
	errors string // file
	cmd    *exec.Cmd
	read   chan struct{} // closed when its output has ended and the process too
}

func (c *child) process() *os.Process { return c.cmd.Process }
func (c *child) wait()                { <-c.read }

func (c *child) alive(context.Context) (int, error) { return c.log.alive(c.name), nil }

func (c *child) peers(context.Context) (float64, error) { return math.NaN(), nil }

// ended is an error when the process has.
func (c *child) ended() error {
	select {
	case <-c.read:
		return endedError(c.name, c.cmd, c.errors)
	default:
		return nil
	}
}

// endedError says how the process of a node ended, with what it said last.
func endedError(name string, cmd *exec.Cmd, log string) error {
	said, err := os.ReadFile(log)
	if err != nil {
		said = []byte(err.Error())
	}
	return fmt.Errorf("%s ended: %v: %s", name, cmd.ProcessState, lastWords(string(said)))
}

// lastWords are the line of a log that says why a Go program crashed, else its last one.
func lastWords(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	for _, line := range lines {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return line
		}
	}
	return lines[len(lines)-1]
}

// logFile is where the errors of node i are.
func (cl *cluster) logFile(i int) string { return filepath.Join(cl.dir, nodeName(i)+".log") }

// tellingChild starts cmd as node i; each event that it tells goes to the log and then to seen, unless that is nil. The
// process ends when standard input is closed, at the latest with this program.
func tellingChild(cl *cluster, i int, cmd *exec.Cmd, seen func(event.Event)) (*child, func(string) error, error) {
	c := &child{name: nodeName(i), log: cl.log, errors: cl.logFile(i), cmd: cmd, read: make(chan struct{})}
	c.log.forget(c.name)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	done, err := runLogged(cl, i, cmd)
	if err != nil {
		return nil, nil, err
	}
	go func() {
		defer close(c.read)
		defer done()
		err := event.Read(out, func(e event.Event) {
			c.log.add(c.name, e)
			if seen != nil {
				seen(e)
			}
		})
		if err != nil {
			_ = cmd.Process.Kill() // it speaks nonsense: whoever waits for it learns that it ended
		}
		_ = cmd.Wait()
	}()
	write := func(line string) error {
		_, err := in.Write([]byte(line + "\n"))
		return err
	}
	return c, write, nil
}

// runLogged starts cmd at the place of node i, with its errors appended to the node's log. The caller calls done when the
// process has ended.
func runLogged(cl *cluster, i int, cmd *exec.Cmd) (done func(), err error) {
	log, err := os.OpenFile(cl.logFile(i), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	cmd.Stderr = log
	if err := cl.net.run(i, cmd); err != nil {
		log.Close()
		return nil, err
	}
	return func() { log.Close() }, nil
}

// agent starts nodes of a library's contender.
func agent(binary, kind string) starter {
	return func(ctx context.Context, cl *cluster, i, join int) (member, error) {
		args := []string{"-kind", kind, "-name", nodeName(i), "-bind", cl.net.place(i).String()}
		if join >= 0 {
			args = append(args, "-join", cl.net.place(join).String())
		}
		up := make(chan struct{})
		var once sync.Once
		c, _, err := tellingChild(cl, i, exec.Command(binary, args...), func(event.Event) { once.Do(func() { close(up) }) })
		if err != nil {
			return nil, err
		}
		select {
		case <-up: // a node tells of itself when it listens
			return c, nil
		case <-c.read:
			return nil, c.ended()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
