package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
	"github.com/p2pnode/p2pnode/node"
)

// snapshotOf is the state of an owner whose key comes from seed.
func snapshotOf(t testing.TB, seed byte, mutations ...gossipstate.Mutation) *replica.Snapshot {
	t.Helper()
	state, owner := signedBy(t, seed, mutations...)
	var updates [][]byte
	for _, u := range state.Updates(wire.Want{Owner: owner}, wire.MaxFrame) {
		updates = append(updates, wire.MarshalUpdate(&u))
	}
	s, err := replica.OpenSnapshot("lab", "main", updates, time.UnixMilli(1_795_000_000_000).UTC())
	require.NoError(t, err)
	return s
}

// largest is the state of an owner at its limits.
func largest(t testing.TB) *replica.Snapshot {
	t.Helper()
	var m []gossipstate.Mutation
	rng := rand.New(rand.NewPCG(0, 0))
	for i := range wire.MaxEntries {
		value := make([]byte, wire.MaxBytes/wire.MaxEntries-len("key-0000"))
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		m = append(m, gossipstate.Mutation{Key: fmt.Sprintf("key-%04d", i), Value: value})
	}
	return snapshotOf(t, 4, m...)
}

// inParts is a state that takes two updates.
func inParts(t testing.TB) *replica.Snapshot {
	t.Helper()
	var m []gossipstate.Mutation
	for i := range 5 {
		m = append(m, gossipstate.Mutation{Key: fmt.Sprint("key-", i), Value: make([]byte, wire.MaxValue)})
	}
	return snapshotOf(t, 3, m...)
}

// exporting is a server of a node that exports three owners, and the export.
func exporting(t *testing.T) (*served, string) {
	n := newFakeNode()
	n.exports.snapshots = []*replica.Snapshot{
		snapshotOf(t, 1, someKeys()...), snapshotOf(t, 2, gossipstate.Mutation{Key: "a", Value: []byte("1")}), inParts(t),
	}
	s := serve(t, n)
	var out bytes.Buffer
	require.NoError(t, s.client.Export(t.Context(), "", &out))
	return s, out.String()
}

// lines are those of an export, their ends included.
func lines(export string) []string { return slices.Collect(strings.Lines(export)) }

// readExport reads an export to its end; bad are the lines that do not hold.
func readExport(in io.Reader) (owners []*replica.Snapshot, bad []string, err error) {
	r, err := NewExportReader(in)
	if err != nil {
		return nil, nil, err
	}
	for {
		s, err := r.Next()
		var line *LineError
		switch {
		case errors.Is(err, io.EOF):
			return owners, bad, nil
		case errors.As(err, &line):
			bad = append(bad, line.Error())
			if line.Fatal {
				return owners, bad, nil
			}
		case err != nil:
			return owners, bad, err
		default:
			owners = append(owners, s)
		}
	}
}

func TestExportIsReadBackAsItWasSigned(t *testing.T) {
	s, export := exporting(t)
	require.Len(t, lines(export), 5)
	owners, bad, err := readExport(iotest.OneByteReader(strings.NewReader(export)))
	require.NoError(t, err)
	require.Empty(t, bad)
	require.Equal(t, s.node.exports.snapshots, owners)
	require.Len(t, owners[2].Updates(), 2, "it takes two parts")
	require.Regexp(t, `^\{"schema":"p2pnode.export/v1","network":"lab","topic":"","prefix":"","node":"12D3KooW\w+","exported":"20\d\d-.*Z"\}\n$`, lines(export)[0])
	require.Regexp(t, `^\{"schema":"p2pnode.update/v1","network":"lab","topic":"main","owner":"12D3KooW\w+","generation":"1152921504606846976","version":"1","heard":"1795000000000","updates":\["[^"]+"\]\}\n$`, lines(export)[2])
	require.Equal(t, `{"schema":"p2pnode.export-end/v1","owners":"3"}`+"\n", lines(export)[4])
	again, _, err := readExport(strings.NewReader(strings.TrimSuffix(export, "\n")))
	require.NoError(t, err)
	require.Equal(t, owners, again, "the last line end may be missing")
}

