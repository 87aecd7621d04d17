package store

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// A test binary that finds one of these in its environment is the child of a test.
const (
	crashChildEnv = "P2PNODE_TEST_STORE_CRASH"
	fullDiskEnv   = "P2PNODE_TEST_STORE_FULL_DISK"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(crashChildEnv); path != "" {
		fmt.Println(commitForEver(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// step is the n-th commit of the crash test, the same every time. The digest of owner 0 counts them.
func step(n int) []Write {
	rng := rand.New(rand.NewPCG(uint64(n), 0))
	v := wire.Version(n)
	batch := []Write{put("main", owner(0), v, entry("count", fmt.Sprint(n), v))}
	for range 3 {
		id := owner(byte(1 + rng.IntN(20)))
		if rng.IntN(8) == 0 {
			batch = append(batch, Write{Topic: "main", Owner: id, Drop: true})
			continue
		}
		w := put("main", id, v)
		w.Reset = rng.IntN(6) == 0
		for range rng.IntN(12) {
			w.Put = append(w.Put, entry(fmt.Sprintf("key-%02d", rng.IntN(40)), strings.Repeat("v", 1+rng.IntN(900)), v))
		}
		batch = append(batch, w)
	}
	return batch
}

// steps is how many commits the store has seen.
func steps(s *Store) (n int, err error) {
	err = s.Load("main", func(c Copy) error {
		if c.Owner != owner(0) {
			return nil
		}
		d, err := wire.UnmarshalDigest(c.Signed.Digest)
		n = int(d.Version)
		return err
	})
	return n, err
}

// commitForEver acknowledges, on standard output, a generation and then every commit, until it is killed.
func commitForEver(path string) error {
	s, damaged, err := Open(path, time.Now())
	if err != nil || damaged != nil {
		return fmt.Errorf("open: %v, %v", err, damaged)
	}
	g, err := s.NextGeneration(time.Unix(0, 0), 0)
	if err != nil {
		return err
	}
	fmt.Println("generation", g)
	n, err := steps(s)
	if err != nil {
		return err
	}
	for {
		n++
		if err := s.Commit(step(n)); err != nil {
			return err
		}
		fmt.Println("commit", n)
	}
}

// acknowledged is what a killed child had said was done.
type acknowledged struct {
	generation wire.Generation
	commits    int
}

// runAndKill runs a child until it has acknowledged that many lines, kills it a random instant later, and returns the last
// it said.
func runAndKill(t *testing.T, path string, lines, spin int, ack acknowledged) acknowledged {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashChildEnv+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	killed := false
	kill := func() {
		if !killed {
			killed = true
			require.NoError(t, cmd.Process.Kill())
		}
	}
	defer func() {
		kill()
		_ = cmd.Wait()
	}()
	for r := bufio.NewReader(out); ; lines-- {
		if lines == 0 {
			for range spin {
				runtime.Gosched()
			}
			kill()
		}
		line, err := r.ReadString('\n')
		if err == io.EOF {
			require.True(t, killed, "the child ended on its own, last said %q", line)
			return ack
		}
		require.NoError(t, err)
		switch n, g := 0, wire.Generation(0); {
		case scans(line, "commit %d\n", &n):
			ack.commits = n
		case scans(line, "generation %d\n", &g):
			require.Greater(t, g, ack.generation, "a generation was given out twice")
			ack.generation = g
		default:
			require.Fail(t, "the child failed", line)
		}
	}
}

func scans(line, format string, to any) bool {
	_, err := fmt.Sscanf(line, format, to)
	return err == nil
}

func TestNothingAcknowledgedIsLostByKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	want, applied := model{}, 0
	var ack acknowledged
	for round := range 12 {
		ack = runAndKill(t, path, 1+rng.IntN(15), rng.IntN(1<<14), ack)
		s, damaged, err := Open(path, start)
		require.NoError(t, err, "round %d", round)
		require.Nil(t, damaged, "round %d", round)
		n, err := steps(s)
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, ack.commits, "round %d lost a commit", round)
		require.LessOrEqual(t, n, ack.commits+1, "round %d", round)
		for ; applied < n; applied++ {
			for _, w := range step(applied + 1) {
				want.apply(w)
			}
		}
		require.Equal(t, want.copies("main"), load(t, s, "main"), "round %d: half a commit", round)
		require.NoError(t, s.Close())
		ack.commits = n
	}
	t.Logf("%+v after %d rounds", ack, 12)
	left, err := filepath.Glob(path + "*")
	require.NoError(t, err)
	require.Equal(t, []string{path}, left)
}
