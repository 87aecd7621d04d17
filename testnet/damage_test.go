package testnet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/node"
	"github.com/p2pnode/p2pnode/node/api"
)

// store is the subject's state file.
func (s *subject) store() string { return filepath.Join(s.home, "state.db") }

// quarantined lists what was moved aside from the state file.
func (s *subject) quarantined() []string {
	s.t.Helper()
	all, err := filepath.Glob(s.store() + ".corrupt-*")
	require.NoError(s.t, err)
	return all
}

// has waits until the node holds every key with its value.
func (s *subject) has(values map[string]string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	missing := map[string]string{}
	for key, value := range values {
		missing[key] = value
	}
	for e, err := range s.client.WatchState(ctx, api.WatchOptions{Initial: true}) {
		require.NoError(s.t, err)
		if e.Kind == api.EventPut && missing[e.Value.Key] == string(e.Value.Value) {
			delete(missing, e.Value.Key)
		}
		if len(missing) == 0 {
			return
		}
	}
	s.t.Fatalf("not there: %v\n%s", missing, s.log)
}

// A file that is cut, or in which a bit is wrong, costs no start and no key that a peer has: the node says what happened, puts
// the file aside if it can't be trusted, and shows nothing that does not verify.
func TestANodeWhoseStateFileIsDamagedComesBack(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	l := newListener(t, "damage")
	s := newSubject(t, l)
	s.ready()
	values := map[string]string{}
	for i := range 20 {
		mine, theirs := fmt.Sprintf("app/mine/%d", i), fmt.Sprintf("app/theirs/%d", i)
		values[mine], values[theirs] = strings.Repeat("m", 500+i), strings.Repeat("t", 500+i)
		_, err := s.client.Set(t.Context(), mine, []byte(values[mine]), api.WriteOptions{Wait: "all"})
		require.NoError(t, err)
		l.set(theirs, values[theirs])
	}
	s.has(values)
	for _, damage := range []struct {
		what  string
		do    func(file []byte) []byte
		aside bool // the file itself can't be trusted
	}{
		{"the file is empty", func([]byte) []byte { return nil }, false},
		{"the file is cut in half", func(file []byte) []byte { return file[:len(file)/2] }, true},
		{"the file is cut by a byte", func(file []byte) []byte { return file[:len(file)-1] }, false}, // maybe of no page in use
		{"the file is something else", func([]byte) []byte { return []byte("teal") }, true},
		{"a page is zero", func(file []byte) []byte { clear(file[4*4096 : 5*4096]); return file }, false}, // maybe a free one
		{"a bit of an own value", flipIn(strings.Repeat("m", 500)), false},
		{"a bit of another's value", flipIn(strings.Repeat("t", 500)), false},
		{"both first pages", func(file []byte) []byte { clear(file[:2*4096]); return file }, true},
		{"a bit anywhere", flipAnywhere(rng), false},
		{"another bit anywhere", flipAnywhere(rng), false},
	} {
		t.Run(damage.what, func(t *testing.T) {
			s.t = t
			s.kill()
			file, err := os.ReadFile(s.store())
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(s.store(), damage.do(file), 0o600))
			for _, old := range s.quarantined() {
				require.NoError(t, os.Remove(old))
			}
			s.ready()
			s.has(values)
			if aside := s.quarantined(); damage.aside {
				require.Len(t, aside, 1)
				status, err := s.client.Status(t.Context())
				require.NoError(t, err)
				require.Len(t, status.Problems, 1)
				require.Equal(t, node.CodeStoreCorrupt, status.Problems[0].Code)
				require.Contains(t, status.Problems[0].Detail, aside[0])
			}
			s.export() // every line is checked
			w, err := s.client.Set(t.Context(), "app/after", []byte(damage.what), api.WriteOptions{Wait: "all"})
			require.NoError(t, err)
			require.Equal(t, 1, w.Wait.Seen)
			_, faults := l.heard(s.id())
			require.Empty(t, faults)
		})
	}
}

// flipIn changes one bit in the middle of the first place where text stands.
func flipIn(text string) func([]byte) []byte {
	return func(file []byte) []byte {
		at := strings.Index(string(file), text)
		file[at+len(text)/2] ^= 1
		return file
	}
}

func flipAnywhere(rng *rand.Rand) func([]byte) []byte {
	return func(file []byte) []byte {
		i := rng.IntN(8 * len(file))
		file[i/8] ^= 1 << (i % 8)
		return file
	}
}
