package testnet

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

const (
	crashKillsEnv = "P2PNODE_TEST_CRASH_KILLS" // how often TestNothingAcknowledgedIsLostByKill9 kills; default crashKills
	crashSeedEnv  = "P2PNODE_TEST_CRASH_SEED"  // repeats the choices of a run; default: the clock
	crashKills    = 15

	crashWriters = 4
	crashKeys    = 12 // of each writer
)

// subject is a p2pnode process with a home of its own that is ended and started again.
type subject struct {
	t      *testing.T
	binary string
	home   string
	args   []string
	client *api.Client
	cmd    *exec.Cmd
	log    *output // of this life
	ended  chan error
	killed atomic.Bool
}

// output is what a process has said so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// newSubject is not started yet. It joins through l.
func newSubject(t *testing.T, l *listener) *subject {
	t.Helper()
	o := real(t)
	return newSubjectOf(t, l, o.Binary, o.Dir)
}

// newSubjectOf is newSubject for a program and a home.
func newSubjectOf(t *testing.T, l *listener, binary, home string) *subject {
	t.Helper()
	s := &subject{t: t, binary: binary, home: home}
	s.args = []string{"run", "--home", s.home, "--profile", "local", "--network", l.network, "--name", "subject", "--bootstrap", l.addr()}
	paths, err := node.HomePaths(s.home)
	require.NoError(t, err)
	s.client, err = api.NewClient("unix:" + paths.Socket)
	require.NoError(t, err)
	t.Cleanup(func() {
		s.kill()
		s.client.Close()
	})
	return s
}

// start begins a life and returns its output, line by line.
func (s *subject) start() (lines <-chan string) {
	s.t.Helper()
	cmd := exec.Command(s.binary, s.args...)
	cmd.Env = environment()
	out, in, err := os.Pipe()
	require.NoError(s.t, err)
	cmd.Stdout, cmd.Stderr = in, in
	log, ended := &output{}, make(chan error, 1)
	s.log, s.ended = log, ended
	s.killed.Store(false)
	require.NoError(s.t, cmd.Start())
	s.cmd = cmd
	in.Close()
	ch := make(chan string, 1024) // more than a life says
	go func() {
		text := bufio.NewScanner(io.TeeReader(out, log))
		for text.Scan() {
			select {
			case ch <- text.Text():
			default:
			}
		}
		out.Close()
		close(ch)
		ended <- cmd.Wait()
	}()
	return ch
}

// ready starts a life and returns when it takes part.
func (s *subject) ready() {
	s.t.Helper()
	for line := range s.start() {
		if line == "ready" {
			return
		}
	}
	s.t.Fatalf("the node did not start (%v):\n%s", <-s.ended, s.log)
}

// kill ends a life by SIGKILL and waits for the end.
func (s *subject) kill() {
	if s.cmd == nil {
		return
	}
	s.killed.Store(true)
	_ = s.cmd.Process.Kill()
	<-s.ended
	s.cmd = nil
	s.client.Close() // connections of that life
}

// write is one change of a key.
type write struct {
	n       int // 0: the key was never written
	deleted bool
}

func (w write) String() string { return fmt.Sprintf("%d deleted=%v", w.n, w.deleted) }

// writer writes its own keys, and knows of each what was acknowledged last and what may have been done beside that.
type writer struct {
	name    string
	rng     *rand.Rand
	n       int
	acked   map[string]write
	pending map[string]write // at most one: the write that got no answer
	version gossipstate.Version
}

func newWriter(i int, seed uint64) *writer {
	return &writer{
		name: fmt.Sprintf("app/w%d", i), rng: rand.New(rand.NewPCG(seed, uint64(i))),
		acked: map[string]write{}, pending: map[string]write{},
	}
}

// value is the n-th that is written to key: anybody can tell that it is whole.
func value(key string, n int) []byte {
	return []byte(strings.Repeat(fmt.Sprintf("%s=%d;", key, n), 1+n%400))
}

