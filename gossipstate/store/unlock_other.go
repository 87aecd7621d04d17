//go:build !unix || aix || android || solaris

package store

import "os"

// unlock does nothing: here bbolt's lock ends with f.Close.
func unlock(*os.File) error { return nil }
