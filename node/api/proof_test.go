package api

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
	"github.com/p2pnode/p2pnode/node"
)

// signedBy is the state of the topic main of the network lab after an owner, whose key comes from seed, signed one change
// with all mutations.
func signedBy(t testing.TB, seed byte, mutations ...gossipstate.Mutation) (*gossipstate.State, gossipstate.ID) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	self := gossipstate.Self{ID: gossipstate.ID(key.Public().(ed25519.PublicKey)), Generation: 1 << 60}
	state := gossipstate.New(gossipstate.DefaultConfig(wire.Domain{Network: "lab", Topic: "main"}))
	sign := func(message []byte) []byte { return ed25519.Sign(key, message) }
	p, err := state.Prepare(self, mutations, sign, time.UnixMilli(1_795_000_000_123), 0)
	require.NoError(t, err)
	state.Install(p)
	return state, self.ID
}

// someKeys are mutations enough for a path of several steps.
func someKeys() []gossipstate.Mutation {
	m := []gossipstate.Mutation{
		{Key: "app/color", Value: []byte("teal"), ContentType: "text/plain", Expires: 1_795_003_600_123},
		{Key: "bytes", Value: []byte{0xff, 0}},
		{Key: "empty"},
		{Key: "gone"},
	}
	for i := range 20 {
		m = append(m, gossipstate.Mutation{Key: fmt.Sprintf("key/%d", i), Value: []byte("value")})
	}
	return append(m, gossipstate.Mutation{Key: "gone", Delete: true})
}

// proving is a server whose topic main holds someKeys of an owner that is called author.
func proving(t *testing.T) *served {
	n := newFakeNode()
	state, owner := signedBy(t, 7, someKeys()...)
	n.main().signed = state
	n.members = append(n.members, replica.Member{ID: replica.PeerOf(owner), Name: "author"})
	return serve(t, n)
}

func golden(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/proof.json")
	require.NoError(t, err)
	return text
}

func TestProofIsWrittenAsTheGoldenFileHasIt(t *testing.T) {
	s := proving(t)
	a := s.raw("GET", "/v1/proof/app/color", "")
	require.Equal(t, http.StatusOK, a.status, a.body)
	require.Equal(t, string(golden(t)), a.body)

	p, err := ParseProof(golden(t))
	require.NoError(t, err)
	require.Greater(t, len(p.Path), 2)
	v, err := p.Verify()
	require.NoError(t, err)
	teal := "teal"
	require.Equal(t, Verified{
		Schema: "p2pnode.verified/v1", Network: "lab", Topic: "main",
		Value: Value{
			Key: "app/color", Owner: p.Owner, Version: 1, OwnerVersion: 1, Value: []byte("teal"), Encoding: "base64", Text: &teal,
			Size: 4, ContentType: "text/plain", Written: Time{time.UnixMilli(1_795_000_000_123).UTC()},
			Expires: Time{time.UnixMilli(1_795_003_600_123).UTC()}, Digest: v.Digest,
		},
		Generation: 1 << 60, StateVersion: 1,
	}, v)
}

func TestEveryEntryIsProved(t *testing.T) {
	s := proving(t)
	for key, check := range map[string]func(Verified){
		"bytes": func(v Verified) { require.Equal(t, []byte{0xff, 0}, v.Value.Value); require.Nil(t, v.Text) },
		"empty": func(v Verified) { require.Equal(t, []byte{}, v.Value.Value); require.Empty(t, *v.Text) },
		"gone":  func(v Verified) { require.True(t, v.Deleted); require.Nil(t, v.Value.Value); require.Nil(t, v.Text) },
		"key/7": func(v Verified) { require.Equal(t, "value", *v.Text) },
	} {
		for _, owner := range []string{"", "author"} {
			p, err := s.client.Prove(t.Context(), key, owner)
			require.NoError(t, err, key)
			v, err := p.Verify()
			require.NoError(t, err, key)
			require.Equal(t, key, v.Key)
			require.Equal(t, s.node.members[4].ID.String(), v.Owner)
			check(v)

			parsed, err := ParseProof(document(t, p))
			require.NoError(t, err)
			require.Equal(t, p, parsed, "the document holds all of it")
		}
	}
}

