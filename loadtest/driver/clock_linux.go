package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// fdClock sleeps in the network poller until a timer of the kernel is over. The
// runtime's own timers round the wait of an idle process up to a millisecond,
// which would be most of what a fast answer takes.
type fdClock struct {
	sleepClock
	timer *os.File
	fd    int
}

func newClock() clock {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return sleepClock{}
	}
	return &fdClock{timer: os.NewFile(uintptr(fd), "timerfd"), fd: fd}
}

func (c *fdClock) SleepUntil(t time.Time) {
	d := time.Until(t)
	if d <= 0 {
		return
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	var expirations [8]byte
	if err := unix.TimerfdSettime(c.fd, 0, &spec, nil); err == nil {
		if _, err := c.timer.Read(expirations[:]); err == nil {
			return
		}
	}
	c.sleepClock.SleepUntil(t)
}

func (c *fdClock) Close() error { return c.timer.Close() }
