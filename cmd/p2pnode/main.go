// Command p2pnode runs a node of a network whose members agree on a signed, replicated state, and is the tool to look
// at one and to change it.
//
// Each command is one file: flags become a configuration or a request of the node's API, and answers become tables, JSON
// and exit codes. What a node does is in package node, what it answers in node/api.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(execute(os.Args[1:])) }

// execute runs one command line and returns its exit code. The first SIGINT or SIGTERM ends the command's context, with
// a *signalError as its cause; a second one ends the process at once.
func execute(args []string) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		first := (<-signals).(syscall.Signal)
		cancel(&signalError{first})
		os.Exit(signalExit((<-signals).(syscall.Signal)))
	}()

	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	root := a.rootCommand()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	return a.fail(ctx, cmd, args, err)
}

// signalError is the cause of a context that a signal ended.
type signalError struct{ signal syscall.Signal }

func (e *signalError) Error() string { return fmt.Sprintf("ended by signal: %v", e.signal) }

// signalExit is the exit code that shells use for a signal: 130 for SIGINT, 143 for SIGTERM.
func signalExit(s syscall.Signal) int { return 128 + int(s) }