// write writes until the node is gone, and tells each acknowledgement.
func (w *writer) write(ctx context.Context, c *api.Client, acked func()) error {
	for {
		w.n++
		key := fmt.Sprintf("%s/%d", w.name, w.rng.IntN(crashKeys))
		next := write{n: w.n}
		if was := w.acked[key]; was.n > 0 && !was.deleted && w.rng.IntN(4) == 0 {
			next.deleted = true
		}
		w.pending[key] = next
		var done api.Written
		var err error
		if next.deleted {
			done, err = c.Delete(ctx, key, api.WriteOptions{})
		} else {
			done, err = c.Set(ctx, key, value(key, next.n), api.WriteOptions{})
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		delete(w.pending, key)
		w.acked[key], w.version = next, gossipstate.Version(done.Value.OwnerVersion)
		acked()
	}
}

// check holds what is stored against what was acknowledged, and goes on from what is stored.
func (w *writer) check(t *testing.T, stored map[string]gossipstate.Entry) {
	t.Helper()
	for i := range crashKeys {
		key := fmt.Sprintf("%s/%d", w.name, i)
		allowed := []write{w.acked[key]}
		if p, ok := w.pending[key]; ok {
			allowed = append(allowed, p)
		}
		found := slices.IndexFunc(allowed, func(a write) bool { return a.is(key, stored) })
		require.GreaterOrEqual(t, found, 0, "%s: stored %.80q, acknowledged or under way %v", key, stored[key].Value, allowed)
		w.acked[key] = allowed[found]
	}
	clear(w.pending)
}

// is reports whether the entry of key is what a left.
func (a write) is(key string, stored map[string]gossipstate.Entry) bool {
	e, there := stored[key]
	switch {
	case a.n == 0:
		return !there
	case a.deleted:
		return !there || e.Tombstone // tombstones may be forgotten
	}
	return there && !e.Tombstone && bytes.Equal(e.Value, value(key, a.n))
}

// life is what is known of the subject from the lives before.
type life struct {
	generation gossipstate.Generation
	version    gossipstate.Version // of main
}

// TestNothingAcknowledgedIsLostByKill9 kills a node again and again while it writes and hears others write. Its choices come
// from a seed; when the kill hits is the machine's. P2PNODE_TEST_CRASH_KILLS=200 is the long run.
func TestNothingAcknowledgedIsLostByKill9(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(crashSeedEnv); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	kills := crashKills
	if text := os.Getenv(crashKillsEnv); text != "" {
		var err error
		kills, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	t.Logf("again: %s=%d %s=%d go test -run '^%s$' ./testnet", crashSeedEnv, seed, crashKillsEnv, kills, t.Name())
	rng := rand.New(rand.NewPCG(seed, 1<<32))
	l := newListener(t, "crash")
	s := newSubject(t, l)
	var writers []*writer
	for i := range crashWriters {
		writers = append(writers, newWriter(i, seed))
	}
	s.ready()
	var last life
	acks := 0
	for round := range kills {
		last = s.check(l, writers, last)
		acks += s.runAndKill(l, writers, rng.IntN(60), rng.IntN(1<<15))
		for rng.IntN(4) == 0 { // and once more while it starts
			s.startAndKill(rng.IntN(12), rng.IntN(1<<16))
		}
		s.ready()
		require.NotContains(t, s.log.String(), "damaged", "round %d", round)
	}
	s.check(l, writers, last)
	heard, faults := l.heard(s.id())
	require.Empty(t, faults)
	require.Greater(t, heard, kills, "at least what each life said first")
	t.Logf("%d kills, %d writes acknowledged, %d digests heard", kills, acks, heard)
}

// startAndKill kills a life some lines into its start.
func (s *subject) startAndKill(lines, spin int) {
	s.t.Helper()
	out := s.start()
	for range lines {
		if line, more := <-out; !more || line == "ready" {
			break
		}
	}
	for range spin {
		runtime.Gosched()
	}
	s.kill()
}

// runAndKill has all write, and kills the node some time after so many acknowledgements. It returns how many there were.
func (s *subject) runAndKill(l *listener, writers []*writer, acks, spin int) int {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	var acked atomic.Int64
	enough := make(chan struct{})
	heard := make(chan struct{}, 1) // the listener writes at the pace of the node
	ack := func() {
		if acked.Add(1) == int64(acks) {
			close(enough)
		}
		select {
		case heard <- struct{}{}:
		default:
		}
	}
	if acks == 0 {
		close(enough)
	}
	var wg sync.WaitGroup
	failed := make(chan error, len(writers))
	for _, w := range writers {
		wg.Go(func() {
			if err := w.write(ctx, s.client, ack); !s.killed.Load() {
				failed <- err
			}
		})
	}
	wg.Go(func() {
		for n := 0; !s.killed.Load(); n++ {
			l.set(fmt.Sprintf("peer/%d", n%50), fmt.Sprint(n))
			select {
			case <-heard:
			case <-ctx.Done():
				return
			}
		}
	})
	select {
	case <-enough:
	case err := <-failed:
		s.t.Fatalf("a write failed at a node that runs: %v\n%s", err, s.log)
	}
	for range spin {
		runtime.Gosched()
	}
	s.kill()
	ack() // the listener's turn to see it
	wg.Wait()
	return int(acked.Load()) - 1
}

// id is the subject's.
func (s *subject) id() peer.ID {
	s.t.Helper()
	info, err := s.client.Node(s.t.Context())
	require.NoError(s.t, err)
	id, err := peer.Decode(info.ID)
	require.NoError(s.t, err)
	return id
}

// export is what the node holds, every line of it checked: no owner's state is half there.
func (s *subject) export() []*replica.Snapshot {
	s.t.Helper()
	var out bytes.Buffer
	require.NoError(s.t, s.client.Export(s.t.Context(), "", &out))
	r, err := api.NewExportReader(&out)
	require.NoError(s.t, err)
	var all []*replica.Snapshot
	for {
		snapshot, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(s.t, err)
		all = append(all, snapshot)
	}
}

// check looks at a node that has started again after the lives that last tells of.
func (s *subject) check(l *listener, writers []*writer, last life) life {
	s.t.Helper()
	self := s.id()
	now := life{version: last.version}
	stored := map[string]gossipstate.Entry{}
	for _, snapshot := range s.export() {
		d := snapshot.Digest()
		switch {
		case snapshot.Owner() != self:
		case snapshot.Topic() == "members":
			now.generation = d.Generation
		default:
			now.version = d.Version
			maps.Copy(stored, entries(snapshot))
		}
	}
	require.Greater(s.t, now.generation, last.generation, "a generation was used twice")
	require.GreaterOrEqual(s.t, now.version, last.version, "the version went back")
	for _, w := range writers {
		w.check(s.t, stored)
		require.GreaterOrEqual(s.t, now.version, w.version, "an acknowledged version is gone")
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	require.NoError(s.t, l.holds(ctx, func() (string, error) {
		d, err := s.client.Digest(ctx)
		return d.Digest, err
	}), "generation %d", now.generation)
	_, faults := l.heard(self)
	require.Empty(s.t, faults)
	return now
}

// entries are those of a snapshot by key.
func entries(s *replica.Snapshot) map[string]gossipstate.Entry {
	all := map[string]gossipstate.Entry{}
	for _, e := range s.Entries() {
		all[e.Key] = e
	}
	return all
}
