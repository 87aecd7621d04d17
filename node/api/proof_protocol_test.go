package api

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The proof that PROTOCOL.md shows is one that holds, of the fields that it names, and is what a node would write.
func TestTheProofOfTheProtocolHolds(t *testing.T) {
	page, err := os.ReadFile("../../gossipstate/PROTOCOL.md")
	require.NoError(t, err)
	shown := regexp.MustCompile("(?s)```json\n(\\{\n  \"schema\": \"p2pnode.proof/v1\".*?)```").FindSubmatch(page)
	require.NotNil(t, shown)
	decoder := json.NewDecoder(strings.NewReader(string(shown[1])))
	decoder.DisallowUnknownFields()
	var p Proof
	require.NoError(t, decoder.Decode(&p))
	verified, err := p.Verify()
	require.NoError(t, err)
	require.Equal(t, "size", verified.Key)
	require.Len(t, p.Path, 2)

	written, err := json.Marshal(p)
	require.NoError(t, err)
	require.JSONEq(t, string(shown[1]), string(written))
}
