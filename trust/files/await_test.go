package files

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// await without a watcher, in a bubble in which time is exact.
func TestAwait(t *testing.T) {
	t.Parallel()
	const wait, debounce = time.Minute, time.Second
	tests := []struct {
		claim string
		asked time.Duration // how long ago somebody asked last; 0 is never
		calls []time.Duration
		after time.Duration
		want  awaited
	}{
		{"nothing happens", 0, nil, wait, due},
		{"the first call", 0, []time.Duration{5 * time.Second}, 5 * time.Second, refresh},
		{"a call before the wait", 0, []time.Duration{0}, 0, refresh},
		{"a call soon after another", 300 * time.Millisecond, []time.Duration{0}, 700 * time.Millisecond, refresh},
		{"many calls soon after another", 300 * time.Millisecond, []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond}, 700 * time.Millisecond, refresh},
		{"a call long after another", time.Hour, []time.Duration{time.Second}, time.Second, refresh},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &Source{wake: make(chan struct{}, 1)}
				start := time.Now()
				var asked time.Time
				if tt.asked != 0 {
					asked = start.Add(-tt.asked)
				}
				for _, at := range tt.calls {
					time.AfterFunc(at, s.Refresh)
				}
				got := s.await(t.Context(), &watch{}, wait, debounce, asked)
				if after := time.Since(start); got != tt.want || after != tt.after {
					t.Errorf("await() = %v after %v, want %v after %v", got, after, tt.want, tt.after)
				}
			})
		})
	}
}

// A file beside ours that is written all the time wakes nobody but once for each look.
func TestAwaitLeavesEventsWhereTheyAreUntilTheLook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &Source{wake: make(chan struct{}, 1)}
		w := &watch{watcher: &fsnotify.Watcher{Events: make(chan fsnotify.Event), Errors: make(chan error)}}
		ctx, cancel := context.WithCancel(t.Context())
		var taken []time.Duration
		start, done := time.Now(), make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case <-ctx.Done():
					return
				case w.watcher.Events <- fsnotify.Event{}:
					taken = append(taken, time.Since(start))
				}
				time.Sleep(time.Millisecond * 2 / 3)
			}
		}()
		const debounce = time.Second
		reason := s.await(t.Context(), w, time.Minute, debounce, time.Time{})
		if after := time.Since(start); reason != due || after != debounce+drainTime {
			t.Errorf("await() = %v after %v, want %v after %v", reason, after, due, debounce+drainTime)
		}
		cancel()
		<-done
		if want := []time.Duration{0, debounce, debounce + time.Millisecond*2/3}; !slices.Equal(taken, want) {
			t.Errorf("%d events were taken, the last at %v, want %v: the first, and what has come when the look is due", len(taken), taken[len(taken)-1], want)
		}
	})
}

// However fast events come, the look does.
func TestAwaitEndsInAFloodOfEvents(t *testing.T) {
	t.Parallel()
	s := &Source{wake: make(chan struct{}, 1)}
	w := &watch{watcher: &fsnotify.Watcher{Events: make(chan fsnotify.Event), Errors: make(chan error)}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			select {
			case w.watcher.Events <- fsnotify.Event{}:
			case w.watcher.Errors <- fsnotify.ErrEventOverflow:
			case <-ctx.Done():
			}
		}
	}()
	if got := s.await(t.Context(), w, time.Hour, time.Millisecond, time.Time{}); got != due {
		t.Errorf("await() = %v, want %v", got, due)
	}
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := &Source{wake: make(chan struct{}, 1)}
	if got := s.await(ctx, &watch{}, time.Hour, time.Hour, time.Time{}); got != ended {
		t.Errorf("await() = %v, want %v", got, ended)
	}
}

// Whoever writes files must not be held up by who reads them.
func TestRefreshDoesNotWait(t *testing.T) {
	t.Parallel()
	s := &Source{wake: make(chan struct{}, 1)}
	for range 1000 { // without a Run, one that waited would never return
		s.Refresh()
	}
	if len(s.wake) != 1 {
		t.Errorf("a thousand calls ask for %d looks, want 1", len(s.wake))
	}
}
