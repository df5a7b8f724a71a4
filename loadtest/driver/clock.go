package main

import "time"

// clock is the time that arrivals go by.
type clock interface {
	Now() time.Time
	// SleepUntil returns at t or a little later.
	SleepUntil(t time.Time)
	Close() error
}

// sleepClock is accurate to what a timer of the runtime is: a process with nothing
// else to do wakes up to a millisecond late.
type sleepClock struct{}

func (sleepClock) Now() time.Time         { return time.Now() }
func (sleepClock) SleepUntil(t time.Time) { time.Sleep(time.Until(t)) }
func (sleepClock) Close() error           { return nil }
