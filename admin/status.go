package admin

import (
	"strconv"
	"time"

	"verigate/gateway"
	"verigate/telemetry"
	"verigate/trust"
	"verigate/upstream"
	"verigate/verifycache"
)

// Status is what /status shows. Times are RFC 3339 in UTC, durations seconds.
type Status struct {
	Version   string           `json:"version"`
	StartedAt time.Time        `json:"started_at"`
	Ready     bool             `json:"ready"`
	NotReady  []string         `json:"not_ready,omitempty"`
	Degraded  []string         `json:"degraded,omitempty"`
	Config    ConfigStatus     `json:"config"`
	Listeners []ListenerStatus `json:"listeners"`
	Trust     TrustStatus      `json:"trust"`
	// Sources are the remote ones that trust comes from.
	Sources     []SourceStatus     `json:"sources"`
	Credentials []CredentialStatus `json:"credentials"`
	Cache       CacheStatus        `json:"cache"`
	Routes      []RouteStatus      `json:"routes"`
	Upstreams   []UpstreamStatus   `json:"upstreams"`
	Audit       AuditStatus        `json:"audit"`
	Resumption  ResumptionStatus   `json:"resumption"`
	// Shadow has the identities that would fare differently if the shadow of their
	// trust domain were in force, the most frequent first.
	Shadow []ShadowDifferenceStatus `json:"shadow_differences"`
	// Refusals are the last handshakes that were refused, newest first.
	Refusals []RefusalStatus `json:"refusals"`
	// ConnectionEnds are of the last live connections that ended because their caller
	// was not accepted any more, newest first.
	ConnectionEnds []ConnectionEndStatus `json:"refused_connections"`
	// Denials are the last requests that were not served, newest first.
	Denials []DenialStatus `json:"denials"`
}

// ConfigStatus is about the file in force.
type ConfigStatus struct {
	File     string    `json:"file"`
	LoadedAt time.Time `json:"loaded_at"`
	Reloads  uint64    `json:"reloads"`
	// LastError is why the last reload was refused; empty when it was not.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
}

// ListenerStatus is about one listener.
type ListenerStatus struct {
	Name        string `json:"name"`
	Address     string `json:"address"`
	Connections int    `json:"connections"`
}

// TrustStatus is about the snapshot in force.
type TrustStatus struct {
	Digest  string         `json:"digest"`
	Denied  int            `json:"deny_entries"`
	Bundles []BundleStatus `json:"bundles"`
}

// BundleStatus is about the anchors of one origin.
type BundleStatus struct {
	Origin   string    `json:"origin"`
	Digest   string    `json:"digest"`
	Sequence *uint64   `json:"sequence,omitempty"`
	LoadedAt time.Time `json:"loaded_at,omitzero"`
	// WrittenAt is of the file: of a bundle that is fetched, when its source last
	// confirmed it. BelievedUntil is when it ends if the source does not do so again;
	// absent for a bundle that does not end in this way.
	WrittenAt     time.Time      `json:"written_at,omitzero"`
	BelievedUntil time.Time      `json:"believed_until,omitzero"`
	LastError     string         `json:"last_error,omitempty"`
	Notes         []string       `json:"notes,omitempty"`
	Anchors       []AnchorStatus `json:"anchors"`
	// Revocation is absent where nobody asks for revocation status.
	Revocation *RevocationStatus `json:"revocation,omitempty"`
	// Shadow is absent where nothing is tried out.
	Shadow *ShadowStatus `json:"shadow,omitempty"`
}