func TestTheLargestOwnerFitsALine(t *testing.T) {
	owner := largest(t)
	var out bytes.Buffer
	require.NoError(t, (&exportWriter{out: &out}).owner("lab", owner))
	require.Less(t, out.Len(), MaxExportLine*3/4)
	require.Less(t, len(owner.Updates()), replica.MaxParts)
	read, err := openLine(bytes.TrimSpace(out.Bytes()), "lab")
	require.NoError(t, err)
	require.Equal(t, owner.Digest(), read.Digest())
	require.Equal(t, owner.Updates(), read.Updates())
}

func TestExportAsksForTopicAndPrefix(t *testing.T) {
	s := serve(t, newFakeNode())
	require.NoError(t, s.client.WithTopic("extra").Export(t.Context(), "app/", io.Discard))
	require.Equal(t, []replica.ExportOptions{{Topic: "extra", Prefix: "app/"}}, s.node.exports.asked)
	err := s.client.WithTopic("none").Export(t.Context(), "", io.Discard)
	require.Equal(t, node.CodeUnknownTopic, codeOf(t, err))
	require.Equal(t, http.StatusUnprocessableEntity, s.raw("GET", "/v1/export?owner=n1", "").status)
	require.Empty(t, s.raw("HEAD", "/v1/export", "").body)
}

func TestExportThatIsCutIsNoExport(t *testing.T) {
	s, _ := exporting(t)
	s.node.exports.err = replica.ErrStopped
	var out bytes.Buffer
	err := s.client.Export(t.Context(), "", &out)
	require.ErrorIs(t, err, errStreamEnded)
	_, bad, err := readExport(&out)
	require.NoError(t, err)
	require.Equal(t, []string{"line 4: the end of the file is missing: export again, or use what is there"}, bad)
	require.ErrorIs(t, s.client.Export(t.Context(), "", failing{}), errFailing)
}

var errFailing = errors.New("no room")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFailing }
func (failing) Read([]byte) (int, error)  { return 0, errFailing }

func TestExportLinesThatDoNotHoldAreNamed(t *testing.T) {
	_, export := exporting(t)
	edit := func(line int, change func(string) string) string {
		all := lines(export)
		all[line-1] = change(all[line-1])
		return strings.Join(all, "")
	}
	replace := func(line int, old, with string) string {
		return edit(line, func(s string) string {
			require.Contains(t, s, old)
			return strings.Replace(s, old, with, 1)
		})
	}
	for _, tt := range []struct{ what, export, want string }{
		{"another network", replace(3, `"network":"lab"`, `"network":"prod"`), `line 3: network: "prod" is not that of the first line, "lab"`},
		{"another topic", replace(3, `"topic":"main"`, `"topic":"extra"`), "line 3: bad signature: digest of 8139770e on lab/extra"},
		{"another owner", replace(3, `"owner":"12D3KooW`, `"owner":"12D3KooX`), "line 3: owner: it is signed by"},
		{"another generation", replace(3, `"generation":"1`, `"generation":"2`), "line 3: generation: the digest has"},
		{"another version", replace(3, `"version":"1"`, `"version":"2"`), "line 3: version: the digest has 1, not 2"},
		{"another schema", replace(3, "p2pnode.update/v1", "p2pnode.update/v2"), `line 3: schema: "p2pnode.update/v2" is not p2pnode.update/v1`},
		{"an unknown field", replace(3, `"heard"`, `"herd"`), `line 3: has an unknown field "herd"`},
		{"no parts", edit(3, func(s string) string { return s[:strings.Index(s, "[")] + "[]}\n" }), "line 3: malformed"},
		{"a part missing", edit(4, func(s string) string { return s[:strings.LastIndex(s, ",")] + "]}\n" }), "line 4: malformed"},
		{"parts in another order", edit(4, swapParts), "line 4: malformed"},
		{"no base64", replace(3, `"updates":["`, `"updates":["!`), "line 3: updates: part 1: must be base64"},
		{"not JSON", edit(3, func(string) string { return "{nonsense}\n" }), "line 3: is not JSON"},
		{"an empty line", edit(3, func(s string) string { return "\n" + s }), "line 3: is not a JSON object"},
		{"a line too few", edit(3, func(string) string { return "" }), "line 4: the export had 3 owners, 2 are there"},
		{"a line twice", edit(3, func(s string) string { return s + s }), "line 6: the export had 3 owners, 4 are there"},
		{"cut in a line", export[:len(export)-60], "line 4: ends too early: the file was cut"},
		{"cut behind a line", strings.Join(lines(export)[:3], ""), "line 3: the end of the file is missing"},
		{"two exports", export + export, "line 6: follows the last line of the export"},
		{"too long", edit(3, func(string) string { return strings.Repeat("x", MaxExportLine+1) + "\n" }), "line 3: is longer than 4 MiB"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			_, bad, err := readExport(strings.NewReader(tt.export))
			require.NoError(t, err)
			require.NotEmpty(t, bad)
			require.Contains(t, bad[0], tt.want)
		})
	}
	for _, tt := range []struct{ export, want string }{
		{"", "line 1: the file is empty"},
		{strings.Join(lines(export)[1:], ""), `line 1: no head of an export: schema "p2pnode.update/v1" is not p2pnode.export/v1`},
		{"hello\n", `line 1: no head of an export: schema "" is not p2pnode.export/v1`},
		{export[:40], "line 1: ends too early"},
	} {
		_, _, err := readExport(strings.NewReader(tt.export))
		require.ErrorContains(t, err, tt.want)
	}
}

