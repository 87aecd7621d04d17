package testnet

import (
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFreePorts(t *testing.T) {
	first, err := freePorts(3, "x", nil)
	require.NoError(t, err)
	require.Len(t, first, 3)
	for _, p := range first {
		require.GreaterOrEqual(t, p, firstPort)
		require.LessOrEqual(t, p, lastPort)
	}
	for name, listen := range map[string]func(addr string) (interface{ Close() error }, error){
		"TCP": func(addr string) (interface{ Close() error }, error) { return net.Listen("tcp", addr) },
		"UDP": func(addr string) (interface{ Close() error }, error) { return net.ListenPacket("udp", addr) },
	} {
		t.Run("a port in use for "+name+" is passed over", func(t *testing.T) {
			l, err := listen("127.0.0.1:" + strconv.Itoa(first[1]))
			require.NoError(t, err)
			defer l.Close()
			ports, err := freePorts(3, "x", nil)
			require.NoError(t, err)
			require.NotContains(t, ports, first[1])
			require.Contains(t, ports, first[0])
		})
	}
	t.Run("a port of another testnet is passed over", func(t *testing.T) {
		ports, err := freePorts(3, "x", map[int]bool{first[0]: true, first[2]: true})
		require.NoError(t, err)
		require.NotContains(t, ports, first[0])
		require.NotContains(t, ports, first[2])
		require.Contains(t, ports, first[1])
	})
	t.Run("none left is an error that counts them", func(t *testing.T) {
		taken := map[int]bool{}
		for p := firstPort; p <= lastPort; p++ {
			taken[p] = p != first[0]
		}
		_, err := freePorts(2, "x", taken)
		require.EqualError(t, err, "only 1 of 2 ports between 20001 and 31999 are free")
	})
}
