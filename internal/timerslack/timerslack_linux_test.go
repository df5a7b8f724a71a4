package timerslack

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// asProgram makes the test's binary a program that widens and says what came of it.
const asProgram = "TIMERSLACK_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	slack, err := Widen()
	fmt.Println(slack, err, os.Getpid(), strings.Join(os.Args[1:], " "))
}

func TestWiden(t *testing.T) {
	t.Parallel()
	const chosen = 70 * time.Microsecond
	for _, tt := range []struct {
		name         string
		processors   string
		before, want time.Duration
	}{
		{"one processor", "1", usual, wide},
		{"two processors", "2", usual, usual},
		{"a slack that somebody chose", "1", chosen, chosen},
		{"already wide", "1", wide, wide},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			program := exec.Command(os.Args[0], "one argument", "another")
			program.Env = append(os.Environ(), asProgram+"=1", "GOMAXPROCS="+tt.processors)
			var said strings.Builder
			program.Stdout, program.Stderr = &said, &said
			start(t, program, tt.before)
			if err := program.Wait(); err != nil {
				t.Fatalf("%v: %s", err, said.String())
			}
			want := fmt.Sprintln(tt.want, nil, program.Process.Pid, "one argument another")
			if said.String() != want {
				t.Errorf("the program said %q, want %q: slack, error, its process and its arguments", said.String(), want)
			}
		})
	}
}

// start starts a program with that slack, which it has from the thread that starts it.
func start(t *testing.T, program *exec.Cmd, slack time.Duration) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := set(slack); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := set(usual); err != nil {
			t.Error(err)
		}
	}()
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
}