// swapParts exchanges the first two parts of a line.
func swapParts(line string) string {
	open := strings.Index(line, "[") + 1
	all := strings.Split(line[open:strings.Index(line, "]")], ",")
	all[0], all[1] = all[1], all[0]
	return line[:open] + strings.Join(all, ",") + "]}\n"
}

// Whatever bit of an owner's line is changed, no other state than the one signed comes out of it.
func TestNoBitOfAnExportedOwnerCanBeChanged(t *testing.T) {
	want := snapshotOf(t, 2, gossipstate.Mutation{Key: "a", Value: []byte("1")})
	var out bytes.Buffer
	require.NoError(t, (&exportWriter{out: &out}).owner("lab", want))
	signed := out.String()
	for i := range 8 * (len(signed) - 1) {
		line := []byte(signed[:len(signed)-1])
		line[i/8] ^= 1 << (i % 8)
		s, err := openLine(line, "lab")
		if err == nil {
			require.Equal(t, want.Digest(), s.Digest(), "bit %d", i)
			require.Equal(t, want.Updates(), s.Updates(), "bit %d", i)
			require.NotEqual(t, want.Heard(), s.Heard(), "bit %d: only this field is not signed", i)
		}
	}
}

func TestImportTellsWhatBecameOfEachLine(t *testing.T) {
	s, export := exporting(t)
	all := lines(export)
	all[2] = strings.Replace(all[2], `"version":"1"`, `"version":"9"`, 1)
	results := map[string]replica.ImportResult{
		s.node.exports.snapshots[0].Owner().String(): replica.ImportStale, s.node.exports.snapshots[2].Owner().String(): replica.ImportApplied,
	}
	s.node.exports.take = func(s *replica.Snapshot) (replica.ImportResult, error) { return results[s.Owner().String()], nil }
	report, err := s.client.Import(t.Context(), strings.NewReader(strings.Join(all, "")), false)
	require.NoError(t, err)
	require.False(t, report.Complete())
	require.Equal(t, ImportReport{
		Schema: "p2pnode.import/v1", Network: "lab", Applied: 1, Stale: 1, Bad: 1,
		Problems: []ImportProblem{{Line: 3, Result: ImportBad, Detail: "version: the digest has 1, not 9"}},
	}, report)
	require.Equal(t, []bool{false}, s.node.exports.dryRuns)
	require.Equal(t, s.node.exports.snapshots[2:], s.node.exports.taken)
}

