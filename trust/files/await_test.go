package files

import (
	"context"
	"os"
	"path/filepath"
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
		w := &watch{watcher: &fsnotify.Watcher{Events: make(chan fsnotify.Event)}}
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
				}
				taken = append(taken, time.Since(start))
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
			t.Errorf("%d events were taken, the first at %v, want %v: the first, and what has come when the look is due", len(taken), taken[:min(len(taken), 5)], want)
		}
	})
}

// However fast events come, the look does.
func TestAwaitEndsInAFloodOfEvents(t *testing.T) {
	t.Parallel()
	s := &Source{wake: make(chan struct{}, 1)}
	w := &watch{watcher: &fsnotify.Watcher{Events: make(chan fsnotify.Event)}, lost: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			select {
			case w.watcher.Events <- fsnotify.Event{}:
			case w.lost <- struct{}{}:
			case <-ctx.Done():
			}
		}
	}()
	if got := s.await(t.Context(), w, time.Hour, time.Millisecond, time.Time{}); got != due {
		t.Errorf("await() = %v, want %v", got, due)
	}
}

// Whoever reports an error holds a lock until somebody takes it.
func TestErrorsAreTakenAtOnce(t *testing.T) {
	t.Parallel()
	w, heard := newWatch(), make(chan struct{})
	watcher := &fsnotify.Watcher{Errors: make(chan error)}
	go func() {
		defer close(heard)
		w.hear(watcher)
	}()
	for range 3 {
		watcher.Errors <- fsnotify.ErrEventOverflow
	}
	s := &Source{wake: make(chan struct{}, 1)}
	if got := s.await(t.Context(), w, time.Hour, time.Millisecond, time.Time{}); got != due || !w.worn {
		t.Errorf("await() after events were lost = %v, want %v and the watcher worn", got, due)
	}
	close(watcher.Errors)
	<-heard
}

// The event that is lost may be of a directory that was replaced, and the watcher would
// take the new one for the old.
func TestWatcherIsMadeAnewAfterALoss(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "crl.pem")
	w := newWatch()
	defer func() { w.close() }()
	if notes := w.follow([]string{path}); len(notes) > 0 {
		t.Fatalf("follow() = %q", notes)
	}
	before := w.watcher
	w.follow([]string{path})
	if w.watcher != before {
		t.Error("the watcher was made anew without need")
	}
	w.worn = true
	if notes := w.follow([]string{path}); len(notes) > 0 || w.watcher == before || w.worn {
		t.Errorf("after a loss follow() = %q, the same watcher %v, worn %v; want another", notes, w.watcher == before, w.worn)
	}
	if list := w.watcher.WatchList(); !slices.Equal(list, []string{filepath.Dir(path)}) {
		t.Errorf("the new one watches %q", list)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	<-w.watcher.Events
}

// fsnotify reports that such a directory cannot be left while it holds its lock.
func TestDirectoriesThatAreMovedAndRemovedHoldNobodyUp(t *testing.T) {
	t.Parallel()
	for range 50 {
		live := filepath.Join(t.TempDir(), "live")
		if err := os.Mkdir(live, 0o700); err != nil {
			t.Fatal(err)
		}
		w := newWatch()
		w.follow([]string{filepath.Join(live, "crl.pem")})
		taken := make(chan struct{})
		go func() {
			defer close(taken)
			for range w.watcher.Events {
			}
		}()
		if err := os.Rename(live, live+".old"); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(live + ".old"); err != nil {
			t.Fatal(err)
		}
		w.follow([]string{filepath.Join(filepath.Dir(live), "crl.pem")})
		w.close()
		<-taken
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
