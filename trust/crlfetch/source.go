package crlfetch

import "verigate/trust/mirror"

// Source fetches lists: its Run keeps the copies up to date, its Refresh fetches every
// list now, and its Status is in the order of the options. Its methods may be called
// concurrently.
type Source struct{ *mirror.Group }

// New checks the options and makes the folders of the copies. It fetches nothing. All
// problems are joined; each is a [*mirror.Error].
func New(o Options) (*Source, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	var pollers []*mirror.Poller
	for _, l := range o.Lists {
		c := newClient(l, o)
		if err := c.file.Prepare(); err != nil {
			return nil, err
		}
		pollers = append(pollers, mirror.NewPoller(mirror.PollOptions{
			Kind: Kind, Name: l.URL, Source: l.URL, Path: l.Path,
			Poll: c.poll, Changed: o.Changed, OnAttempt: o.OnAttempt,
			Interval: o.MaxInterval, MinRetry: o.MinInterval, MaxRetry: o.MaxInterval,
			Now: o.Now, Jitter: o.Jitter,
		}))
	}
	return &Source{mirror.NewGroup(pollers)}, nil
}