func TestWhatIsNotThereIsNotProved(t *testing.T) {
	s := proving(t)
	_, err := s.client.Prove(t.Context(), "none", "")
	require.Equal(t, node.CodeNotFound, codeOf(t, err))
	_, err = s.client.Prove(t.Context(), "app/color", "n2")
	require.Equal(t, node.CodeNotFound, codeOf(t, err))
	_, err = s.client.Prove(t.Context(), "app/color", "nobody")
	require.Equal(t, node.CodeUnknownMember, codeOf(t, err))
	_, err = s.client.WithTopic("extra").Prove(t.Context(), "app/color", "")
	require.Equal(t, node.CodeNotFound, codeOf(t, err))
	_, err = s.client.WithTopic("none").Prove(t.Context(), "app/color", "")
	require.Equal(t, node.CodeUnknownTopic, codeOf(t, err))
	require.Equal(t, node.CodeMethodNotAllowed, s.raw("PUT", "/v1/proof/app/color", "x").problem(t).Code)
	require.Equal(t, node.CodeValidation, s.raw("GET", "/v1/proof/", "").problem(t).Code)
	s.node.main().err = replica.ErrStopped
	require.Equal(t, node.CodeStopped, s.raw("GET", "/v1/proof/app/color", "").problem(t).Code)
}

func TestEveryKeyCanBeProved(t *testing.T) {
	n := newFakeNode()
	s := serve(t, n)
	for _, key := range []string{"a//b", "/a", "a/", ".", "../x", "a/./b", "a b", "a?b=c#d", "a%2Fb", "ключ", "a+b&c", "\x00\x01"} {
		n.main().signed, _ = signedBy(t, 7, gossipstate.Mutation{Key: key})
		p, err := s.client.Prove(t.Context(), key, "")
		require.NoError(t, err, "%q", key)
		v, err := p.Verify()
		require.NoError(t, err, "%q", key)
		require.Equal(t, key, v.Key)
	}
}

// document is p as JSON.
func document(t testing.TB, p Proof) []byte {
	t.Helper()
	var text bytes.Buffer
	in := json.NewEncoder(&text)
	in.SetEscapeHTML(false)
	require.NoError(t, in.Encode(p))
	return text.Bytes()
}

