package liveness

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func TestAClockIsReadFromTheQuickestBeats(t *testing.T) {
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	d := wire.Digest{BeatInterval: 700 * time.Millisecond}
	beats := func(c *clock, ahead time.Duration, from, to uint32, delay func(k uint32) time.Duration) {
		d.BeatT0 = uint64(begin.Add(ahead).UnixMilli())
		for k := from; k < to; k++ {
			c.arrived(&d, k, begin.Add(time.Duration(k)*d.BeatInterval+delay(k)))
		}
	}
	delay := func(k uint32) time.Duration { return time.Duration(20+80*(k%4)) * time.Millisecond }

	var c clock
	require.False(t, c.known)
	beats(&c, time.Hour, 1, 2, func(uint32) time.Duration { return 650 * time.Millisecond })
	require.False(t, c.known, "the first beat came when the stream did")
	beats(&c, time.Hour, 2, 10, delay)
	require.True(t, c.known)
	require.InDelta(t, time.Hour, c.offset, float64(25*time.Millisecond), "the delay of the quickest, 20 ms, is missing")

	beats(&c, time.Hour-time.Second, 10, 2000, delay)
	require.InDelta(t, time.Hour-time.Second, c.offset, float64(25*time.Millisecond), "it follows a clock that lost a second")

	beats(&c, -365*24*time.Hour, 2000, 2001, delay)
	require.InDelta(t, -365*24*time.Hour, c.offset, float64(100*time.Millisecond), "a clock that was set shows at once")
}

func TestATimeThatCannotBeIsNoClock(t *testing.T) {
	for _, t0 := range []uint64{0, maxT0 + 1, math.MaxInt64, math.MaxUint64} {
		var c clock
		c.arrived(&wire.Digest{BeatT0: t0, BeatInterval: time.Second}, 1, time.Now())
		require.False(t, c.known, "%d", t0)
	}
	var c clock
	c.arrived(&wire.Digest{BeatT0: maxT0, BeatInterval: wire.MaxBeatInterval}, wire.MaxBeats, time.Unix(0, 0))
	require.Equal(t, time.Duration(maxOffset), c.offset, "farther than can be told")
	c.arrived(&wire.Digest{BeatT0: 1, BeatInterval: time.Second}, 1, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
	require.Equal(t, time.Duration(-maxOffset), c.offset)
	c.arrived(&wire.Digest{BeatT0: maxT0, BeatInterval: time.Second}, 1, time.Unix(0, 0))
	require.Equal(t, time.Duration(maxOffset), c.offset)
}
