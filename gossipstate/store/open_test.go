package store

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

func TestTheFileIsForItsOwnerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	mode := func() os.FileMode {
		info, err := os.Stat(path)
		require.NoError(t, err)
		return info.Mode()
	}
	require.NoError(t, openAt(t, path).Close())
	require.Equal(t, os.FileMode(0o600), mode())
	require.NoError(t, os.Chmod(path, 0o644))
	require.NoError(t, openAt(t, path).Close())
	require.Equal(t, os.FileMode(0o600), mode())
}

func TestAStoreInUseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := openAt(t, path)
	require.NoError(t, s.Commit([]Write{put("main", owner(1), 1)}))
	image, err := os.ReadFile(path)
	require.NoError(t, err)

	o := options{noSync: true, lockWait: time.Millisecond}
	_, damaged, err := open(path, start, o)
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, path)
	require.Nil(t, damaged)
	_, err = connect(path, o) // who took the lock between the check and here
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, path)

	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, image, after)
	require.Len(t, load(t, s, "main"), 1)
	require.NoError(t, s.Close())
	openAt(t, path)
}

func TestOpenWaitsForAPredecessor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	old := openAt(t, path)
	type result struct {
		s   *Store
		err error
	}
	opened := make(chan result, 1)
	go func() {
		s, _, err := open(path, start, options{noSync: true, lockWait: time.Minute})
		opened <- result{s, err}
	}()
	require.NoError(t, old.Close())
	r := <-opened
	require.NoError(t, r.err)
	require.NoError(t, r.s.Close())
}

func TestWhatIsNoFileIsAnError(t *testing.T) {
	dir := t.TempDir()
	for what, path := range map[string]string{
		"a directory":      dir,
		"no directory":     filepath.Join(dir, "absent", "state.db"),
		"a special device": os.DevNull,
	} {
		s, damaged, err := open(path, start, testOptions)
		require.Error(t, err, what)
		require.Nil(t, s, what)
		require.Nil(t, damaged, what)
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestAnotherDataFormatIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	require.NoError(t, openAt(t, path).Close())
	editMeta(t, path, formatKey, seal(metaBucket, formatKey, binary.BigEndian.AppendUint32(nil, formatVersion+1)))
	require.NoError(t, os.Chmod(path, 0o640))
	before, err := os.ReadFile(path)
	require.NoError(t, err)

	_, damaged, err := open(path, start, testOptions)
	var format *FormatError
	require.ErrorAs(t, err, &format)
	require.Equal(t, FormatError{Path: path, Have: formatVersion + 1, Want: formatVersion}, *format)
	require.ErrorContains(t, err, "newer version")
	require.Nil(t, damaged)

	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode())
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1)
}

func TestForeignFilesAreMovedAside(t *testing.T) {
	bolt := func(edit func(*bbolt.Tx) error) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			db, err := bbolt.Open(path, 0o600, nil)
			require.NoError(t, err)
			require.NoError(t, db.Update(edit))
			require.NoError(t, db.Close())
		}
	}
	text := func(s string) func(*testing.T, string) {
		return func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, []byte(s), 0o600)) }
	}
	for name, write := range map[string]func(*testing.T, string){
		"one byte": text("x"),
		"text":     text("dear diary"),
		"zeros":    text(string(make([]byte, 1<<16))),
		"another program's database": bolt(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("users"))
			return err
		}),
		"no data format": bolt(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket(metaBucket)
			return err
		}),
		"a short data format": bolt(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket(metaBucket)
			if err != nil {
				return err
			}
			return b.Put(formatKey, seal(metaBucket, formatKey, []byte{1}))
		}),
		"a bucket inside a bucket": bolt(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket(metaBucket)
			if err != nil {
				return err
			}
			_, err = b.CreateBucket([]byte("inner"))
			return err
		}),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			write(t, path)
			requireQuarantine(t, path)
		})
	}
}

// requireQuarantine opens the damaged file at path and requires that it is moved aside, whole, and replaced.
func requireQuarantine(t *testing.T, path string) {
	t.Helper()
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	s, damaged, err := open(path, start, testOptions)
	require.NoError(t, err)
	require.NotNil(t, damaged)
	require.Equal(t, path, damaged.Path)
	require.ErrorContains(t, damaged, damaged.Quarantine)
	moved, err := os.ReadFile(damaged.Quarantine)
	require.NoError(t, err)
	require.Equal(t, image, moved)
	require.NoError(t, s.Commit([]Write{put("main", owner(1), 1)}))
	require.Len(t, load(t, s, "main"), 1)
	require.NoError(t, s.Close())
	openAt(t, path)
}

func TestQuarantinesDoNotOverwriteOneAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	for i, want := range []string{"", "-2", "-3"} {
		require.NoError(t, os.WriteFile(path, []byte{byte(i)}, 0o600))
		s, damaged, err := open(path, start.In(time.FixedZone("", 3600)), testOptions)
		require.NoError(t, err)
		require.Equal(t, path+".corrupt-20260301T120000Z"+want, damaged.Quarantine)
		require.NoError(t, s.Close())
	}
	first, err := os.ReadFile(path + ".corrupt-20260301T120000Z")
	require.NoError(t, err)
	require.Equal(t, []byte{0}, first)
}

func TestAFileThatCannotBeMovedAsideStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
	for i := range maxQuarantines { // directories: they are no files that were moved aside
		name := path + ".corrupt-20260301T120000Z"
		if i > 0 {
			name += fmt.Sprintf("-%d", i+1)
		}
		require.NoError(t, os.Mkdir(name, 0o700))
	}
	_, damaged, err := open(path, start, testOptions)
	require.ErrorIs(t, err, os.ErrExist)
	var corrupt *CorruptError
	require.ErrorAs(t, err, &corrupt)
	require.Nil(t, damaged)
	require.FileExists(t, path)
}

// editMeta replaces a record of the meta bucket behind the store's back.
func editMeta(t *testing.T, path string, key, record []byte) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Put(key, record) }))
	require.NoError(t, db.Close())
}
