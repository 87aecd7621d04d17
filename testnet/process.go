package testnet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	pollProcess = 5 * time.Millisecond // a look at /proc costs some 20 us
	killWait    = 5 * time.Second      // after SIGKILL; longer only when the kernel itself hangs
)

// process names one process for good: a pid alone may be another's tomorrow.
type process struct {
	pid   int
	start uint64 // clock ticks from boot to its start, field 22 of /proc/PID/stat
	boot  string // kernel's id of this boot
}

// identify says which process has pid now. The error is os.ErrProcessDone when none has, or only its exit code is left.
func identify(pid int) (process, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		if _, err := os.Stat("/proc/self/stat"); err != nil {
			return process{}, fmt.Errorf("tell processes apart: %w", err)
		}
		return process{}, os.ErrProcessDone
	}
	if err != nil {
		return process{}, err
	}
	// The name, in parentheses, may hold anything, so fields count from its end: state is the first, start time the 20th.
	_, rest, ok := cutLast(string(stat), ")")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return process{}, fmt.Errorf("/proc/%d/stat has an unknown form", pid)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return process{}, os.ErrProcessDone
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return process{}, fmt.Errorf("/proc/%d/stat: start time: %w", pid, err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return process{}, err
	}
	return process{pid: pid, start: start, boot: strings.TrimSpace(string(boot))}, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// alive says whether this very process still runs.
func (p process) alive() bool {
	now, err := identify(p.pid)
	return err == nil && now == p
}

// signal sends sig to this very process, or returns os.ErrProcessDone.
func (p process) signal(sig syscall.Signal) error {
	// The handle is taken first: whatever has the pid later, it stands for the process that the check then looks at.
	h, err := os.FindProcess(p.pid)
	if err != nil {
		return err
	}
	defer h.Release()
	if !p.alive() {
		return os.ErrProcessDone
	}
	return h.Signal(sig)
}

// gone returns when the process has ended, or ctx.
func (p process) gone(ctx context.Context) error {
	tick := time.NewTicker(pollProcess)
	defer tick.Stop()
	for p.alive() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// stop ends all of ps together: SIGTERM, then SIGKILL for those that live after grace or when ctx ends. It returns how many
// had been alive.
func stop(ctx context.Context, grace time.Duration, ps []process) (int, error) {
	ps = slices.DeleteFunc(slices.Clone(ps), func(p process) bool { return !p.alive() })
	for _, p := range ps {
		if err := p.signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return 0, fmt.Errorf("stop process %d: %w", p.pid, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	for _, p := range ps {
		if p.gone(ctx) == nil {
			continue
		}
		if err := kill(p); err != nil {
			return 0, err
		}
	}
	return len(ps), nil
}

// kill ends p by SIGKILL and returns when it is gone.
func kill(p process) error {
	if err := p.signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill process %d: %w", p.pid, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), killWait)
	defer cancel()
	if err := p.gone(ctx); err != nil {
		return fmt.Errorf("process %d lives on after SIGKILL: %w", p.pid, err)
	}
	return nil
}

// writePID records p in file, whole or not at all.
func writePID(file string, p process) error {
	return writeFile(file, fmt.Appendf(nil, "%d %d %s\n", p.pid, p.start, p.boot))
}

// readPID returns the process that file names. It may have ended long ago.
func readPID(file string) (process, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return process{}, err
	}
	var p process
	if _, err := fmt.Sscanf(string(b), "%d %d %s\n", &p.pid, &p.start, &p.boot); err != nil || p.pid <= 0 {
		return process{}, fmt.Errorf("%s is no pid file", file)
	}
	return p, nil
}

// strays finds the processes `PROGRAM run --home DIR/...` of this machine: nodes whose pid file was never written since the
// command that started them was killed in that very moment.
func strays(dir string) ([]process, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	var found []process
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile
		}
		argv := strings.Split(string(b), "\x00")
		home := slices.Index(argv, "--home") + 1
		if len(argv) < 2 || argv[1] != "run" || home == 0 || home == len(argv) || filepath.Dir(argv[home]) != dir {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			continue
		}
		if p, err := identify(pid); err == nil {
			found = append(found, p)
		}
	}
	return found, nil
}

// writeFile replaces file by data in one step.
func writeFile(file string, data []byte) error {
	tmp := file + ".tmp"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}