func TestImportSaysForEachRefusalWhatHelps(t *testing.T) {
	s, export := exporting(t)
	for _, tt := range []struct {
		result replica.ImportResult
		err    error
		want   ImportProblem
	}{
		{replica.ImportForgotten, nil, ImportProblem{Result: "forgotten", Detail: "membership.forget_after"}},
		{replica.ImportOwnerUnknown, nil, ImportProblem{Result: "owner_unknown", Detail: "its line of topic members first"}},
		{replica.ImportOwnChanged, nil, ImportProblem{Result: "own_changed", Detail: "import before it writes"}},
		{replica.ImportRefused, gossipstate.ErrLimit, ImportProblem{Result: "refused", Detail: gossipstate.ErrLimit.Error()}},
		{"", &replica.UnknownTopicError{Topic: "main"}, ImportProblem{Result: "unknown_topic", Detail: "start it with --topic main"}},
	} {
		s.node.exports.take = func(*replica.Snapshot) (replica.ImportResult, error) { return tt.result, tt.err }
		report, err := s.client.Import(t.Context(), strings.NewReader(export), true)
		require.NoError(t, err)
		require.True(t, report.DryRun)
		require.Len(t, report.Problems, 3)
		p := report.Problems[0]
		require.Equal(t, tt.want.Result, p.Result)
		require.Equal(t, 2, p.Line)
		require.Equal(t, "main", p.Topic)
		require.Equal(t, s.node.exports.snapshots[0].Owner().String(), p.Owner)
		require.Contains(t, p.Detail, tt.want.Detail)
		require.Equal(t, 3, *report.counter(tt.want.Result))
	}
	s.node.exports.take = func(*replica.Snapshot) (replica.ImportResult, error) { return "", replica.ErrStopped }
	_, err := s.client.Import(t.Context(), strings.NewReader(export), false)
	require.Equal(t, node.CodeStopped, codeOf(t, err))
}

func TestImportOfWhatIsNoneChangesNothing(t *testing.T) {
	s, export := exporting(t)
	for _, tt := range []struct{ export, want string }{
		{"", "the file is empty"},
		{"teal", "ends too early"},
		{strings.Replace(export, `"network":"lab"`, `"network":"prod"`, 1), `the export is of network "prod", this node is on "lab"`},
		{strings.Repeat("x", 3*MaxExportLine), "is longer than 4 MiB"},
	} {
		_, err := s.client.Import(t.Context(), strings.NewReader(tt.export), false)
		require.Equal(t, node.CodeBadExport, codeOf(t, err))
		require.ErrorContains(t, err, "line 1: "+tt.want)
	}
	require.Empty(t, s.node.exports.taken)
	_, err := s.client.Import(t.Context(), failing{}, false)
	require.ErrorIs(t, err, errFailing)
}

func TestImportTellsOfAHundredProblemsAndCountsTheOthers(t *testing.T) {
	s, export := exporting(t)
	all := lines(export)
	text := all[0] + strings.Repeat("{}\n", 250) + `{"schema":"p2pnode.export-end/v1","owners":"250"}` + "\n"
	report, err := s.client.Import(t.Context(), strings.NewReader(text), false)
	require.NoError(t, err)
	require.Equal(t, 250, report.Bad)
	require.Len(t, report.Problems, 100)
	require.Equal(t, 150, report.Omitted)
	require.Equal(t, 101, report.Problems[99].Line)
}

// An export of any size is read in the memory of one line.
func TestImportNeedsTheMemoryOfOneLine(t *testing.T) {
	_, export := exporting(t)
	all := lines(export)
	const owners = 20
	read := func(n int) float64 {
		text := strings.NewReader(all[0])
		in := io.MultiReader(text, strings.NewReader(strings.Repeat("{}"+strings.Repeat(" ", 1<<20)+"\n", n)))
		r, err := NewExportReader(in)
		require.NoError(t, err)
		for range n {
			_, err := r.Next()
			require.Error(t, err)
		}
		return float64(cap(r.buf))
	}
	require.Equal(t, read(2), read(owners))
}
