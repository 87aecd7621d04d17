package discovery

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

func TestRecordsServeOneKey(t *testing.T) {
	r := newRecords("self", []byte("key"))
	require.ErrorIs(t, r.AddProvider(t.Context(), []byte("other"), info("a", 1)), errForeignKey)
	require.NoError(t, r.AddProvider(t.Context(), []byte("key"), info("a", 1)))
	require.NoError(t, r.AddProvider(t.Context(), []byte("key"), info("self", 1)))
	got, err := r.GetProviders(t.Context(), []byte("key"))
	require.NoError(t, err)
	require.Equal(t, []peer.AddrInfo{info("a", 1)}, got)
	got, err = r.GetProviders(t.Context(), []byte("other"))
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestRecordsExpireUnlessRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecords("self", []byte("key"))
		add := func(id string) { require.NoError(t, r.AddProvider(t.Context(), []byte("key"), info(id, 1))) }
		stored := func() []string {
			got, err := r.GetProviders(t.Context(), []byte("key"))
			require.NoError(t, err)
			return ids(got)
		}
		add("renewed")
		add("silent")
		time.Sleep(RecordTTL)
		require.ElementsMatch(t, []string{"renewed", "silent"}, stored())
		add("renewed")
		time.Sleep(time.Nanosecond)
		require.Equal(t, []string{"renewed"}, stored())
		require.Len(t, r.byPeer, 1)
	})
}

func TestRecordsAreBoundedInNumberAndSize(t *testing.T) {
	r := newRecords("self", []byte("key"))
	for i := range 3 * maxRecords {
		require.NoError(t, r.AddProvider(t.Context(), []byte("key"), info(fmt.Sprint(i), 1)))
		require.LessOrEqual(t, len(r.byPeer), maxRecords)
	}
	many := info("many")
	many.Addrs = append(many.Addrs, ma.StringCast("/dns4/"+strings.Repeat("x", maxAddrBytes)+"/tcp/1"))
	for port := 1; port <= 100; port++ {
		many.Addrs = append(many.Addrs, info("", port).Addrs...)
	}
	require.NoError(t, r.AddProvider(t.Context(), []byte("key"), many))
	require.Equal(t, many.Addrs[1:1+maxRecordAddrs], r.byPeer["many"].addrs)
}

func TestFullRecordsDropExpiredOnesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecords("self", []byte("key"))
		for i := range maxRecords / 2 {
			require.NoError(t, r.AddProvider(t.Context(), []byte("key"), info(fmt.Sprint("old-", i), 1)))
		}
		time.Sleep(RecordTTL + 1)
		for i := range maxRecords/2 + 1 {
			require.NoError(t, r.AddProvider(t.Context(), []byte("key"), info(fmt.Sprint("new-", i), 1)))
		}
		require.Len(t, r.byPeer, maxRecords/2+1)
	})
}

func TestEveryRecordIsInSomeSample(t *testing.T) {
	r := newRecords("self", []byte("key"))
	const stored = 4 * sampleSize
	for i := range stored {
		require.NoError(t, r.AddProvider(t.Context(), []byte("key"), info(fmt.Sprint(i), 1)))
	}
	seen := map[peer.ID]bool{}
	for range 200 { // a record is missed by all with a chance of 0.75^200
		got, err := r.GetProviders(t.Context(), []byte("key"))
		require.NoError(t, err)
		require.Len(t, got, sampleSize)
		for _, p := range got {
			seen[p.ID] = true
		}
	}
	require.Len(t, seen, stored)
}
