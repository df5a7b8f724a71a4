// Package usage reads what processes use, by the kernel's accounting. Linux only.
//
// CPU time comes from the CPU clock of a process (clock_getcpuclockid(3)): user and
// system time of all its threads, of those that have ended too, in nanoseconds and
// up to the moment of the call. /proc/PID/stat has the same sum in hundredths of a
// second; /proc/PID/task/*/schedstat forgets threads that have ended. Nothing has
// to be writable and nobody has to be root, as cgroups would ask for.
package usage

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// clockOfProcess is what clock_getcpuclockid(3) makes of a process ID: the
// scheduler's clock (2) of the whole process.
func clockOfProcess(pid int) int32 { return int32(^pid<<3 | 2) }

// CPU returns the user and system time that the processes have used so far. One that
// has ended is an error: its time would be missing.
func CPU(pids ...int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		var t unix.Timespec
		if err := unix.ClockGettime(clockOfProcess(pid), &t); err != nil {
			return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
		}
		sum += time.Duration(t.Nano())
	}
	return sum, nil
}

// Tree returns the processes that descend from pid, with itself, in ascending order.
func Tree(pid int) ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// The name, in parentheses, may itself have spaces and parentheses.
		_, rest, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
		fields := bytes.Fields(rest) // state, parent, …
		if len(fields) < 2 {
			continue
		}
		parent, err := strconv.Atoi(string(fields[1]))
		if err != nil {
			return nil, fmt.Errorf("%s: parent: %w", file, err)
		}
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		children[parent] = append(children[parent], child)
	}
	tree := []int{pid}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i]]...)
	}
	slices.Sort(tree)
	return tree, nil
}