// SourceStatus is about one item of trust that is fetched: a bundle, a CRL or a
// credential.
type SourceStatus struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`           // of the item: an origin, a URL, a credential
	Source string `json:"source"`         // where it is fetched
	Path   string `json:"path,omitempty"` // of the copy on disk
	// LastSuccess is when the source last said that what is held is current, LastChange
	// when that was something new. Times of what has not happened yet are absent.
	LastAttempt time.Time `json:"last_attempt,omitzero"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastChange  time.Time `json:"last_change,omitzero"`
	LastFailure time.Time `json:"last_failure,omitzero"`
	// LastError is why the last attempt failed, empty if it did not, Reason its code in
	// docs/federation.md, and Failures how many there were since the last success.
	LastError string `json:"last_error,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Failures  int    `json:"failures"`
	// NextAttempt is absent where the source tells by itself; IntervalSeconds is between
	// attempts while all is well.
	NextAttempt     time.Time `json:"next_attempt,omitzero"`
	IntervalSeconds float64   `json:"interval_seconds,omitempty"`
	// Digest is absent while nothing was learnt since the start: what is held may be a
	// copy of before.
	Digest   string    `json:"digest,omitempty"`
	Sequence *uint64   `json:"sequence,omitempty"`
	NotAfter time.Time `json:"not_after,omitzero"`
	Notes    []string  `json:"notes,omitempty"`
}

// RevocationStatus is about the CRLs of one origin.
type RevocationStatus struct {
	WhenStale    string  `json:"when_stale"` // refuse, grace or accept-and-alarm
	GraceSeconds float64 `json:"grace_seconds,omitempty"`
	Check        string  `json:"check"` // chain or leaf
	Digest       string  `json:"digest"`
	// Entries are of the newest CRL of each issuer and scope, and Stale is how many of
	// those are past their next update.
	Entries int         `json:"entries"`
	Stale   int         `json:"stale"`
	CRLs    []CRLStatus `json:"crls"`
}

// CRLStatus is about one CRL.
type CRLStatus struct {
	File   string `json:"file"` // where it was read
	Issuer string `json:"issuer"`
	// Signature is verified, unverified while no chain of the issuer came, or refuted:
	// forged, damaged, or of another CA of the same name.
	Signature  string    `json:"signature"`
	Number     string    `json:"number"` // decimal
	ThisUpdate time.Time `json:"this_update"`
	NextUpdate time.Time `json:"next_update"`
	// SecondsLeft is until the next update; negative when that has passed.
	SecondsLeft int64  `json:"seconds_left"`
	Stale       bool   `json:"stale"`     // past its next update
	Freshness   string `json:"freshness"` // what is made of that
	Entries     int    `json:"entries"`
}

// ShadowStatus is about the variant of a bundle that is tried out.
type ShadowStatus struct {
	Digest  string         `json:"digest"`
	Anchors []AnchorStatus `json:"anchors"`
}

// ShadowDifferenceStatus is about an identity that the shadow judges differently.
type ShadowDifferenceStatus struct {
	Identity string `json:"identity"`
	// Would is refuse or accept; Reason is why the shadow would refuse, or why the
	// identity is refused now.
	Would  string    `json:"would"`
	Reason string    `json:"reason"`
	Count  uint64    `json:"count"`
	Last   time.Time `json:"last"`
}

// ResumptionStatus is about session tickets.
type ResumptionStatus struct {
	Enabled bool `json:"enabled"`
	// SharedSecret is whether replicas can open each other's tickets.
	SharedSecret bool `json:"shared_secret"`
	// SecretLoadedAt is when the secret in force was read, or made.
	SecretLoadedAt   time.Time `json:"secret_loaded_at,omitzero"`
	SecretAgeSeconds float64   `json:"secret_age_seconds,omitempty"`
	// Handshakes are counted by what became of the session that was to be resumed.
	Handshakes map[string]uint64 `json:"handshakes"`
}

// AnchorStatus is about one anchor.
type AnchorStatus struct {
	Subject    string    `json:"subject"`
	SPKISHA256 string    `json:"spki_sha256"`
	NotAfter   time.Time `json:"not_after"`
	DaysLeft   int       `json:"days_left"`
}

// CredentialStatus is about one certificate of the gateway's own.
type CredentialStatus struct {
	Name      string    `json:"name"`
	ID        string    `json:"id,omitempty"`
	NotAfter  time.Time `json:"not_after"`
	DaysLeft  int       `json:"days_left"`
	LoadedAt  time.Time `json:"loaded_at,omitzero"`
	LastError string    `json:"last_error,omitempty"`
	Notes     []string  `json:"notes,omitempty"`
}

// CacheStatus is about the verification cache.
type CacheStatus struct {
	Entries      uint64  `json:"entries"`
	Hits         uint64  `json:"hits"`
	Misses       uint64  `json:"misses"`
	Coalesced    uint64  `json:"coalesced"`
	RejectedHits uint64  `json:"rejected_hits"`
	StaleHits    uint64  `json:"stale_hits"`
	Evictions    uint64  `json:"evictions"`
	HitRatio     float64 `json:"hit_ratio"`
	VerifySecs   float64 `json:"verify_seconds"`
	SavedSecs    float64 `json:"saved_seconds"`
}

// RouteStatus is about one route.
type RouteStatus struct {
	Name     string `json:"name"`
	Upstream string `json:"upstream"`
	Caller   string `json:"caller,omitempty"`
	SNI      string `json:"sni,omitempty"`
	Host     string `json:"host,omitempty"`
	Path     string `json:"path,omitempty"`
}

// UpstreamStatus is about one upstream.
type UpstreamStatus struct {
	Name      string           `json:"name"`
	Endpoints []EndpointStatus `json:"endpoints"`
}

// EndpointStatus is about one endpoint of an upstream.
type EndpointStatus struct {
	Address     string `json:"address"`
	InFlight    int    `json:"in_flight"` // requests
	Idle        int    `json:"idle"`      // connections
	Requests    uint64 `json:"requests"`
	Errors      uint64 `json:"errors"`
	CoolingDown bool   `json:"cooling_down"`
	// LastError is of the last failure, also when it is over.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	// PeerID is who answered last; empty for a plain upstream.
	PeerID       string    `json:"peer_id,omitempty"`
	PeerNotAfter time.Time `json:"peer_not_after,omitzero"`
}

// AuditStatus is about the audit log.
type AuditStatus struct {
	Enabled     bool      `json:"enabled"`
	Healthy     bool      `json:"healthy"` // the last write succeeded
	Queued      int       `json:"queued"`
	Written     uint64    `json:"written"`
	Dropped     uint64    `json:"dropped"`
	Suppressed  uint64    `json:"suppressed"` // failed handshakes beyond the rate limit
	Errors      uint64    `json:"errors"`
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
}

// DenialStatus is about a request that was not served. Method, host and path are
// what the client wrote, and claimed is vouched for by nobody.
type DenialStatus struct {
	Time      time.Time `json:"time"`
	RequestID string    `json:"request_id"`
	Listener  string    `json:"listener"`
	// Connection is the number by which the audit record knows it.
	Connection uint64 `json:"connection"`
	Remote     string `json:"remote"`
	Caller     string `json:"caller,omitempty"`
	Claimed    string `json:"claimed,omitempty"`
	Method     string `json:"method,omitempty"`
	Host       string `json:"host,omitempty"`
	Path       string `json:"path,omitempty"` // without its query
	Route      string `json:"route,omitempty"`
	Rule       string `json:"rule,omitempty"`
	// Missing is what the caller's assurance lacks for the rule.
	Missing  string `json:"missing,omitempty"`
	Decision string `json:"decision"`
	Status   int    `json:"status"`
	Reason   string `json:"reason,omitempty"`
}

// RefusalStatus is about a handshake that authenticated nobody. Claimed and Chain
// are what was presented, vouched for by nobody.
type RefusalStatus struct {
	Time     time.Time `json:"time"`
	Listener string    `json:"listener"`
	// Connection is the number by which the audit record knows it.
	Connection uint64 `json:"connection"`
	Remote     string `json:"remote"`
	SNI        string `json:"sni,omitempty"`
	Outcome    string `json:"outcome"`
	Reason     string `json:"reason"`
	Depth      int    `json:"depth"`
	Found      string `json:"found,omitempty"`
	Want       string `json:"want,omitempty"`
	Hint       string `json:"hint,omitempty"`
	Error      string `json:"error,omitempty"`
	Claimed    string `json:"claimed,omitempty"`
	// ClaimedSHA256 is of a leaf that is in order and whose key was not proven.
	ClaimedSHA256 string            `json:"claimed_sha256,omitempty"`
	Chain         []PresentedStatus `json:"chain,omitempty"`
}

// PresentedStatus is about one certificate of a chain that was presented.
type PresentedStatus struct {
	Subject        string    `json:"subject"`
	Issuer         string    `json:"issuer"`
	Serial         string    `json:"serial"`
	AuthorityKeyID string    `json:"authority_key_id,omitempty"`
	SubjectKeyID   string    `json:"subject_key_id,omitempty"`
	NotAfter       time.Time `json:"not_after"`
}

// ConnectionEndStatus is about a live connection that ended because its caller was
// not accepted any more.
type ConnectionEndStatus struct {
	Time       time.Time `json:"time"`
	Listener   string    `json:"listener"`
	Connection uint64    `json:"connection"`
	Remote     string    `json:"remote"`
	Identity   string    `json:"identity"`
	AgeSeconds float64   `json:"age_seconds"`
	Cause      string    `json:"cause"` // trust or time
	Reason     string    `json:"reason"`
	Error      string    `json:"error,omitempty"`
	Cut        bool      `json:"cut"` // in the middle of a response
}

// TrustOf describes a snapshot at now.
func TrustOf(s *trust.Snapshot, now time.Time) TrustStatus {
	t := TrustStatus{Digest: s.Digest().String(), Denied: s.Deny().Len(), Bundles: []BundleStatus{}}
	revocation := RevocationOf(s, now)
	for _, b := range s.Bundles() {
		status := BundleStatus{
			Origin: b.Origin().String(), Digest: b.Digest().String(), Sequence: b.Options().Sequence,
			Anchors: anchorsOf(b, now), Revocation: revocation[b.Origin().String()],
		}
		if shadow := b.Shadow(); shadow != nil {
			status.Shadow = &ShadowStatus{Digest: shadow.Digest().String(), Anchors: anchorsOf(shadow, now)}
		}
		t.Bundles = append(t.Bundles, status)
	}
	return t
}

func anchorsOf(b *trust.Bundle, now time.Time) []AnchorStatus {
	anchors := []AnchorStatus{}
	for _, a := range b.Anchors() {
		anchors = append(anchors, AnchorStatus{
			Subject: a.Subject.String(), SPKISHA256: trust.RefOf(a, nil).SPKI.String(),
			NotAfter: a.NotAfter.UTC(), DaysLeft: daysLeft(a.NotAfter, now),
		})
	}
	return anchors
}

// RevocationOf describes the CRLs of a snapshot at now, by origin. Origins for which
// nobody asks for revocation status are left out.
func RevocationOf(s *trust.Snapshot, now time.Time) map[string]*RevocationStatus {
	states := make(map[string]telemetry.RevocationState)
	for _, state := range telemetry.RevocationOf(s, now) {
		states[state.Origin.String()] = state
	}
	all := make(map[string]*RevocationStatus, len(states))
	for _, b := range s.Bundles() {
		if set := b.CRLs(); set != nil {
			state := states[b.Origin().String()]
			status := crlsOf(set, now)
			status.Entries, status.Stale = state.Entries, state.Stale
			all[b.Origin().String()] = status
		}
	}
	return all
}

func crlsOf(set *trust.CRLSet, now time.Time) *RevocationStatus {
	o := set.Options()
	status := &RevocationStatus{
		WhenStale: whenStale(o.WhenStale), GraceSeconds: o.Grace.Seconds(), Check: "chain", Digest: set.Digest().String(),
		CRLs: []CRLStatus{},
	}
	if o.LeafOnly {
		status.Check = "leaf"
	}
	for _, crl := range set.CRLs() {
		status.CRLs = append(status.CRLs, CRLStatus{
			File: crl.Name(), Signature: signatureOf(crl),
			Issuer: unquoted(crl.Issuer()), Number: crl.Number(), ThisUpdate: crl.ThisUpdate(), NextUpdate: crl.NextUpdate(),
			Entries: crl.Entries(), Freshness: set.Freshness(crl, now).String(),
			Stale: now.After(crl.NextUpdate()), SecondsLeft: int64(crl.NextUpdate().Sub(now).Seconds()),
		})
	}
	return status
}

func signatureOf(crl *trust.CRL) string {
	switch {
	case crl.Verified():
		return "verified"
	case crl.Refuted():
		return "refuted"
	}
	return "unverified"
}

// unquoted takes the quotes off a text that JSON will quote again.
func unquoted(s string) string {
	if text, err := strconv.Unquote(s); err == nil {
		return text
	}
	return s
}

// whenStale returns how configuration spells a policy.
func whenStale(p trust.StalePolicy) string {
	switch p {
	case trust.StaleRefuse:
		return "refuse"
	case trust.StaleGrace:
		return "grace"
	case trust.StaleAccept:
		return "accept-and-alarm"
	}
	return "unknown"
}

// CredentialOf describes a certificate of the gateway's own at now.
func CredentialOf(name string, c *trust.Credential, now time.Time) CredentialStatus {
	return CredentialStatus{Name: name, ID: c.ID().String(), NotAfter: c.NotAfter().UTC(), DaysLeft: daysLeft(c.NotAfter(), now)}
}

func daysLeft(notAfter, now time.Time) int { return int(notAfter.Sub(now).Hours() / 24) }

// CacheOf describes the verification cache.
func CacheOf(s verifycache.Stats) CacheStatus {
	c := CacheStatus{
		Entries: s.Entries, Hits: s.Hits, Misses: s.Misses, Coalesced: s.Coalesced, RejectedHits: s.RejectedHits,
		StaleHits: s.StaleHits, Evictions: s.Evictions,
		VerifySecs: s.VerifyTime.Seconds(), SavedSecs: s.SavedTime.Seconds(),
	}
	if all := s.Hits + s.Misses + s.Coalesced; all > 0 {
		c.HitRatio = float64(s.Hits) / float64(all)
	}
	return c
}

// ProgramOf describes routes and upstreams.
func ProgramOf(p *gateway.Program) (routes []RouteStatus, upstreams []UpstreamStatus) {
	routes, upstreams = []RouteStatus{}, []UpstreamStatus{}
	for _, r := range p.Routes().Routes() {
		routes = append(routes, RouteStatus{
			Name: r.Name, Upstream: r.Upstream, Caller: r.Match.Caller.String(),
			SNI: r.Match.SNI, Host: r.Match.Host, Path: r.Match.Path,
		})
	}
	for _, b := range p.Backends() {
		upstreams = append(upstreams, upstreamOf(b.Upstream.Status()))
	}
	return routes, upstreams
}

func upstreamOf(s upstream.Status) UpstreamStatus {
	u := UpstreamStatus{Name: s.Name, Endpoints: []EndpointStatus{}}
	for _, e := range s.Endpoints {
		u.Endpoints = append(u.Endpoints, EndpointStatus{
			Address: e.Address, InFlight: e.InFlight, Idle: e.Idle, Requests: e.Requests, Errors: e.Errors,
			CoolingDown: e.CoolingDown, LastError: e.LastError, LastErrorAt: e.LastErrorAt.UTC(),
			PeerID: e.PeerID, PeerNotAfter: e.PeerNotAfter.UTC(),
		})
	}
	return u
}

// AuditOf describes the audit log.
func AuditOf(s telemetry.AuditStatus) AuditStatus {
	return AuditStatus{
		Enabled: s.Enabled, Healthy: s.Healthy, Queued: s.Queued, Written: s.Written, Dropped: s.Dropped,
		Suppressed: s.Suppressed, Errors: s.Errors, LastError: s.LastError, LastErrorAt: s.LastErrorAt.UTC(),
	}
}

// RefusalsOf describes refused handshakes, in the order that they come in.
func RefusalsOf(all []telemetry.Refusal) []RefusalStatus {
	refusals := []RefusalStatus{}
	for _, r := range all {
		status := RefusalStatus{
			Time: r.Time.UTC(), Listener: r.Listener, Connection: r.ConnID, ClaimedSHA256: r.ClaimedSHA256, Remote: r.Remote, SNI: r.SNI, Outcome: r.Outcome,
			Reason: r.Reason, Depth: r.Depth, Found: r.Found, Want: r.Want, Hint: r.Hint, Error: r.Error, Claimed: r.Claimed,
		}
		for _, c := range r.Chain {
			status.Chain = append(status.Chain, PresentedStatus{
				Subject: c.Subject, Issuer: c.Issuer, Serial: c.Serial,
				AuthorityKeyID: c.AuthorityKeyID, SubjectKeyID: c.SubjectKeyID, NotAfter: c.NotAfter.UTC(),
			})
		}
		refusals = append(refusals, status)
	}
	return refusals
}

// DenialsOf describes requests that were not served, in the order that they come in.
func DenialsOf(all []telemetry.Denial) []DenialStatus {
	denials := []DenialStatus{}
	for _, d := range all {
		denials = append(denials, DenialStatus{
			Time: d.Time.UTC(), RequestID: d.ID, Listener: d.Listener, Connection: d.ConnID, Remote: d.Remote, Caller: d.Caller, Claimed: d.Claimed,
			Method: d.Method, Host: d.Host, Path: d.Path, Route: d.Route, Rule: d.Rule,
			Decision: d.Decision, Status: d.Status, Reason: d.Reason, Missing: d.Missing,
		})
	}
	return denials
}

// ConnectionEndsOf describes live connections that ended, in the order that they
// come in.
func ConnectionEndsOf(all []telemetry.ConnectionEnd) []ConnectionEndStatus {
	ends := []ConnectionEndStatus{}
	for _, e := range all {
		status := ConnectionEndStatus{
			Time: e.Time.UTC(), Listener: e.Listener, Connection: e.ConnID, Remote: e.Remote.String(), Identity: e.Identity.String(),
			AgeSeconds: e.Life().Seconds(), Cause: e.Cause, Reason: e.Reason, Cut: e.Cut,
		}
		if e.Err != nil {
			status.Error = e.Err.Error()
		}
		ends = append(ends, status)
	}
	return ends
}

// ShadowDifferencesOf describes differences, in the order that they come in.
func ShadowDifferencesOf(all []telemetry.ShadowDifference) []ShadowDifferenceStatus {
	differences := []ShadowDifferenceStatus{}
	for _, d := range all {
		would := "refuse"
		if d.Accepts {
			would = "accept"
		}
		differences = append(differences, ShadowDifferenceStatus{
			Identity: d.Identity, Would: would, Reason: d.Reason, Count: d.Count, Last: d.Last.UTC(),
		})
	}
	return differences
}
