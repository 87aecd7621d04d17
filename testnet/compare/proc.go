package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of times in /proc/PID/stat: sysconf(_SC_CLK_TCK), which is 100 a second on every Linux since 2.6.
const clockTick = 10 * time.Millisecond

// usage is what a process has used since its start, and holds now.
type usage struct {
	cpu time.Duration // of all its threads, user and system, rounded down to clockTick
	rss int64         // bytes
}

func processUsage(pid int) (usage, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	return parseStat(string(b), int64(os.Getpagesize()))
}

// parseStat reads a line of /proc/PID/stat. The name of the program, in parentheses, may hold anything, so fields count from
// its end, where the third one stands.
func parseStat(stat string, pageSize int64) (usage, error) {
	i := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[i+1:])
	if i < 0 || len(fields) < 22 {
		return usage{}, errors.New("/proc/PID/stat has an unknown form")
	}
	var n [3]int64
	for j, field := range []int{14, 15, 24} { // utime, stime, rss: numbers of proc(5)
		var err error
		if n[j], err = strconv.ParseInt(fields[field-3], 10, 64); err != nil {
			return usage{}, fmt.Errorf("field %d of /proc/PID/stat: %w", field, err)
		}
	}
	return usage{cpu: time.Duration(n[0]+n[1]) * clockTick, rss: n[2] * pageSize}, nil
}
