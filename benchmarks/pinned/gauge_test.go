package pinned

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestGauge: the work is done on the core that was asked for, and what counts is its CPU
// time.
func TestGauge(t *testing.T) {
	t.Parallel()
	core := lastCore(t)
	const waited = 10 * time.Millisecond
	var elsewhere [][]int
	enough := make(chan struct{})
	times := 0
	began := time.Now()
	stop, err := Gauge(core, func() {
		if here, err := Cores(); err != nil || !slices.Equal(here, []int{core}) {
			elsewhere = append(elsewhere, here)
		}
		if times == 0 { // the first time does not count
			for began := threadTime(); threadTime()-began < waited; {
			}
		}
		unixSleep(waited)
		if times++; times == 5 {
			close(enough)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	<-enough
	samples, used := stop()
	if used < waited {
		t.Errorf("it has used %v, want %v at least: what does not count as well", used, waited)
	}
	if len(elsewhere) > 0 {
		t.Errorf("it may be on %v, want %d only", elsewhere, core)
	}
	if len(samples) < 4 || len(samples) != times-1 || !slices.IsSortedFunc(samples, func(a, b Sample) int { return a.At.Compare(b.At) }) || samples[0].At.Before(began) {
		t.Errorf("samples are %v, want all of %d times but the first, one after the other", samples, times)
	}
	for i, s := range samples {
		if i > 0 && s.At.Sub(samples[i-1].At) < gaugeEvery {
			t.Errorf("sample %d came %v after the one before, want %v at least", i, s.At.Sub(samples[i-1].At), gaugeEvery)
		}
		if s.Took <= 0 || s.Took >= waited {
			t.Errorf("a sample took %v, want what the CPU did, and that is not waiting for %v", s.Took, waited)
		}
	}
	if _, err := Gauge(1<<20, func() {}); err == nil {
		t.Error("a core that does not exist was gauged")
	}
}

// TestGaugeComesFirst: who may come first does, or the samples would be of when the core is free.
func TestGaugeComesFirst(t *testing.T) {
	t.Parallel()
	core := lastCore(t)
	watch(t, core)() // or it may not
	var scheduled *unix.SchedAttr
	stop, err := Gauge(core, func() { scheduled, _ = unix.SchedGetAttr(0, 0) })
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if scheduled == nil || scheduled.Policy != unix.SCHED_FIFO {
		t.Errorf("it is scheduled by %+v, want SCHED_FIFO", scheduled)
	}
}

// TestGaugeNeedsNoPrivilege: who may not come first gauges all the same.
func TestGaugeNeedsNoPrivilege(t *testing.T) {
	t.Parallel()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), "PINNED_TEST=unprivileged")
	if os.Geteuid() == 0 {
		const nobody = 65534
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	if said, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, said)
	}
}

// gaugeUnprivileged gauges a core in a process that may not come first there.
func gaugeUnprivileged() error {
	cores, err := Cores()
	if err != nil {
		return err
	}
	if _, err := Watch(cores[0]); !errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("Watch() = %v, want that it is not permitted", err)
	}
	var elsewhere []int
	stop, err := Gauge(cores[0], func() {
		if here, err := Cores(); err != nil || len(here) != 1 {
			elsewhere = here
		}
	})
	if err != nil {
		return err
	}
	if samples, _ := stop(); len(samples) == 0 || elsewhere != nil {
		return fmt.Errorf("Gauge() has %d samples and was on %v, want some of %d only", len(samples), elsewhere, cores[0])
	}
	return nil
}
