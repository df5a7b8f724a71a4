package upstream

import (
	"errors"
	"sync/atomic"
)

// ErrAborted is the cause in the [*Error] of a request that an [Abort] ended.
var ErrAborted = errors.New("the request was aborted")

// Abort ends an [Upstream.Forward], and the response that it streams, from another
// goroutine: whoever waits for a backend on behalf of a caller that was cut off
// would otherwise wait for as long as the backend likes.
//
// The zero Abort is ready for use. It serves one request after the other, and once
// [Abort.Abort] was called it ends every later one too. It must not be copied after
// first use. A nil *Abort never ends anything.
type Abort struct {
	// closing closes what the request under way waits for. It is nil while there is
	// none, and &over after the end.
	closing atomic.Pointer[func()]
}

// over stands for the end; it is not called.
var over = func() {}

// Abort closes the connection to the backend, or stops dialling it. It does not
// wait for Forward to notice. It may be called more than once.
func (a *Abort) Abort() {
	if closing := a.closing.Swap(&over); closing != nil {
		(*closing)()
	}
}

// Aborted reports whether [Abort.Abort] was called.
func (a *Abort) Aborted() bool { return a != nil && a.closing.Load() == &over }

// begin has Abort call *closing from now on. It returns false if it is too late.
func (a *Abort) begin(closing *func()) bool {
	return a == nil || a.closing.CompareAndSwap(nil, closing)
}

// end takes back what begin did. It returns false if it is too late: *closing was
// called, or is about to be.
func (a *Abort) end(closing *func()) bool {
	return a == nil || a.closing.CompareAndSwap(closing, nil)
}
