package replica

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
)

// PROTOCOL.md names what other implementations must make alike: names, the peer id of an owner, the id of a message.

func TestTheNamesOfTheProtocolAreThoseOfTheCode(t *testing.T) {
	shows := protocolShows(t)
	const network = "<network>"
	shows("`" + GossipTopic(network, "<topic>") + "`")
	r := Replica{cfg: Config{Network: network}}
	shows("`" + string(r.beatProtocol()) + "`")
	shows("`" + string(r.syncProtocol()) + "`")
	require.Equal(t, r.syncProtocol(), SyncProtocol(network))
	for _, key := range []string{keyName, keyAgent, keyTags, keyAddrs} {
		shows("| `" + key + "` |")
	}
}

func TestThePeerAndMessageIDsOfTheProtocolAreThoseOfTheCode(t *testing.T) {
	shows := protocolShows(t)
	alice, rumor := rumorOfTheVectors(t)
	p := PeerOf(alice)
	shows(hex.EncodeToString([]byte(p)))
	shows(p.String())

	topic := GossipTopic(rumor.Network, rumor.Topic)
	data, err := hex.DecodeString(rumor.Hex)
	require.NoError(t, err)
	id := MessageID(&pubsubpb.Message{From: []byte(p), Topic: &topic, Data: data, Seqno: make([]byte, seqnoLen)})
	shows("id = " + hex.EncodeToString([]byte(id)))
}

// protocolShows gives a check that PROTOCOL.md holds a text. It does not print the page on failure.
func protocolShows(t *testing.T) func(text string) {
	t.Helper()
	b, err := os.ReadFile("../PROTOCOL.md")
	require.NoError(t, err)
	return func(text string) {
		t.Helper()
		require.True(t, strings.Contains(string(b), text), "PROTOCOL.md does not show %s", text)
	}
}

type rumorVector struct{ Name, Network, Topic, Hex string }

// rumorOfTheVectors is the golden vector of a rumor, and the owner who published it.
func rumorOfTheVectors(t *testing.T) (alice gossipstate.ID, rumor rumorVector) {
	t.Helper()
	b, err := os.ReadFile("../testdata/vectors.json")
	require.NoError(t, err)
	var file struct {
		Keys    []struct{ Name, Owner string }
		Vectors []rumorVector
	}
	require.NoError(t, json.Unmarshal(b, &file))
	require.Equal(t, "alice", file.Keys[0].Name)
	owner, err := hex.DecodeString(file.Keys[0].Owner)
	require.NoError(t, err)
	for _, v := range file.Vectors {
		if v.Name == "update-rumor" {
			rumor = v
		}
	}
	require.NotEmpty(t, rumor.Hex)
	return gossipstate.ID(owner), rumor
}