func TestChangedProofDoesNotVerify(t *testing.T) {
	foreign, _ := signedBy(t, 8, someKeys()...)
	other, err := func() (Proof, error) {
		p, _ := foreign.Prove(foreign.Get("app/color").Owner, "app/color")
		return proofOf("lab", "main", p)
	}()
	require.NoError(t, err)
	red := "red"
	for name, c := range map[string]struct {
		change func(*Proof)
		part   string
		cause  error
	}{
		"network":          {func(p *Proof) { p.Network = "prod" }, "signature", wire.ErrBadSignature},
		"topic":            {func(p *Proof) { p.Topic = "extra" }, "signature", wire.ErrBadSignature},
		"topic members":    {func(p *Proof) { p.Topic = "members" }, "digest", wire.ErrMalformed},
		"owner":            {func(p *Proof) { p.Owner = other.Owner }, "owner", nil},
		"owner's shape":    {func(p *Proof) { p.Owner = "n1" }, "owner", nil},
		"key":              {func(p *Proof) { p.Key = "app/colour" }, "entry or path", gossipstate.ErrRootMismatch},
		"no key":           {func(p *Proof) { p.Key = "" }, "entry", wire.ErrMalformed},
		"value":            {func(p *Proof) { p.Value, p.Text = []byte("red"), &red }, "entry or path", gossipstate.ErrRootMismatch},
		"no value":         {func(p *Proof) { p.Value, p.Text = nil, nil }, "entry or path", gossipstate.ErrRootMismatch},
		"too large value":  {func(p *Proof) { p.Value = make([]byte, wire.MaxValue+1) }, "entry", wire.ErrTooLarge},
		"text":             {func(p *Proof) { p.Text = &red }, "text", nil},
		"version":          {func(p *Proof) { p.Version++ }, "entry or path", gossipstate.ErrRootMismatch},
		"version 0":        {func(p *Proof) { p.Version = 0 }, "entry", wire.ErrMalformed},
		"clock":            {func(p *Proof) { p.Clock++ }, "entry or path", gossipstate.ErrRootMismatch},
		"deleted":          {func(p *Proof) { p.Deleted, p.Value, p.Text = true, nil, nil }, "entry or path", gossipstate.ErrRootMismatch},
		"deleted alone":    {func(p *Proof) { p.Deleted = true }, "entry", wire.ErrMalformed},
		"content type":     {func(p *Proof) { p.ContentType = "text/html" }, "entry or path", gossipstate.ErrRootMismatch},
		"written":          {func(p *Proof) { p.Written++ }, "entry or path", gossipstate.ErrRootMismatch},
		"expires":          {func(p *Proof) { p.Expires = 0 }, "entry or path", gossipstate.ErrRootMismatch},
		"ext":              {func(p *Proof) { p.Ext = []byte{0} }, "entry or path", gossipstate.ErrRootMismatch},
		"digest":           {func(p *Proof) { p.Digest[len(p.Digest)-1] ^= 1 }, "signature", wire.ErrBadSignature},
		"digest cut short": {func(p *Proof) { p.Digest = p.Digest[:9] }, "digest", wire.ErrMalformed},
		"no digest":        {func(p *Proof) { p.Digest = nil }, "digest", wire.ErrMalformed},
		"signature":        {func(p *Proof) { p.Signature[0] ^= 1 }, "signature", wire.ErrBadSignature},
		"another's state":  {func(p *Proof) { p.Digest, p.Signature = other.Digest, other.Signature }, "owner", nil},
		"path cut short":   {func(p *Proof) { p.Path = p.Path[1:] }, "entry or path", gossipstate.ErrRootMismatch},
		"no path":          {func(p *Proof) { p.Path = nil }, "entry or path", gossipstate.ErrRootMismatch},
		"a step's side":    {func(p *Proof) { p.Path[0].Bit++ }, "entry or path", gossipstate.ErrRootMismatch}, // this key's bits 4 and 5 differ
		"a sibling":        {func(p *Proof) { p.Path[0].Sibling = strings.Repeat("ab", 32) }, "entry or path", gossipstate.ErrRootMismatch},
		"steps swapped":    {func(p *Proof) { p.Path[0], p.Path[1] = p.Path[1], p.Path[0] }, "path", wire.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := ParseProof(golden(t))
			require.NoError(t, err)
			c.change(&p)
			_, err = p.Verify()
			var wrong *ProofError
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, c.part, wrong.Part, "%v", err)
			if c.cause != nil {
				require.ErrorIs(t, err, c.cause)
			}
		})
	}
}

func TestNullIsTheValueOfDeletedKeysAlone(t *testing.T) {
	state, owner := signedBy(t, 7, someKeys()...)
	for key, value := range map[string][]byte{"empty": nil, "gone": {}} {
		signed, _ := state.Prove(owner, key)
		p, err := proofOf("lab", "main", signed)
		require.NoError(t, err)
		p.Value = value
		_, err = p.Verify()
		require.EqualError(t, err, "value: must be null when the key is deleted, and only then")
	}
}

