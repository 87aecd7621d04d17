// Package bubble makes tests in bubbles of testing/synctest safe under the race detector. A package that has such tests imports it
// for that effect in a test file.
package bubble
