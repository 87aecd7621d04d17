package testnet

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func sample() Report {
	digest := "9c1e" + strings.Repeat("0", 56) + "40aa"
	fingerprints := map[string]string{"main": digest, "members": strings.Repeat("1", 64)}
	t := Report{Name: "default", Nodes: []Node{
		{Name: "n1", ID: "12D3KooWB1bnYPCdZdifLWX3pVjKkAAjww4J7iZXdDvs4zof979C", State: StateUp, PID: 4101, MembersAlive: 2,
			Address: "/ip4/127.0.0.1/udp/20001/quic-v1", API: "/home/x/.p2pnode-testnet/default/n1/api.sock", Fingerprints: fingerprints},
		{Name: "n2", ID: "12D3KooWGLUd", State: StateUp, PID: 4102, MembersAlive: 2,
			Address: "/ip4/127.0.0.1/udp/20002/quic-v1", API: "/tmp/n2.sock", Fingerprints: fingerprints},
		{Name: "n3", State: StateKilled, Fingerprints: map[string]string{}},
	}}
	count(t.Nodes)
	return t
}

func text(t *testing.T, r Report) string {
	t.Helper()
	t.Setenv("HOME", "/home/x")
	var b bytes.Buffer
	require.NoError(t, r.WriteText(&b))
	return b.String()
}

func TestTextOfUp(t *testing.T) {
	r := sample()
	r.Nodes = r.Nodes[:2]
	r.Took = 1420 * time.Millisecond
	require.Equal(t, `testnet "default": 2 nodes in 1.4 s, all converged (digest f40a…0010)
NODE  ID         ADDRESS                           API                                     PID
n1    12D3…979C  /ip4/127.0.0.1/udp/20001/quic-v1  ~/.p2pnode-testnet/default/n1/api.sock  4101
n2    12D3…GLUd  /ip4/127.0.0.1/udp/20002/quic-v1  /tmp/n2.sock                            4102
try   p2pnode --node n1 state set hello world
      p2pnode --node n2 state get hello
stop  p2pnode testnet down
`, text(t, r))
}

func TestTextOfUpNamesOtherTestnets(t *testing.T) {
	r := sample()
	r.Name, r.Took = "lab", time.Second
	require.Contains(t, text(t, r), `try   p2pnode --node lab/n1 state set hello world
      p2pnode --node lab/n3 state get hello
      p2pnode testnet kill --name lab n3 && p2pnode --node lab/n1 members --watch
stop  p2pnode testnet down --name lab
`)
}

func TestTextOfStatus(t *testing.T) {
	require.Equal(t, `testnet "default": 2 of 3 nodes up, 2 of 2 agree (digest f40a…0010)
NODE  ID         STATE   PID   ALIVE  AGREES  DIGEST
n1    12D3…979C  up      4101  2/3    2       f40a…0010
n2    12D3…GLUd  up      4102  2/3    2       f40a…0010
n3    -          killed  -     -      -       -
`, text(t, sample()))

	r := sample()
	r.Nodes = r.Nodes[2:]
	require.Contains(t, text(t, r), `testnet "default": none of 1 nodes up`)
}

func TestJSONIsOneLineANode(t *testing.T) {
	var b bytes.Buffer
	r := sample()
	require.NoError(t, r.WriteJSON(&b))
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	require.Len(t, lines, 3)
	for i, line := range lines {
		var n Node
		require.NoError(t, json.Unmarshal([]byte(line), &n))
		require.Equal(t, r.Nodes[i], n)
	}
}

func TestAgreementIsOverAllTopics(t *testing.T) {
	r := sample()
	r.Nodes = r.Nodes[:2]
	require.Empty(t, odd(r.Nodes))
	r.Nodes[1].Fingerprints = map[string]string{"main": r.Nodes[0].Fingerprints["main"], "members": strings.Repeat("2", 64)}
	count(r.Nodes)
	require.Equal(t, 1, r.Nodes[0].Agrees)
	require.Equal(t, map[string]string{"n2": "holds another state than n1"}, odd(r.Nodes))
}
