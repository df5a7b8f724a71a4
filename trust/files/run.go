package files

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Run follows the files until ctx is done and then returns nil. It looks at them
// once at the beginning, so that nothing is missed that happened since Open. If
// the system gives no events, for a directory or at all, the files are polled
// and [Status.Notes] says so. Only one Run at a time may follow a source.
func (s *Source) Run(ctx context.Context) error {
	if !s.running.CompareAndSwap(false, true) {
		return errRunning
	}
	defer s.running.Store(false)
	w := newWatch()
	defer w.close()

	var retry time.Duration
	var asked time.Time // when the last look began that was asked for
	for {
		// Directories before files: what happens after the look is an event.
		s.mu.Lock()
		options := s.set.options
		notes := w.follow(s.set.paths())
		s.unwatched.Store(&notes)
		err := s.attempt()
		s.mu.Unlock()

		wait := options.Poll
		if err != nil {
			// Most errors are a rotation that is not finished yet.
			retry = min(max(2*retry, options.Debounce), options.Poll)
			wait = retry
		} else {
			retry = 0
		}
		switch s.await(ctx, w, wait, options.Debounce, asked) {
		case ended:
			return nil
		case refresh:
			asked = time.Now()
		case due:
		}
	}
}

// awaited is why await returns.
type awaited uint8

const (
	ended   awaited = iota // the context is
	due                    // a look is, by time or by events
	refresh                // somebody has asked for one
)

// await returns when it is time for another look: after wait at the latest,
// debounce and drainTime after the first event, and at once when somebody asks, but not
// sooner than debounce after they asked last.
//
// Events after the first are left where they are until then. A directory may have a file
// beside ours that is written all the time, such as an audit log, and each of its events
// would wake two goroutines.
func (s *Source) await(ctx context.Context, w *watch, wait, debounce time.Duration, asked time.Time) awaited {
	deadline := time.Now().Add(wait)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	events, reason, happened := w.events(), due, false
	sooner := func(at time.Time) {
		if at.Before(deadline) {
			deadline = at
			timer.Reset(time.Until(at))
		}
	}
	for {
		select {
		case <-ctx.Done():
			return ended
		case <-timer.C:
			if happened {
				w.drain()
			}
			return reason
		case <-s.wake:
			reason = refresh
			sooner(asked.Add(debounce))
			continue
		case <-events:
		case <-w.lost:
			w.worn = true
		}
		happened, events = true, nil
		sooner(time.Now().Add(debounce))
	}
}

// watch is a set of watched directories. Files themselves are not watched: the
// one that is replaced is not the one that was there.
type watch struct {
	watcher *fsnotify.Watcher // nil before follow, and when the system gives none
	lost    chan struct{}     // an error: events were, which is as good as one; has room for one
	worn    bool              // they may have been of directories that went
}

func newWatch() *watch { return &watch{lost: make(chan struct{}, 1)} }

// hear takes the errors of watcher until it is closed. They must not wait: fsnotify 1.10.1
// reports one, of a directory that was moved away and removed, while it holds the lock that
// follow and close need.
func (w *watch) hear(watcher *fsnotify.Watcher) {
	for range watcher.Errors {
		select {
		case w.lost <- struct{}{}:
		default:
		}
	}
}

func (w *watch) close() {
	if w.watcher != nil {
		w.watcher.Close()
	}
}

// events is nil when the system gives none.
func (w *watch) events() <-chan fsnotify.Event {
	if w.watcher == nil {
		return nil
	}
	return w.watcher.Events
}

// drain takes the events that have come already, for as long as drainTime: the look that
// follows sees what they are about. What is left then brings another look.
func (w *watch) drain() {
	events := w.events()
	for end := time.After(drainTime); ; {
		select {
		case <-events:
		case <-w.lost:
			w.worn = true
		case <-end:
			return
		}
	}
}

// drainTime is enough for some hundred events, also where the machine is busy.
const drainTime = time.Millisecond

// follow watches the directories that paths depend on, and no others. It returns
// a note for each that it cannot watch.
func (w *watch) follow(paths []string) (notes []string) {
	if w.worn { // its list may have directories that are others by now
		w.close()
		w.watcher, w.worn = nil, false
	}
	if w.watcher == nil {
		watcher, err := fsnotify.NewWatcher()
		if err != nil {
			return []string{fmt.Sprintf("files are polled: %v", err)}
		}
		w.watcher = watcher
		go w.hear(watcher)
	}
	var wanted []string
	for _, path := range paths {
		wanted = append(wanted, directories(path)...)
	}
	slices.Sort(wanted)
	wanted = slices.Compact(wanted)
	// The watcher's own list, because it drops directories that were removed.
	watched := w.watcher.WatchList()
	for _, directory := range watched {
		if !slices.Contains(wanted, directory) {
			w.watcher.Remove(directory) // fails only if it is gone already
		}
	}
	for _, directory := range wanted {
		if slices.Contains(watched, directory) {
			continue
		}
		if err := w.watcher.Add(directory); err != nil {
			notes = append(notes, fmt.Sprintf("%s is polled, not watched: %v", directory, err))
		}
	}
	return notes
}

// directories returns those in which a change can make path another file: its
// own, that of every symbolic link on the way (Kubernetes swaps ..data, others
// swap a whole directory), and that of the file in the end.
func directories(path string) []string {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	found := []string{filepath.Dir(path)}
	for at := path; at != filepath.Dir(at); at = filepath.Dir(at) {
		if info, err := os.Lstat(at); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			found = append(found, filepath.Dir(at))
		}
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		found = append(found, filepath.Dir(target))
	}
	return found
}
