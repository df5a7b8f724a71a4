package admin

import (
	"time"

	"verigate/gateway"
	"verigate/telemetry"
	"verigate/trust"
	"verigate/upstream"
	"verigate/verifycache"
)

// Status is what /status shows. Times are RFC 3339 in UTC, durations seconds.
type Status struct {
	Version     string             `json:"version"`
	StartedAt   time.Time          `json:"started_at"`
	Ready       bool               `json:"ready"`
	NotReady    []string           `json:"not_ready,omitempty"`
	Degraded    []string           `json:"degraded,omitempty"`
	Config      ConfigStatus       `json:"config"`
	Listeners   []ListenerStatus   `json:"listeners"`
	Trust       TrustStatus        `json:"trust"`
	Credentials []CredentialStatus `json:"credentials"`
	Cache       CacheStatus        `json:"cache"`
	Routes      []RouteStatus      `json:"routes"`
	Upstreams   []UpstreamStatus   `json:"upstreams"`
	Audit       AuditStatus        `json:"audit"`
	// Refusals are the last handshakes that were refused, newest first.
	Refusals []RefusalStatus `json:"refusals"`
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
	Origin    string         `json:"origin"`
	Digest    string         `json:"digest"`
	Sequence  *uint64        `json:"sequence,omitempty"`
	LoadedAt  time.Time      `json:"loaded_at,omitzero"`
	LastError string         `json:"last_error,omitempty"`
	Notes     []string       `json:"notes,omitempty"`
	Anchors   []AnchorStatus `json:"anchors"`
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
	Remote    string    `json:"remote"`
	Caller    string    `json:"caller,omitempty"`
	Claimed   string    `json:"claimed,omitempty"`
	Method    string    `json:"method,omitempty"`
	Host      string    `json:"host,omitempty"`
	Path      string    `json:"path,omitempty"` // without its query
	Route     string    `json:"route,omitempty"`
	Rule      string    `json:"rule,omitempty"`
	Decision  string    `json:"decision"`
	Status    int       `json:"status"`
	Reason    string    `json:"reason,omitempty"`
}

// RefusalStatus is about a handshake that authenticated nobody. Claimed and Chain
// are what was presented, vouched for by nobody.
type RefusalStatus struct {
	Time     time.Time         `json:"time"`
	Listener string            `json:"listener"`
	Remote   string            `json:"remote"`
	SNI      string            `json:"sni,omitempty"`
	Outcome  string            `json:"outcome"`
	Reason   string            `json:"reason"`
	Depth    int               `json:"depth"`
	Found    string            `json:"found,omitempty"`
	Want     string            `json:"want,omitempty"`
	Hint     string            `json:"hint,omitempty"`
	Error    string            `json:"error,omitempty"`
	Claimed  string            `json:"claimed,omitempty"`
	Chain    []PresentedStatus `json:"chain,omitempty"`
}

// PresentedStatus is about one certificate of a chain that was presented.
type PresentedStatus struct {
	Subject  string    `json:"subject"`
	Issuer   string    `json:"issuer"`
	Serial   string    `json:"serial"`
	NotAfter time.Time `json:"not_after"`
}

// TrustOf describes a snapshot at now.
func TrustOf(s *trust.Snapshot, now time.Time) TrustStatus {
	t := TrustStatus{Digest: s.Digest().String(), Denied: s.Deny().Len(), Bundles: []BundleStatus{}}
	for _, b := range s.Bundles() {
		status := BundleStatus{Origin: b.Origin().String(), Digest: b.Digest().String(), Sequence: b.Options().Sequence, Anchors: []AnchorStatus{}}
		for _, a := range b.Anchors() {
			status.Anchors = append(status.Anchors, AnchorStatus{
				Subject: a.Subject.String(), SPKISHA256: trust.RefOf(a, nil).SPKI.String(),
				NotAfter: a.NotAfter.UTC(), DaysLeft: daysLeft(a.NotAfter, now),
			})
		}
		t.Bundles = append(t.Bundles, status)
	}
	return t
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
			Time: r.Time.UTC(), Listener: r.Listener, Remote: r.Remote, SNI: r.SNI, Outcome: r.Outcome,
			Reason: r.Reason, Depth: r.Depth, Found: r.Found, Want: r.Want, Hint: r.Hint, Error: r.Error, Claimed: r.Claimed,
		}
		for _, c := range r.Chain {
			status.Chain = append(status.Chain, PresentedStatus{c.Subject, c.Issuer, c.Serial, c.NotAfter.UTC()})
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
			Time: d.Time.UTC(), RequestID: d.ID, Listener: d.Listener, Remote: d.Remote, Caller: d.Caller, Claimed: d.Claimed,
			Method: d.Method, Host: d.Host, Path: d.Path, Route: d.Route, Rule: d.Rule,
			Decision: d.Decision, Status: d.Status, Reason: d.Reason,
		})
	}
	return denials
}