func TestWhatIsNoProofIsRefused(t *testing.T) {
	text := strings.TrimSpace(string(golden(t)))
	for name, c := range map[string]struct{ old, new, want string }{
		"nothing":               {text, "", "is not a JSON object"},
		"another JSON value":    {text, "[]", "is not a JSON object"},
		"null":                  {text, "null", "is not a JSON object"},
		"no JSON":               {text, "p2pnode", "is not a JSON object"},
		"an empty object":       {text, "{}", "clock: is missing"},
		"not UTF-8":             {`"key":"app/color"`, "\"key\":\"\xff\"", "is not UTF-8"},
		"more behind it":        {text, text + "\n{}", "is followed by something else"},
		"a comma too many":      {`"path":[`, `"path":[,`, "is not JSON: invalid character"},
		"a comma at the end":    {`"}]}`, `"}],}`, "is not JSON: invalid character"},
		"cut short":             {`"}]}`, "", "ends too early"},
		"cut short in a name":   {`"path":[`, `"pa`, "is not JSON"},
		"a field too many":      {`"network"`, `"note":"","network"`, `has an unknown field "note"`},
		"a field in capitals":   {`"network"`, `"Network"`, `has an unknown field "Network"`},
		"a field twice":         {`"clock":"1"`, `"clock":"1","clock":"1"`, "clock: is there twice"},
		"another way to write":  {`"clock":"1"`, `"clock":"1","cl\u006fck":"1"`, "clock: is there twice"},
		"a field too few":       {`"clock":"1",`, ``, "clock: is missing"},
		"another schema":        {"proof/v1", "proof/v2", `schema: "p2pnode.proof/v2" is not p2pnode.proof/v1`},
		"no name of a network":  {`"lab"`, `"LAB"`, `network name "LAB": only a-z, 0-9 and '-' are allowed`},
		"no name of a topic":    {`"topic":"main"`, `"topic":""`, "topic name"},
		"a long name":           {`"lab"`, `"` + strings.Repeat("a", 259) + `"`, "must have 1 to 32 characters"},
		"a number as number":    {`"clock":"1"`, `"clock":1`, "clock: must be a string"},
		"a number too large":    {`"clock":"1"`, `"clock":"18446744073709551616"`, "is not a decimal number below 2^64"},
		"a number with zeros":   {`"clock":"1"`, `"clock":"01"`, `clock: "01" must be "1"`},
		"null for a string":     {`"app/color"`, `null`, "key: must be a string"},
		"null for bytes":        {`"ext":""`, `"ext":null`, "ext: must be a string"},
		"text for a flag":       {`"deleted":false`, `"deleted":"false"`, "deleted: must be true or false"},
		"null for a flag":       {`"deleted":false`, `"deleted":null`, "deleted: must be true or false"},
		"null for the text":     {`"text":"teal"`, `"text":null`, "text: must be a string"},
		"no base64":             {`"dGVhbA=="`, `"teal!"`, "value: must be base64"},
		"base64 in two lines":   {`"dGVhbA=="`, `"dGVh\nbA=="`, "value: must be base64"},
		"base64 with more bits": {`"dGVhbA=="`, `"dGVhbB=="`, "value: must be base64"},
		"an empty signature":    {`"signature":"`, `"signature":"","x":"`, `unknown field "x"`},
		"no list as path":       {`"path":[`, `"path":{},"x":[`, "path: must be a list"},
		"a step that is none":   {`"path":[`, `"path":[1,`, "path: step 0: is not a JSON object"},
		"a step with more":      {`"path":[{`, `"path":[{"a":1,`, `path: step 0: has an unknown field "a"`},
		"a step without a bit":  {`"path":[`, `"path":[{"sibling":""},`, "path: step 0: bit: is missing"},
		"a large bit":           {`"path":[`, `"path":[{"bit":256,"sibling":""},`, "path: step 0: bit: must be a number from 0 to 255"},
		"a bit in text":         {`"path":[`, `"path":[{"bit":"1","sibling":""},`, "path: step 0: bit: must be a number from 0 to 255"},
		"a short sibling":       {`"path":[`, `"path":[{"bit":1,"sibling":"ab"},`, `path: step 0: sibling: "ab" is not 64 hex digits`},
		"a sibling in capitals": {
			`"path":[`, `"path":[{"bit":1,"sibling":"` + strings.Repeat("AB", 32) + `"},`, "is not 64 hex digits in lower case",
		},
		"too many steps": {`"path":[`, `"path":[` + strings.Repeat(`{"bit":1,"sibling":""},`, 257), "path: has more than 256 steps"},
		"too large":      {text, strings.Repeat(" ", MaxProof+1), "is larger than 256 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, text, c.old)
			_, err := ParseProof([]byte(strings.Replace(text, c.old, c.new, 1)))
			require.ErrorContains(t, err, c.want)
			require.Less(t, len(err.Error()), 200)
		})
	}
	p, err := ParseProof(golden(t))
	require.NoError(t, err)
	p.Signature = p.Signature[1:]
	_, err = ParseProof(document(t, p))
	require.EqualError(t, err, "signature: has 63 bytes, not 64")
	_, err = p.Verify()
	require.EqualError(t, err, "signature: has 63 bytes, not 64")
	p.Path = make([]ProofStep, 257)
	_, _, err = p.Open()
	require.Error(t, err)
}

