//go:build linux || darwin

package node

import (
	"os"
	"syscall"
)

// diskSpace is how many bytes this user may still write to the file system of dir, and how many it has in all.
func diskSpace(dir string) (free, total uint64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	blocks := s.Bavail
	if os.Geteuid() == 0 {
		blocks = s.Bfree // some are kept for root
	}
	return blocks * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), nil
}
