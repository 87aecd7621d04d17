package testnet

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestIdentify(t *testing.T) {
	self, err := identify(os.Getpid())
	require.NoError(t, err)
	require.True(t, self.alive())
	require.NotZero(t, self.start)
	require.NotEmpty(t, self.boot)

	_, err = identify(1 << 30)
	require.ErrorIs(t, err, os.ErrProcessDone)
}

func TestProcessWithAnOddNameIsIdentified(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	odd := filepath.Join(t.TempDir(), "a) R 1 (b")
	require.NoError(t, os.Symlink(self, odd))
	cmd := helperCommand(t, "wait")
	cmd.Path = odd
	require.NoError(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	p, err := identify(cmd.Process.Pid)
	require.NoError(t, err)
	require.True(t, p.alive())
}

func TestEndedProcessIsNotAliveEvenBeforeItsParentKnows(t *testing.T) {
	cmd := helperCommand(t, "fail")
	require.NoError(t, cmd.Start())
	p := process{pid: cmd.Process.Pid}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		_, err := identify(p.pid)
		if err != nil {
			require.ErrorIs(t, err, os.ErrProcessDone) // a zombie: Wait was not called
			break
		}
		require.NoError(t, ctx.Err())
	}
	require.Error(t, cmd.Wait())
}

func TestStop(t *testing.T) {
	polite, stubborn := startHelper(t, "wait"), startHelper(t, "stubborn")
	gone := startHelper(t, "wait")
	require.NoError(t, kill(gone))

	n, err := stop(t.Context(), 100*time.Millisecond, []process{polite, stubborn, gone})
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.False(t, polite.alive())
	require.False(t, stubborn.alive())
}

func TestStopKillsAtOnceWhenTheContextEnds(t *testing.T) {
	stubborn := startHelper(t, "stubborn")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n, err := stop(ctx, time.Hour, []process{stubborn})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.False(t, stubborn.alive())
}

func TestProcessThatHasThePidOfAnotherIsNotTouched(t *testing.T) {
	foreign := startHelper(t, "wait")
	for name, p := range map[string]process{
		"another start": {pid: foreign.pid, start: foreign.start - 1, boot: foreign.boot},
		"another boot":  {pid: foreign.pid, start: foreign.start, boot: "00000000-0000-0000-0000-000000000000"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pid")
			require.NoError(t, writePID(file, p))
			read, err := readPID(file)
			require.NoError(t, err)
			require.Equal(t, p, read)
			require.False(t, read.alive())

			require.NoError(t, kill(read))
			n, err := stop(t.Context(), time.Second, []process{read})
			require.NoError(t, err)
			require.Zero(t, n)
			require.True(t, foreign.alive())
		})
	}
}

func TestPIDFileThatIsNoneIsAnError(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "pid alone": "17\n", "no number": "x 1 boot\n", "pid 0": "0 1 boot\n", "process group": "-1 1 boot\n", "cut": "17 1",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pid")
			require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
			_, err := readPID(file)
			require.Error(t, err)
		})
	}
}

func TestStraysAreNodesOfOneTestnetAlone(t *testing.T) {
	dir := t.TempDir()
	mine := startHelper(t, "wait", "run", "--home", filepath.Join(dir, "n1"), "--name", "n1")
	startHelper(t, "wait", "run", "--home", filepath.Join(dir+"2", "n1"))       // another testnet
	startHelper(t, "wait", "run", "--home", filepath.Join(dir, "n1", "deeper")) // somebody's own
	startHelper(t, "wait", "state", "--home", filepath.Join(dir, "n1"))         // a client
	startHelper(t, "wait", "run", "--home")
	found, err := strays(dir)
	require.NoError(t, err)
	require.Equal(t, []process{mine}, found, "pid "+strconv.Itoa(mine.pid))
}