func TestProofMayBeLaidOutOtherwise(t *testing.T) {
	var fields map[string]any
	require.NoError(t, json.Unmarshal(golden(t), &fields))
	delete(fields, "text")
	text, err := json.MarshalIndent(fields, "", "\t") // by name, on many lines
	require.NoError(t, err)
	p, err := ParseProof(text)
	require.NoError(t, err)
	v, err := p.Verify()
	require.NoError(t, err)
	require.Equal(t, "teal", *v.Text)
}

func TestLargestProofIsWithinTheLimit(t *testing.T) {
	quotes := strings.Repeat(`"`, wire.MaxValue)
	p := Proof{
		Schema: ProofSchema, Network: strings.Repeat("n", wire.MaxName), Topic: strings.Repeat("t", wire.MaxName),
		Owner: testPeer(1).String(), Key: strings.Repeat("\x00", wire.MaxKey), Value: []byte(quotes), Text: &quotes,
		Version: math.MaxUint64, Clock: math.MaxUint64, ContentType: strings.Repeat("\x00", wire.MaxMeta),
		Written: math.MaxUint64, Expires: math.MaxUint64, Ext: []byte{},
		Digest: make([]byte, wire.MaxDigest), Signature: make([]byte, 64),
	}
	for range maxProofSteps {
		p.Path = append(p.Path, ProofStep{255, strings.Repeat("ab", 32)})
	}
	text := document(t, p)
	require.LessOrEqual(t, len(text), MaxProof)
	parsed, err := ParseProof(text)
	require.NoError(t, err)
	require.Equal(t, p, parsed)
}

// FuzzParseProof replaces a part of a good document: so its inputs stay short, and near to what is accepted.
func FuzzParseProof(f *testing.F) {
	good := golden(f)
	want, err := ParseProof(good)
	require.NoError(f, err)
	clock := uint16(bytes.Index(good, []byte(`"clock"`)))
	bit := uint16(bytes.Index(good, []byte(`{"bit":4`)))
	f.Add(uint16(0), uint16(0), []byte("\n"))
	f.Add(clock, clock, []byte(`"clock":"1",`))
	f.Add(bit, bit+8, []byte(`{"bit":6`))
	f.Add(uint16(0), uint16(len(good)), []byte(`{"path":[{"bit":1,"sibling":"00"}]}`))
	f.Fuzz(func(t *testing.T, from, to uint16, insert []byte) {
		begin := min(int(from), len(good))
		end := min(max(begin, int(to)), len(good))
		p, err := ParseProof(slices.Concat(good[:begin], insert, good[end:]))
		if err != nil {
			return
		}
		again, err := ParseProof(document(t, p))
		require.NoError(t, err)
		require.Equal(t, p, again)
		if _, err := p.Verify(); err != nil {
			var wrong *ProofError
			require.ErrorAs(t, err, &wrong)
			return
		}
		require.Len(t, p.Path, len(want.Path))
		for i := range p.Path {
			p.Path[i].Bit = want.Path[i].Bit // of it only the side is signed
		}
		p.Text = want.Text // may be left out
		require.Equal(t, want, p, "nothing else is signed here")
	})
}
