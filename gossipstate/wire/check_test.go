package wire_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func TestCheckName(t *testing.T) {
	for name, want := range map[string]string{
		"a":                      "",
		"main":                   "",
		"0-9-az":                 "",
		"-":                      "",
		strings.Repeat("n", 32):  "",
		"":                       `topic name "": must have 1 to 32 characters`,
		strings.Repeat("n", 33):  `topic name "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn": must have 1 to 32 characters`,
		strings.Repeat("n", 999): `topic name "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn": must have 1 to 32 characters`,
		"Main":                   `topic name "Main": only a-z, 0-9 and '-' are allowed`,
		"my topic":               `topic name "my topic": only a-z, 0-9 and '-' are allowed`,
		"my_topic":               `topic name "my_topic": only a-z, 0-9 and '-' are allowed`,
		"a/b":                    `topic name "a/b": only a-z, 0-9 and '-' are allowed`,
		"ma\x00in":               `topic name "ma\x00in": only a-z, 0-9 and '-' are allowed`,
		"clé":                    `topic name "clé": only a-z, 0-9 and '-' are allowed`,
		"cl\xe9":                 `topic name "cl\xe9": only a-z, 0-9 and '-' are allowed`,
		"ｍain":                   `topic name "ｍain": only a-z, 0-9 and '-' are allowed`,
	} {
		err := wire.CheckName("topic", name)
		if want == "" {
			require.NoError(t, err, "%q", name)
		} else {
			require.EqualError(t, err, want)
		}
	}
}

func TestDomainValidateNamesTheBadPart(t *testing.T) {
	require.NoError(t, mainDomain.Validate())
	require.ErrorContains(t, wire.Domain{Network: "N", Topic: "main"}.Validate(), `network name "N"`)
	require.ErrorContains(t, wire.Domain{Network: "n", Topic: "Main"}.Validate(), `topic name "Main"`)
	require.ErrorContains(t, wire.Domain{}.Validate(), `network name ""`)
}

func TestEntryCheck(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*wire.Entry)
		want   error
		says   string
	}{
		"a small entry":                       {func(*wire.Entry) {}, nil, ""},
		"an empty value":                      {func(e *wire.Entry) { e.Value = nil }, nil, ""},
		"a tombstone":                         {func(e *wire.Entry) { e.Tombstone, e.Value = true, nil }, nil, ""},
		"a tombstone with a content type":     {func(e *wire.Entry) { e.Tombstone, e.Value, e.ContentType = true, nil, "a/b" }, nil, ""},
		"a key of one byte":                   {func(e *wire.Entry) { e.Key = "\x00" }, nil, ""},
		"a key of 256 bytes":                  {func(e *wire.Entry) { e.Key = strings.Repeat("k", 256) }, nil, ""},
		"a key of 257 bytes":                  {func(e *wire.Entry) { e.Key = strings.Repeat("k", 257) }, wire.ErrTooLarge, "key of 257 bytes, the limit is 256"},
		"256 bytes in 86 characters":          {func(e *wire.Entry) { e.Key = strings.Repeat("鍵", 85) + "k" }, nil, ""},
		"a key of no bytes":                   {func(e *wire.Entry) { e.Key = "" }, wire.ErrMalformed, "empty key"},
		"a key that is not UTF-8":             {func(e *wire.Entry) { e.Key = "\xff" }, wire.ErrMalformed, "key is not UTF-8"},
		"a value of 64 KiB":                   {func(e *wire.Entry) { e.Value = make([]byte, 65536) }, nil, ""},
		"a value of 64 KiB + 1":               {func(e *wire.Entry) { e.Value = make([]byte, 65537) }, wire.ErrTooLarge, "value of 65537 bytes, the limit is 65536"},
		"1,024 bytes of content type":         {func(e *wire.Entry) { e.ContentType = strings.Repeat("c", 1024) }, nil, ""},
		"1,024 bytes of ext":                  {func(e *wire.Entry) { e.Ext = make([]byte, 1024) }, nil, ""},
		"1,025 bytes of both":                 {func(e *wire.Entry) { e.ContentType, e.Ext = "c", make([]byte, 1024) }, wire.ErrTooLarge, "content type and ext of 1025 bytes, the limit is 1024"},
		"a content type that is not UTF-8":    {func(e *wire.Entry) { e.ContentType = "\xc3" }, wire.ErrMalformed, "content type is not UTF-8"},
		"ext of any bytes":                    {func(e *wire.Entry) { e.Ext = []byte{0xff, 0} }, nil, ""},
		"no version":                          {func(e *wire.Entry) { e.Version = 0 }, wire.ErrMalformed, "version 0 and clock 1"},
		"no clock":                            {func(e *wire.Entry) { e.Clock = 0 }, wire.ErrMalformed, "version 5 and clock 0"},
		"a tombstone with a value":            {func(e *wire.Entry) { e.Tombstone = true }, wire.ErrMalformed, "tombstone with a value"},
		"an entry that expired long ago":      {func(e *wire.Entry) { e.Written, e.Expires = 9, 1 }, nil, ""},
		"integers at their top":               {func(e *wire.Entry) { e.Version, e.Clock, e.Written, e.Expires = 1<<64-1, 1<<64-1, 1<<64-1, 1<<64-1 }, nil, ""},
		"everything at its limit at one time": {func(e *wire.Entry) { *e = largestEntry() }, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := with(smallEntry(), c.change)
			err := e.Check()
			require.Equal(t, c.want == nil, len(slowEntryFaults(&e)) == 0, "the reference disagrees")
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.says)
			require.Less(t, len(err.Error()), 200, "an error does not carry what a peer sent")
		})
	}
}

