package footprint

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

const mib = 1 << 20

func TestDue(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		allocated []uint64 // MiB, at looks one second apart
		held      uint64   // MiB
		want      int      // the look that is due, from 1; 0 for none
	}{
		{"calm after a burst", []uint64{100, 200, 201, 202, 203}, 80, 4},
		{"busy", []uint64{100, 150, 200, 250}, 80, 0},
		{"calm for one look at a time", []uint64{100, 101, 200, 201, 300, 301}, 80, 0},
		{"little was allocated", []uint64{3, 6, 9, 12, 15}, 15, 0},
		{"little beside what is held", []uint64{100, 101, 102}, 1000, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var w watch
			start, got := time.Now(), 0
			for i, allocated := range tt.allocated {
				if w.due(start.Add(time.Duration(i)*time.Second), sample{allocated * mib, tt.held * mib}) && got == 0 {
					got = i + 1
				}
			}
			if got != tt.want {
				t.Errorf("the look that is due is %d, want %d", got, tt.want)
			}
		})
	}
}

func TestDueAgain(t *testing.T) {
	t.Parallel()
	var w watch
	now := time.Now()
	at := func(allocated uint64) bool {
		now = now.Add(look)
		return w.due(now, sample{allocated * mib, 40 * mib})
	}
	for !at(100) {
	}
	for i := range 60 {
		if at(101) {
			t.Fatalf("due %d s after a trim, with nothing new", i+1)
		}
	}
	at(200)
	if at(201) || !at(202) {
		t.Fatal("not due at the second calm look after a burst")
	}
	at(300)
	for i := range int(rest/time.Second) - 2 {
		if at(300) {
			t.Fatalf("due %d s after a trim, want %v of rest", i+2, rest)
		}
	}
	if !at(300) {
		t.Errorf("not due %v after a trim, want another", rest)
	}
}

// What became garbage is gone after a trim, though no collection was due.
func TestTrim(t *testing.T) { // not parallel: the heap is the process's
	garbage := make([]byte, 64*mib)
	runtime.GC()
	before := read()
	runtime.KeepAlive(garbage)
	synctest.Test(t, func(t *testing.T) {
		go Trim(t.Context())
		time.Sleep((calmFor + 2) * look) // of the bubble's clock
		synctest.Wait()
	})
	if after := read(); after.held+48*mib > before.held {
		t.Errorf("holds %d octets before and %d after a trim, though 64 MiB became garbage", before.held, after.held)
	}
}
