package timerslack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// These make the test's binary a program that says how it was started, widens, and says what
// came of it; and one that forbids its file to be executed before.
const (
	asProgram  = "TIMERSLACK_TEST_PROGRAM"
	forbidding = "TIMERSLACK_TEST_FORBIDDING"
)

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	name, _ := os.ReadFile("/proc/self/comm")
	_, anew := os.LookupEnv(mark)
	fmt.Printf("started as %d %q, anew: %v, called %s", os.Getpid(), os.Args, anew, name)
	if os.Getenv(forbidding) != "" {
		if err := os.Chmod(os.Args[0], 0o600); err != nil {
			fmt.Println(err)
		}
	}
	before := openFiles()
	slack, err := Widen()
	now, _ := get()
	fmt.Println("slack", slack, now, err)
	if openFiles() != before {
		fmt.Println("limit of open files", openFiles(), "and before", before)
	}
	fmt.Printf("environment %q\n", os.Environ())
}

func openFiles() (limit syscall.Rlimit) {
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		fmt.Println(err)
	}
	return limit
}

func TestWiden(t *testing.T) {
	t.Parallel()
	const more, less = 70 * time.Microsecond, 20 * time.Microsecond
	for _, tt := range []struct {
		name         string
		before, want time.Duration
		environment  []string
		anew         []bool // of each start, whether it is marked so
		why          string
	}{
		{"one processor", usual, wide, []string{"GOMAXPROCS=1"}, []bool{false, true}, "<nil>"},
		{"two processors", usual, usual, []string{"GOMAXPROCS=2"}, []bool{false}, "<nil>"},
		{"more slack, by somebody's choice", more, more, []string{"GOMAXPROCS=1"}, []bool{false}, "<nil>"},
		{"less slack, by somebody's choice", less, less, []string{"GOMAXPROCS=1"}, []bool{false}, "<nil>"},
		{"not for ever", usual, usual, []string{"GOMAXPROCS=1", mark + "=1"}, []bool{true}, "timer slack: it was set, "},
		{"forbidden", usual, usual, []string{"GOMAXPROCS=1", forbidding + "=1"}, []bool{false}, "timer slack: start "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := program(t)
			// Below the hard limit, Go changes that of open files.
			command := exec.Command("/bin/sh", "-c", `ulimit -S -n 64; exec "$@"`, "sh", path, "one argument", "another")
			command.Env = append(tt.environment, "ODD=a b=c", asProgram+"=1")
			said := run(t, command, tt.before)

			if n := strings.Count(said, "started as "); n != len(tt.anew) {
				t.Errorf("the program said\n%s\nwant it started %d times", said, len(tt.anew))
			}
			checkStarts(t, said, command, []string{path, "one argument", "another"}, "program", tt.anew...)
			for _, want := range []string{
				fmt.Sprintf("slack %v %v %s", tt.want, tt.want, tt.why),
				`"ODD=a b=c"`,
			} {
				if !strings.Contains(said, want) {
					t.Errorf("the program said\n%s\nwant %s", said, want)
				}
			}
			if strings.Contains(said, mark) {
				t.Errorf("the program said\n%s\nwant an environment without %s", said, mark)
			}
			if strings.Contains(said, "limit of open files") {
				t.Errorf("the program said\n%s\nwant the limit of open files as it was", said)
			}
		})
	}
}

// The program that goes on is the one that began, by the name that it was called.
func TestWhichProgram(t *testing.T) {
	t.Parallel()
	path := program(t)
	link := filepath.Join(t.TempDir(), "called")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		command *exec.Cmd
		then    string // the name of the process at last
	}{
		{"by a link", exec.Command(link), "called"},
		{"from the PATH", &exec.Cmd{Path: link, Args: []string{"called"}, Env: []string{"PATH=" + filepath.Dir(link)}}, "called"},
		{"as another program", &exec.Cmd{Path: link, Args: []string{"/bin/true"}}, "program"},
		{"as no program", &exec.Cmd{Path: link, Args: []string{""}}, "program"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			command := tt.command
			command.Env = append(command.Env, asProgram+"=1", "GOMAXPROCS=1")
			said := run(t, command, usual)
			checkStarts(t, said, command, command.Args, "called", false)
			checkStarts(t, said, command, command.Args, tt.then, true)
			if !strings.Contains(said, fmt.Sprintf("slack %v %v <nil>", wide, wide)) {
				t.Errorf("the program said\n%s\nwant a slack of %v", said, wide)
			}
		})
	}
}

// checkStarts wants the starts in said that are marked as anew as it is told, and no others
// of those marks, with the arguments, as the process and by the name.
func checkStarts(t *testing.T, said string, command *exec.Cmd, args []string, name string, anew ...bool) {
	t.Helper()
	for _, marked := range anew {
		want := fmt.Sprintf("started as %d %q, anew: %v, called %s\n", command.Process.Pid, args, marked, name)
		if n := strings.Count(said, fmt.Sprintf("anew: %v,", marked)); n != 1 || !strings.Contains(said, want) {
			t.Errorf("the program said\n%s\nwant once %q", said, want)
		}
	}
}

// program returns the path of a copy of the test's binary.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	// A file that this process had written could still be open for that in a child of another test.
	if said, err := exec.Command("cp", os.Args[0], path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	return path
}

// run returns what a program says that is started with that slack, which it has from the thread
// that starts it.
func run(t *testing.T, command *exec.Cmd, slack time.Duration) string {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := get()
	if err == nil {
		err = set(slack)
	}
	if err != nil {
		t.Fatal(err)
	}
	said, err := command.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, said)
	}
	if err := set(before); err != nil {
		t.Error(err)
	}
	return string(said)
}
