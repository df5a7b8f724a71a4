package federation

import (
	"verigate/trust/mirror"
	"verigate/workloadid"
)

// Source polls bundle endpoints: its Run as often as their bundles ask, and after a
// failure [Options.MinInterval] later at the earliest, less and less often (FED-07);
// its Refresh now. Its Status is in the order of the options. Its methods may be
// called concurrently.
type Source struct {
	*mirror.Group
	byOrigin map[workloadid.Origin]*mirror.Poller
}

// New checks the options, reads the files that they name and makes the folders of
// the copies. It fetches nothing. All problems are joined; each is a
// [*mirror.Error].
func New(o Options) (*Source, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	var pollers []*mirror.Poller
	byOrigin := make(map[workloadid.Origin]*mirror.Poller)
	for _, e := range o.Endpoints {
		c := newClient(e, o)
		if err := c.file.Prepare(); err != nil {
			return nil, err
		}
		p := mirror.NewPoller(mirror.PollOptions{
			Kind: Kind, Name: e.Origin.String(), Source: e.URL, Path: e.Path,
			Poll: c.poll, Changed: o.Changed, OnAttempt: o.OnAttempt,
			Interval: o.Interval, MinRetry: o.MinInterval, HintGap: o.HintGap,
			Now: o.Now, Jitter: o.Jitter,
		})
		pollers = append(pollers, p)
		byOrigin[e.Origin] = p
	}
	return &Source{mirror.NewGroup(pollers), byOrigin}, nil
}

// Hint says that a peer of origin has an unknown issuer, which may be a new one. It
// brings the next poll forward, to [Options.HintGap] after the last one at the
// earliest. It is cheap, waits for nothing, and does nothing for an origin without an
// endpoint.
func (s *Source) Hint(origin workloadid.Origin) {
	if p := s.byOrigin[origin]; p != nil {
		p.Hint()
	}
}