func TestUpdateOfMoreEntriesThanAnOwnerMayHaveIsTooLarge(t *testing.T) {
	entries := make([]wire.Entry, wire.MaxEntries+1)
	for i := range entries {
		entries[i] = wire.Entry{Key: "k", Version: wire.Version(i + 1), Clock: 1}
	}
	d := wire.Digest{Generation: 1, Version: wire.Version(len(entries))}
	whole := alice.commit(mainDomain, d, 0, entries, entries[len(entries)-1:])
	_, err := wire.Verify(mainDomain, whole)
	require.ErrorIs(t, err, wire.ErrTooLarge)
	whole.Entries = entries[:wire.MaxEntries]
	_, err = wire.Verify(mainDomain, whole)
	require.NoError(t, err)
}

func TestLeafTellsEveryFieldApart(t *testing.T) {
	base := fullEntry()
	changes := map[string]func(*wire.Entry){
		"key":                  func(e *wire.Entry) { e.Key += "x" },
		"value":                func(e *wire.Entry) { e.Value = append(bytes.Clone(e.Value), 0) },
		"no value":             func(e *wire.Entry) { e.Value = nil },
		"version":              func(e *wire.Entry) { e.Version-- },
		"clock":                func(e *wire.Entry) { e.Clock-- },
		"written":              func(e *wire.Entry) { e.Written-- },
		"expires":              func(e *wire.Entry) { e.Expires-- },
		"tombstone":            func(e *wire.Entry) { e.Tombstone = true },
		"content type":         func(e *wire.Entry) { e.ContentType += "x" },
		"ext":                  func(e *wire.Entry) { e.Ext = append(bytes.Clone(e.Ext), 0) },
		"content type to ext":  func(e *wire.Entry) { e.ContentType, e.Ext = "", append([]byte(e.ContentType), e.Ext...) },
		"swapped times":        func(e *wire.Entry) { e.Written, e.Expires = 1, 2 },
		"swapped back":         func(e *wire.Entry) { e.Written, e.Expires = 2, 1 },
		"ext long as a length": func(e *wire.Entry) { e.Ext = make([]byte, 256) },
	}
	seen := map[[32]byte]string{wire.LeafHash(wire.KeyHash(base.Key), &base): "unchanged"}
	for name, change := range changes {
		e := with(base, change)
		leaf := wire.LeafHash(wire.KeyHash(e.Key), &e)
		require.Equal(t, slowLeaf(&e), leaf)
		require.Empty(t, seen[leaf], "%s makes the same leaf", name)
		seen[leaf] = name
	}
}

func TestOrders(t *testing.T) {
	low, high := wire.ID{0: 1}, wire.ID{0: 1, 31: 1}
	require.Negative(t, low.Compare(high))
	require.Positive(t, high.Compare(low))
	require.Zero(t, low.Compare(low))

	digests := []wire.Digest{ // rising
		{Generation: 1, Version: 1},
		{Generation: 1, Version: 1, Root: wire.Root{31: 1}},
		{Generation: 1, Version: 1, Root: wire.Root{0: 1}},
		{Generation: 1, Version: 9},
		{Generation: 2, Version: 1},
	}
	entries := []wire.Entry{ // rising
		{Version: 1, Key: "b"}, {Version: 2, Key: "Z"}, {Version: 2, Key: "a"}, {Version: 2, Key: "a\x00"}, {Version: 2, Key: "é"}, {Version: 10, Key: "a"},
	}
	for i := range digests {
		for j := range digests {
			require.Equal(t, i < j, digests[i].Compare(&digests[j]) < 0)
		}
	}
	for i := range entries {
		for j := range entries {
			require.Equal(t, i < j, entries[i].Compare(&entries[j]) < 0)
		}
	}
}

func TestShortForms(t *testing.T) {
	require.Equal(t, "01020304", wire.ID{1, 2, 3, 4, 5}.String())
	require.Equal(t, uint32(0xa0a1a2a3), sampleAnchor.Name())
	require.Equal(t, "running", wire.Running.String())
	require.Equal(t, "leaving", wire.Leaving.String())
	full := fullEntry()
	require.Equal(t, 37+18+16+4, full.Size())
}

func TestSyncUpdateKeepsItsAgeInWholeMilliseconds(t *testing.T) {
	f := wire.SyncFrame{Update: &wire.SyncUpdate{Topic: "main", Update: sampleUpdate(), Age: 1500*time.Microsecond + 7}}
	got, err := wire.UnmarshalSyncFrame(wire.MarshalSyncFrame(&f))
	require.NoError(t, err)
	require.Equal(t, time.Millisecond, got.Update.Age)
}
