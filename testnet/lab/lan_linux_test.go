package lab

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func lan(t *testing.T, n int) *LAN {
	t.Helper()
	if err := Available(); err != nil {
		t.Skip(err)
	}
	l, err := NewLAN(n)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

// echo answers every datagram on host i.
func echo(t *testing.T, l *LAN, i int) {
	t.Helper()
	conn := socket(t, l, i, "0.0.0.0:7")
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(buf[:n], from)
		}
	}()
}

func socket(t *testing.T, l *LAN, i int, addr string) (conn net.PacketConn) {
	t.Helper()
	var err error
	require.NoError(t, l.Do(i, func() { conn, err = net.ListenPacket("udp4", addr) }))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// answers sends n datagrams to addr and counts the answers until a pause of patience.
func answers(t *testing.T, conn net.PacketConn, addr netip.Addr, n int, patience time.Duration) (got int) {
	t.Helper()
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 7))
	for i := range n {
		_, err := conn.WriteTo(fmt.Append(nil, i), to)
		require.NoError(t, err)
	}
	buf := make([]byte, 1500)
	for {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
		if _, _, err := conn.ReadFrom(buf); err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			return got
		}
		if got++; got == n {
			return got
		}
	}
}

const (
	patience = 300 * time.Millisecond // a datagram that has not come by then is lost: on one machine it takes microseconds
	surely   = 10 * time.Second       // for what does come
)

func TestHostsOfALANReachEachOther(t *testing.T) {
	l := lan(t, 3)
	require.Equal(t, 3, l.Hosts())
	echo(t, l, 2)
	for i := range 2 {
		require.Equal(t, 5, answers(t, socket(t, l, i, "0.0.0.0:0"), l.Addr(2), 5, surely))
	}
}

func TestSilentHostIsHeardAgainOnceRestored(t *testing.T) {
	l := lan(t, 3)
	echo(t, l, 0)
	echo(t, l, 1)
	conn := socket(t, l, 2, "0.0.0.0:0")
	require.Equal(t, 1, answers(t, conn, l.Addr(0), 1, surely))
	require.NoError(t, l.Silence(0))
	require.Zero(t, answers(t, conn, l.Addr(0), 3, patience))
	require.Equal(t, 3, answers(t, conn, l.Addr(1), 3, surely), "the others are not silent")
	require.NoError(t, l.Restore(0))
	require.Equal(t, 3, answers(t, conn, l.Addr(0), 3, surely))
}

// Nobody is told that a silent host is gone: a dial of it ends by its own deadline.
func TestSilenceSaysNothing(t *testing.T) {
	l := lan(t, 2)
	require.NoError(t, l.Silence(0))
	var err error
	require.NoError(t, l.Do(1, func() {
		d := net.Dialer{Timeout: 4 * time.Second} // the kernel gives up on an ARP without an answer after 3 s
		_, err = d.Dial("tcp4", netip.AddrPortFrom(l.Addr(0), 7).String())
	}))
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout(), err)
}

func TestLossDropsItsFraction(t *testing.T) {
	l := lan(t, 2)
	echo(t, l, 0)
	conn := socket(t, l, 1, "0.0.0.0:0")
	require.NoError(t, l.Loss(0, 0.3))
	got := 0
	const rounds, burst = 20, 50 // no more at once than a socket's buffer holds
	for range rounds {
		got += answers(t, conn, l.Addr(0), burst, patience/10)
	}
	// 700 of 1,000, with a standard deviation of 14.5.
	require.InDelta(t, 700, got, 6*14.5)
	require.Error(t, l.Loss(0, 1.5))
	require.NoError(t, l.Loss(0, 0))
	require.Equal(t, burst, answers(t, conn, l.Addr(0), burst, surely))
}

func TestHostsSwapAddressesWhileTheyRun(t *testing.T) {
	l := lan(t, 3)
	for i := range 2 {
		conn := socket(t, l, i, "0.0.0.0:7")
		go func() {
			buf := make([]byte, 1500)
			for {
				_, from, err := conn.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = conn.WriteTo([]byte{byte(i)}, from)
			}
		}()
	}
	conn := socket(t, l, 2, "0.0.0.0:0")
	who := func(addr netip.Addr) byte {
		_, err := conn.WriteTo([]byte{0}, net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 7)))
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(surely)))
		buf := make([]byte, 8)
		n, _, err := conn.ReadFrom(buf)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		return buf[0]
	}
	a, b := l.Addr(0), l.Addr(1)
	require.EqualValues(t, 0, who(a))
	require.EqualValues(t, 1, who(b))
	require.NoError(t, l.SetAddr(0, b))
	require.NoError(t, l.SetAddr(1, a))
	require.EqualValues(t, 1, who(a))
	require.EqualValues(t, 0, who(b))
	require.Equal(t, b, l.Addr(0))
	require.Error(t, l.SetAddr(0, netip.MustParseAddr("10.0.0.1")))
}

func TestNothingIsLeftOfAClosedLAN(t *testing.T) {
	l := lan(t, 3)
	cmd := exec.Command("sleep", "3600")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, l.Start(1, cmd))
	inside, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
	require.NoError(t, err)
	require.Contains(t, namespaces(t), inside)
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	_, err = io.ReadAll(out) // until the kernel has killed it
	require.NoError(t, err)
	require.ErrorContains(t, cmd.Wait(), "killed")
	require.Eventually(t, func() bool { return len(namespaces(t)) == 1 }, surely, time.Millisecond)
	require.ErrorIs(t, l.Silence(0), ErrClosed)
	require.ErrorIs(t, l.Start(0, exec.Command("true")), ErrClosed)
	require.ErrorIs(t, l.Do(0, func() {}), ErrClosed)
}

// namespaces are those of this process's threads and children.
func namespaces(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	tasks, err := filepath.Glob("/proc/self/task/*")
	require.NoError(t, err)
	for _, task := range tasks {
		if ns, err := os.Readlink(task + "/ns/net"); err == nil {
			all[ns] = true
		}
	}
	return all
}

func TestLANHasAtMostMaxHosts(t *testing.T) {
	for _, n := range []int{0, MaxHosts + 1} {
		_, err := NewLAN(n)
		require.Error(t, err)
	}
	seen := map[netip.Addr]bool{}
	for i := range MaxHosts {
		seen[addrOf(i)] = true
		require.True(t, prefix.Contains(addrOf(i)))
	}
	require.Len(t, seen, MaxHosts)
}
