package load

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// closed lets every worker begin an operation when it has finished one. What is under
// way when the time is over is finished, and counts.
func (m *measurement) closed(ctx context.Context, workers []worker) {
	end := m.began.Add(m.job.Duration)
	var running sync.WaitGroup
	for _, w := range workers {
		running.Go(func() {
			for now := time.Now(); now.Before(end) && ctx.Err() == nil; now = time.Now() {
				finished, err := w.do(now)
				if errors.Is(err, errExhausted) {
					return
				}
				m.record(now, finished, err)
			}
		})
	}
	running.Wait()
}

// open makes operations due at a fixed rate, whatever became of the ones before. One
// that finds no worker free waits, and its latency with it.
func (m *measurement) open(ctx context.Context, workers []worker) error {
	interval := time.Duration(float64(time.Second) / m.job.Rate)
	count := int(m.job.Duration / interval)
	alarm, err := newAlarm()
	if err != nil {
		return err
	}
	defer alarm.file.Close()
	queues := make([]chan time.Time, 1)
	if m.job.Apart {
		queues = make([]chan time.Time, len(workers))
	}
	for i := range queues {
		queues[i] = make(chan time.Time, count) // whoever is slow must not slow down the timetable
	}
	var running sync.WaitGroup
	for i, w := range workers {
		running.Go(func() {
			for due := range queues[i%len(queues)] {
				finished, err := w.do(due)
				if !errors.Is(err, errExhausted) {
					m.record(due, finished, err)
				}
			}
		})
	}
	first := time.Now()
	for n := 0; n < count && ctx.Err() == nil; {
		due := first.Add(time.Duration(n) * interval)
		if early := time.Until(due); early > 0 {
			if err := alarm.sleep(early); err != nil {
				return err
			}
		}
		queues[n%len(queues)] <- due
		n++
	}
	for _, q := range queues {
		close(q)
	}
	running.Wait()
	return nil
}

// alarm is a clock to sleep by. The runtime's own timers are late by up to a
// millisecond in an idle process, since they end a wait for the network that is
// rounded up to one; a timer that is itself a descriptor is not.
type alarm struct {
	file *os.File
	fd   int
}

func newAlarm() (alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return alarm{}, os.NewSyscallError("timerfd_create", err)
	}
	return alarm{os.NewFile(uintptr(fd), "timer"), fd}, nil
}

// sleep returns after d, which is greater than zero.
func (a alarm) sleep(d time.Duration) error {
	if err := unix.TimerfdSettime(a.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}, nil); err != nil {
		return os.NewSyscallError("timerfd_settime", err)
	}
	var rung [8]byte // how often: once
	_, err := a.file.Read(rung[:])
	return err
}
