package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// ErrUnavailable: this machine, or this user, cannot make a lab. What wraps it says why.
var ErrUnavailable = errors.New("no network lab here")

// Available returns nil when a lab can be made, else why not: ErrUnavailable.
func Available() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: only root may make network namespaces", ErrUnavailable)
	}
	for _, program := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	n, err := newNamespace()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err) // a container may forbid it even to root
	}
	defer n.close()
	if err := n.run("add table bridge lab\n", "nft", "-f", "-"); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// namespace is a network namespace, and the thread that keeps it and does all that is done in it. Its methods may be called
// concurrently, but for close.
type namespace struct {
	path string // in /proc, by which other namespaces name it
	work chan func()
}

// newNamespace makes one with nothing but a loopback interface that is up.
func newNamespace() (*namespace, error) {
	n := &namespace{work: make(chan func())}
	made := make(chan error)
	go n.live(made)
	if err := <-made; err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	if err := n.run("", "ip", "link", "set", "lo", "up"); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// live does the namespace's work on a thread that ends with it.
func (n *namespace) live(made chan<- error) {
	runtime.LockOSThread() // for ever: a thread that is still locked when its goroutine ends, ends too
	if syscall.Gettid() == os.Getpid() {
		// The first thread of a process outlives its goroutines, and would keep the namespace. While it is held, the
		// work goes to another one.
		done := make(chan struct{})
		go func() {
			defer close(done)
			n.live(made)
		}()
		<-done
		runtime.UnlockOSThread()
		return
	}
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		made <- err
		return
	}
	n.path = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), syscall.Gettid())
	made <- nil
	for f := range n.work {
		f()
	}
}

// do returns when f has run on the namespace's thread.
func (n *namespace) do(f func()) {
	done := make(chan struct{})
	n.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

// start starts cmd in the namespace, to be killed when the namespace's thread ends.
func (n *namespace) start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	var err error
	n.do(func() { err = cmd.Start() })
	return err
}

// run runs a program in the namespace until its end. The error holds what it said.
func (n *namespace) run(stdin, program string, args ...string) error {
	cmd := exec.Command(program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	err := n.start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return nil
}

// close ends the thread. The kernel then kills what was started in the namespace, and with the last of it the namespace goes.
func (n *namespace) close() { close(n.work) }
