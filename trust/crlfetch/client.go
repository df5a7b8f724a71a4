package crlfetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/big"
	"slices"
	"time"

	"verigate/trust"
	"verigate/trust/mirror"
)

// client fetches the document of one URL. It is used by one goroutine at a time.
type client struct {
	List
	options Options
	file    mirror.File
	getter  mirror.Getter
	// lists is what the content with the digest said: parsing a million entries at each
	// poll is for nothing. taken is of what was fetched last and taken up.
	lists         []list
	digest, taken trust.Digest
}

// list is what tells a CRL from an older one.
type list struct {
	digest, series         trust.Digest
	counter                trust.Digest // of issuer and key: numbers of others mean nothing
	issuer                 string
	number                 *big.Int
	thisUpdate, nextUpdate time.Time
}

func newClient(l List, o Options) *client {
	return &client{
		List:    l,
		options: o,
		file:    mirror.File{Path: l.Path},
		getter:  mirror.Getter{URL: l.URL, Accept: "application/pkix-crl, application/x-pem-file, */*;q=0.5", MaxBytes: o.MaxBytes, Timeout: o.Timeout},
	}
}

// poll fetches the document and takes it up, if it is good and not older than what is
// held.
func (c *client) poll(ctx context.Context, now time.Time) (mirror.Outcome, error) {
	data, digest, err := c.file.Read(trust.MaxCRLBytes)
	if err != nil {
		return mirror.Outcome{}, err
	}
	if err := c.hold(data, digest); err != nil { // as good as none: what is fetched will take its place
		data, digest = nil, trust.Digest{}
	}
	body, modified, err := c.getter.Get(ctx, c.options.Transport(c.options.TLS), data != nil && digest == c.taken)
	if err != nil {
		return mirror.Outcome{}, err
	}
	if !modified {
		return c.outcome(false, now), c.file.Confirm(now)
	}
	changed := data == nil || !bytes.Equal(body, data)
	if !changed {
		err = c.file.Confirm(now)
	} else {
		err = c.replace(body, now)
	}
	if err != nil {
		return mirror.Outcome{}, err
	}
	c.getter.Confirm()
	c.taken = c.digest
	return c.outcome(changed, now), nil
}

// hold makes lists what data says.
func (c *client) hold(data []byte, digest trust.Digest) error {
	if data != nil && digest == c.digest {
		return nil
	}
	c.lists, c.digest = nil, trust.Digest{}
	if data == nil {
		return nil
	}
	lists, err := parse(c.Path, data)
	if err != nil {
		return err
	}
	c.lists, c.digest = lists, digest
	return nil
}

// replace puts body in the place of the copy, if it is right.
func (c *client) replace(body []byte, now time.Time) error {
	lists, err := parse(c.URL, body)
	if err == nil {
		err = c.judge(lists, now)
	}
	if err != nil {
		return &mirror.Error{Reason: mirror.ReasonDocument, Err: err}
	}
	if err := c.file.Write(body, now); err != nil {
		return err
	}
	c.lists, c.digest = lists, sha256.Sum256(body)
	return nil
}

func parse(name string, data []byte) ([]list, error) {
	crls, err := trust.ParseCRLs(name, data)
	if err != nil {
		return nil, err
	}
	lists := make([]list, len(crls))
	for i, crl := range crls {
		number, _ := new(big.Int).SetString(crl.Number(), 10)
		lists[i] = list{
			digest: crl.Digest(), series: crl.Series(),
			counter: sha256.Sum256(slices.Concat(crl.RawIssuer(), crl.AuthorityKeyID())), // DER ends where it says
			issuer:  crl.Issuer(), number: number,
			thisUpdate: crl.ThisUpdate(), nextUpdate: crl.NextUpdate(),
		}
	}
	return lists, nil
}

// judge refuses lists that are not in force yet, in whose favour nothing should be
// thrown away, and lists that are older than what is held. A lower number with a later
// date passes: what is held may be a forgery with a number that no genuine list will
// ever reach. Once it has proven genuine nothing of its series gets behind it, as
// package files judges too: else the copy would be one that has forgotten revocations,
// and count after a restart.
func (c *client) judge(lists []list, now time.Time) error {
	for _, offered := range lists {
		if offered.thisUpdate.After(now.Add(maxAhead)) {
			return &trust.Error{Reason: trust.ReasonNotYetValid, Name: c.URL, Detail: fmt.Sprintf("the list of %s is of %s", offered.issuer, offered.thisUpdate.Format(time.DateTime))}
		}
	}
	// Lists for parts of an issuer's certificates are counted together (RFC 5280 §5.2.3).
	counted := newest(lists, func(l list) trust.Digest { return l.counter })
	for counter, held := range newest(c.lists, func(l list) trust.Digest { return l.counter }) {
		offered, ok := counted[counter]
		if ok && (offered.thisUpdate.Before(held.thisUpdate) || offered.thisUpdate.Equal(held.thisUpdate) && offered.number.Cmp(held.number) < 0) {
			return c.rollback(offered, held, "")
		}
	}
	succeeding := newest(lists, func(l list) trust.Digest { return l.series })
	for _, held := range c.lists {
		offered, ok := succeeding[held.series]
		if ok && offered.number.Cmp(held.number) < 0 && c.options.Verified(held.digest) {
			return c.rollback(offered, held, ", whose signature was verified")
		}
	}
	return nil
}

func (c *client) rollback(offered, held list, besides string) error {
	return &trust.Error{Reason: trust.ReasonRollback, Name: c.URL, Detail: fmt.Sprintf("the list of %s is number %v of %s, held is number %v of %s%s", offered.issuer,
		offered.number, offered.thisUpdate.Format(time.DateTime), held.number, held.thisUpdate.Format(time.DateTime), besides)}
}

// newest returns the highest number and the latest date of all lists that are alike.
func newest(lists []list, alike func(list) trust.Digest) map[trust.Digest]list {
	all := make(map[trust.Digest]list, len(lists))
	for _, l := range lists {
		top, ok := all[alike(l)]
		if !ok {
			all[alike(l)] = l
			continue
		}
		if l.number.Cmp(top.number) > 0 {
			top.number = l.number
		}
		if l.thisUpdate.After(top.thisUpdate) {
			top.thisUpdate = l.thisUpdate
		}
		all[alike(l)] = top
	}
	return all
}

func (c *client) outcome(changed bool, now time.Time) mirror.Outcome {
	o := mirror.Outcome{Changed: changed, Digest: c.digest, Interval: c.options.MaxInterval}
	for _, l := range c.lists {
		if o.NotAfter.IsZero() || l.nextUpdate.Before(o.NotAfter) {
			o.NotAfter = l.nextUpdate
		}
		if now.After(l.nextUpdate) && len(o.Notes) < 10 {
			o.Notes = append(o.Notes, fmt.Sprintf("the list of %s was to be replaced by %s", l.issuer, l.nextUpdate.Format(time.DateTime)))
		}
	}
	// Half of the time leaves room for a failure or two before anything is stale.
	o.Interval = max(min(o.Interval, o.NotAfter.Sub(now)/2), c.options.MinInterval)
	return o
}
