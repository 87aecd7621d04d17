package replica

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// server answers the sessions of a node by hand with what authors wrote.
type server struct {
	*rawPeer
	authors []*author
	frames  int // of updates on "main" in each session; then it breaks off
	lie     func(u *wire.Update)

	mu   sync.Mutex // of what follows
	main int        // bytes of the entries that were sent on "main"
}

func (v *server) sent() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.main
}

func (v *server) serveTo(n *node) {
	v.serve(n, func(s *rawStream) {
		if s.receive().Hello == nil {
			return
		}
		hello := &wire.SyncHello{Salt: wire.Salt{1}}
		for _, topic := range []string{"members", "main"} {
			hello.Topics = append(hello.Topics, wire.SyncSummary{Topic: topic, Owners: uint64(len(v.authors)), Fingerprint: 1})
		}
		s.send(&wire.SyncFrame{Hello: hello})
		for left := v.frames; ; {
			f := s.receive()
			var more bool
			switch {
			case f.Items != nil:
				more = v.answer(s, f.Items.Topic, v.lackedBy(f.Items.Items), &left)
			case f.Wants != nil:
				more = v.answer(s, f.Wants.Topic, f.Wants.Wants, &left)
			case f.Done:
				continue
			}
			if !more {
				return
			}
		}
	})
}

// lackedBy is what to send to a node that has items.
func (v *server) lackedBy(items []wire.Item) (wants []wire.Want) {
	for _, a := range v.authors {
		w := wire.Want{Owner: a.id}
		if i := slices.IndexFunc(items, func(it wire.Item) bool { return it.Owner == a.id }); i >= 0 {
			w.Generation, w.Version = items[i].Generation, items[i].Version
		}
		wants = append(wants, w)
	}
	return wants
}

// answer sends the updates of wants, and breaks off with false when no frames are left.
func (v *server) answer(s *rawStream, topic string, wants []wire.Want, left *int) bool {
	for _, w := range wants {
		i := slices.IndexFunc(v.authors, func(a *author) bool { return a.id == w.Owner })
		if i < 0 {
			continue
		}
		for _, u := range v.authors[i].states[topic].Updates(w, wire.MaxFrame-1024) {
			if topic == "main" && !v.prepare(s, &u, left) {
				return false
			}
			s.send(&wire.SyncFrame{Update: &wire.SyncUpdate{Topic: topic, Update: u}})
		}
	}
	s.send(&wire.SyncFrame{Done: true})
	return true
}

// prepare counts an update that is to be sent and makes it lie; false, after the stream was reset, when it is one too many.
func (v *server) prepare(s *rawStream, u *wire.Update, left *int) bool {
	if *left == 0 {
		time.Sleep(100 * time.Millisecond) // what was sent arrives
		_ = s.Reset()
		return false
	}
	*left--
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range u.Entries {
		v.main += u.Entries[i].Size()
	}
	if v.lie != nil {
		v.lie(u)
	}
	return true
}

// large is an owner of nearly 1 MiB.
func large(t *testing.T) *author {
	a := newAuthor(t)
	for i := range 15 {
		a.set(t, fmt.Sprintf("~/%02d", i), string(bytes.Repeat([]byte{byte(i)}, wire.MaxValue)))
	}
	return a
}

func (c *cluster) server(frames int, authors ...*author) *server {
	return &server{rawPeer: c.raw(), authors: authors, frames: frames}
}

func TestALargeOwnerResumesAtEveryFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n, a := c.start(withoutRumors()), large(t)
		d, _, _ := a.states["main"].Digest(a.id)
		v := c.server(1, a)
		v.serveTo(n)
		c.dial(v.host, n.host)
		within(t, 30*time.Second, "it has come, a frame at a time", func() bool { return n.digest(t, "main", a.id).Root == d.Root })
		require.Equal(t, int(d.Bytes), v.sent(), "and none twice")
	})
}

func TestALargeOwnerResumesFromAnotherPeerAlthoughItMovedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start(withoutRumors())
		for cut := 1; cut < 5; cut++ {
			a, later := large(t), &author{}
			*later = *a
			domain := wire.Domain{Network: "test", Topic: "main"}
			later.states = map[string]*gossipstate.State{
				"members": a.states["members"], "main": gossipstate.New(gossipstate.DefaultConfig(domain)),
			}
			for _, u := range a.updates("main", 0) {
				v, err := wire.Verify(domain, u)
				require.NoError(t, err)
				_, err = later.states["main"].Apply(&v, a.id, time.Now())
				require.NoError(t, err)
			}
			first := c.server(cut, a)
			first.serveTo(n)
			c.dial(first.host, n.host)
			within(t, 5*time.Second, "some parts are there", func() (begun bool) {
				n.table(t, func(tb *table) { begun = tb.topics["main"].state.Staged(a.id, first.id) != nil })
				return begun && first.sent() > (cut-1)*3*wire.MaxValue
			})
			time.Sleep(80 * time.Millisecond) // what was sent arrives
			require.NoError(t, first.host.Close())
			time.Sleep(200 * time.Millisecond)
			later.set(t, "~/new", "x")
			d, _, _ := later.states["main"].Digest(a.id)
			second := c.server(1000, later)
			second.serveTo(n)
			c.dial(second.host, n.host)
			within(t, 10*time.Second, "all is there", func() bool { return n.digest(t, "main", a.id).Root == d.Root })
			require.Equal(t, int(d.Bytes), first.sent()+second.sent(), "cut after %d", cut)
			require.NoError(t, second.host.Close())
		}
	})
}

func TestALargeOwnerComesInSpiteOfALiar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n, a := c.start(withoutRumors()), large(t)
		d, _, _ := a.states["main"].Digest(a.id)
		liar := c.server(2, a)
		liar.lie = func(u *wire.Update) { u.Entries[0].Value = []byte("made up") }
		liar.serveTo(n)
		c.dial(liar.host, n.host)
		within(t, 5*time.Second, "parts are there", func() bool { return liar.sent() > 0 })
		honest := c.server(1000, a)
		honest.serveTo(n)
		c.dial(honest.host, n.host)
		within(t, 20*time.Second, "all is there", func() bool { return n.digest(t, "main", a.id).Root == d.Root })
		require.NotZero(t, n.count(CountDropped, "mixed_parts")+n.count(CountDropped, "root_mismatch"))
		require.Less(t, honest.sent(), 3*wire.MaxBytes)
	})
}
