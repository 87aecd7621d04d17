package store

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// keptQuarantines is how many damaged files stay beside the store, the one moved last among them: enough to look into what
// happens again and again, and no more disk than that. A guess.
const keptQuarantines = 3

// aside matches what moveAside appends to a path: when, and which of that second.
var aside = regexp.MustCompile(`^\.corrupt-(\d{8}T\d{6}Z)(?:-(\d{1,9}))?$`)

// quarantined is a file that moveAside has made.
type quarantined struct {
	path   string
	when   string
	number int
}

// pruneQuarantines removes the oldest files that were moved aside from path, and returns those that are gone. newest, the one
// moved just now, stays whatever the clock said.
func pruneQuarantines(path, newest string) (pruned []string) {
	all := quarantines(path)
	all = slices.DeleteFunc(all, func(q quarantined) bool { return q.path == newest })
	for len(all) > keptQuarantines-1 {
		if os.Remove(all[0].path) == nil { // one that can't be removed is not in the way
			pruned = append(pruned, all[0].path)
		}
		all = all[1:]
	}
	return pruned
}

// quarantines lists what was moved aside from path, oldest first.
func quarantines(path string) []quarantined {
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(filepath.Clean(dir + "."))
	if err != nil {
		return nil
	}
	var all []quarantined
	for _, e := range entries {
		rest, found := strings.CutPrefix(e.Name(), base)
		m := aside.FindStringSubmatch(rest)
		if !found || m == nil || !e.Type().IsRegular() {
			continue
		}
		number := 1 // the first has none
		if m[2] != "" {
			number, _ = strconv.Atoi(m[2]) // digits, too few to be out of range
		}
		all = append(all, quarantined{dir + e.Name(), m[1], number})
	}
	slices.SortFunc(all, func(a, b quarantined) int {
		return cmp.Or(strings.Compare(a.when, b.when), cmp.Compare(a.number, b.number))
	})
	return all
}
