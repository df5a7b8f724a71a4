package report

import (
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// ThisMachine describes the machine that the program runs on: the cores that it may
// use, and "unknown" for what the machine does not tell.
func ThisMachine() Machine {
	m := Machine{CPU: "unknown", Cores: runtime.NumCPU(), Kernel: "unknown", Go: runtime.Version()}
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return m
}

// ThisCommit is the commit of the working directory, as [Run.Commit] has it. A changed
// document does not make it a dirty one: what is measured is what Go builds, which is also
// files that git does not know yet, and profiles for the compiler. Without git or a
// repository it is "unknown".
func ThisCommit() string {
	out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	commit := strings.TrimSpace(string(out))
	changed, err := exec.Command("git", "status", "--porcelain", "--", "*.go", "go.mod", "go.sum", "*.pgo").Output()
	if err != nil || len(changed) > 0 {
		commit += "-dirty"
	}
	return commit
}
