package telemetry

import (
	"slices"
	"strings"
	"time"
)

// Names of the instruments, as OpenTelemetry spells them. Dashboards, alerts and
// docs/metrics.md take them from [Instruments].
const (
	MetricHandshakeDuration    = "verigate.tls.handshake.duration"
	MetricHandshakeQueue       = "verigate.tls.handshake.queue.duration"
	MetricResumptions          = "verigate.tls.resumptions"
	MetricIdentifierParse      = "verigate.identifier.parse.duration"
	MetricVerificationDuration = "verigate.verification.duration"
	MetricVerificationResults  = "verigate.verification.results"

	MetricConnectionActive   = "verigate.connection.active"
	MetricConnectionDuration = "verigate.connection.duration"
	MetricConnectionShed     = "verigate.connection.shed"
	MetricConnectionRefused  = "verigate.connection.refused"
	MetricRejudged           = "verigate.connection.rejudged"
	MetricRejudgeDuration    = "verigate.connection.rejudge.duration"
	MetricFindings           = "verigate.assurance.findings"

	MetricServerDuration         = "http.server.request.duration"
	MetricAddedDuration          = "verigate.added.duration"
	MetricPolicyDuration         = "verigate.policy.duration"
	MetricUpstreamDuration       = "verigate.upstream.duration"
	MetricAuthorizationDecisions = "verigate.authorization.decisions"
	MetricHTTPRefused            = "verigate.http.refused"

	MetricCacheLookups   = "verigate.cache.lookups"
	MetricCacheStale     = "verigate.cache.stale"
	MetricCacheEvictions = "verigate.cache.evictions"
	MetricCacheDropped   = "verigate.cache.writes.dropped"
	MetricCacheEntries   = "verigate.cache.entries"
	MetricCacheSpent     = "verigate.cache.spent.time"
	MetricCacheSaved     = "verigate.cache.saved.time"

	MetricShadowVerdicts = "verigate.shadow.verdicts"
	MetricCRLNextUpdate  = "verigate.crl.next_update.timestamp"
	MetricCRLThisUpdate  = "verigate.crl.this_update.timestamp"
	MetricCRLStale       = "verigate.crl.stale"
	MetricCRLEntries     = "verigate.crl.entries"

	MetricBundleNotAfter     = "verigate.trust.bundle.not_after.timestamp"
	MetricCredentialNotAfter = "verigate.credential.not_after.timestamp"
	MetricTrustLoaded        = "verigate.trust.loaded.timestamp"
	MetricTrustDegraded      = "verigate.trust.degraded"
	MetricTrustReloadErrors  = "verigate.trust.reload.errors"
	MetricConfigReloads      = "verigate.config.reloads"
	MetricConfigLastSuccess  = "verigate.config.last_success.timestamp"

	MetricAuditRecords    = "verigate.audit.records"
	MetricAuditDropped    = "verigate.audit.dropped"
	MetricAuditSuppressed = "verigate.audit.suppressed"
	MetricAuditErrors     = "verigate.audit.errors"
	MetricAuditQueued     = "verigate.audit.queued"
	MetricExportErrors    = "verigate.telemetry.export.errors"
)

// Attribute keys. None of them ever carries an identity, a serial number, an
// address, a server name or a path (AUD-08).
const (
	LabelListener    = "listener"
	LabelTrustDomain = "trust_domain"
	LabelOutcome     = "outcome"
	LabelResumed     = "tls.resumed"
	LabelResumption  = "tls.resumption"
	LabelTLSVersion  = "tls.protocol.version"
	LabelCacheResult = "cache.result"
	LabelErrorType   = "error.type"
	LabelReason      = "reason"
	LabelMethod      = "http.request.method"
	LabelRoute       = "http.route"
	LabelStatus      = "http.response.status_code"
	LabelProtocol    = "network.protocol.version"
	LabelScheme      = "url.scheme"
	LabelDecision    = "decision"
	LabelUpstream    = "upstream"
	LabelCode        = "code"
	LabelTable       = "table"
	LabelCredential  = "credential"
	LabelKind        = "kind"
	LabelName        = "name"
	LabelEvent       = "event"
	LabelSignal      = "signal"
	LabelCause       = "cause"
	LabelFinding     = "finding"

	// LabelOverflow marks the one series that takes every measurement beyond the
	// limit on series of its instrument. Its presence is worth an alert.
	LabelOverflow = "otel.metric.overflow"
)

// Values that stand for what is outside a closed list.
const (
	ValueOtherDomain = "other"  // an origin that no configuration lists
	ValueNone        = "none"   // no identifier was read, no chain was judged, no route matched
	ValueOther       = "_OTHER" // a method, protocol or code outside its list
)

// Kind says how an instrument adds up.
type Kind uint8

// The kinds.
const (
	Counter   Kind = iota // a sum that only grows
	Gauge                 // the value now
	Histogram             // a distribution of durations
)

// String returns "counter", "gauge" or "histogram".
func (k Kind) String() string {
	switch k {
	case Counter:
		return "counter"
	case Gauge:
		return "gauge"
	case Histogram:
		return "histogram"
	}
	return "unknown"
}

// Instrument describes one metric. Unit is a UCUM code: "s", or a thing counted
// in braces. Bounds are the inclusive upper bounds of a histogram's buckets.
type Instrument struct {
	Name   string
	Kind   Kind
	Unit   string
	Help   string
	Labels []string
	Bounds []time.Duration
}

// PrometheusName returns the name under which a Prometheus server sees the
// instrument: the base name for a histogram, without _bucket, _sum or _count.
func (i Instrument) PrometheusName() string {
	name := strings.ReplaceAll(i.Name, ".", "_")
	if i.Unit == unitSeconds {
		name += "_seconds"
	}
	if i.Kind == Counter {
		name += "_total"
	}
	return name
}

const unitSeconds = "s"

// Buckets. A verdict from the cache takes a microsecond and one that is computed a
// few hundred; general-purpose bounds, which begin at milliseconds, show neither.
var (
	stepBounds = []time.Duration{
		100 * time.Nanosecond, 250 * time.Nanosecond, 500 * time.Nanosecond,
		1 * time.Microsecond, 2500 * time.Nanosecond, 5 * time.Microsecond,
		10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond,
		100 * time.Microsecond, 500 * time.Microsecond, 2500 * time.Microsecond, 10 * time.Millisecond,
	}
	verificationBounds = []time.Duration{
		1 * time.Microsecond, 2500 * time.Nanosecond, 5 * time.Microsecond,
		10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond,
		100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
		1 * time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
		10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	}
	handshakeBounds = []time.Duration{
		250 * time.Microsecond, 500 * time.Microsecond,
		1 * time.Millisecond, 2 * time.Millisecond, 4 * time.Millisecond, 8 * time.Millisecond,
		16 * time.Millisecond, 32 * time.Millisecond, 64 * time.Millisecond, 128 * time.Millisecond,
		250 * time.Millisecond, 500 * time.Millisecond,
		1 * time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
	}
	addedBounds = []time.Duration{
		5 * time.Microsecond, 10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond,
		100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
		1 * time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
		25 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2500 * time.Millisecond,
	}
	// How long it takes until all live connections are judged anew: a connection more
	// costs a microsecond or a few hundred, and there may be a hundred thousand.
	rejudgeBounds = []time.Duration{
		10 * time.Microsecond, 100 * time.Microsecond,
		1 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
		100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
		1 * time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
	}
	// The semantic conventions' bounds with three finer ones in front.
	requestBounds = []time.Duration{
		500 * time.Microsecond, 1 * time.Millisecond, 2500 * time.Microsecond,
		5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 75 * time.Millisecond,
		100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, 750 * time.Millisecond,
		1 * time.Second, 2500 * time.Millisecond, 5 * time.Second, 7500 * time.Millisecond, 10 * time.Second,
	}
	connectionBounds = []time.Duration{
		10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second,
		time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour,
	}
)

// Instruments returns every metric of the gateway, in the order of the
// documentation. The caller owns the slice but not what its elements share.
func Instruments() []Instrument { return slices.Clone(instruments) }

var instruments = []Instrument{
	{MetricHandshakeDuration, Histogram, "s",
		"Time from accepting a connection to the end of its TLS handshake, waiting included.",
		[]string{LabelListener, LabelTrustDomain, LabelOutcome, LabelResumed, LabelCacheResult, LabelTLSVersion, LabelErrorType}, handshakeBounds},
	{MetricHandshakeQueue, Histogram, "s",
		"Time that a handshake waited for a CPU token.",
		[]string{LabelListener}, handshakeBounds},
	{MetricResumptions, Counter, "{handshake}",
		"Handshakes by what became of the session that the client wanted to resume.",
		[]string{LabelListener, LabelResumption}, nil},
	{MetricIdentifierParse, Histogram, "s",
		"Time to read the identifier of a leaf; not measured when the cache answered.",
		nil, stepBounds},
	{MetricVerificationDuration, Histogram, "s",
		"Time until there was a verdict about a presented chain, by how the cache came by it.",
		[]string{LabelTrustDomain, LabelCacheResult, LabelOutcome}, verificationBounds},
	{MetricVerificationResults, Counter, "{verification}",
		"Chains judged, by result; error.type is the reason of a rejection.",
		[]string{LabelTrustDomain, LabelOutcome, LabelErrorType}, nil},

	{MetricConnectionActive, Gauge, "{connection}",
		"Connections whose handshake finished and that are open now.",
		[]string{LabelListener}, nil},
	{MetricConnectionDuration, Histogram, "s",
		"Life of a connection, from its acceptance to its end.",
		[]string{LabelListener}, connectionBounds},
	{MetricConnectionShed, Counter, "{connection}",
		"Connections closed before a handshake began.",
		[]string{LabelListener, LabelReason}, nil},
	{MetricConnectionRefused, Counter, "{connection}",
		"Live connections that ended because their caller is not accepted any more, by the reason of the verdict.",
		[]string{LabelListener, LabelCause, LabelOutcome, LabelReason}, nil},
	{MetricRejudged, Counter, "{connection}",
		"Live connections that were judged anew.",
		[]string{LabelCause}, nil},
	{MetricRejudgeDuration, Histogram, "s",
		"Time to judge all live connections anew that a change concerned.",
		[]string{LabelCause}, rejudgeBounds},
	{MetricFindings, Counter, "{finding}",
		"Findings against the credential of a caller, one for each connection: it is shared, so its assurance is lowered.",
		[]string{LabelListener, LabelFinding}, nil},

	{MetricServerDuration, Histogram, "s",
		"Time from the first octet of a request to the last octet of its response.",
		[]string{LabelMethod, LabelScheme, LabelRoute, LabelStatus, LabelProtocol, LabelErrorType}, requestBounds},
	{MetricAddedDuration, Histogram, "s",
		"Part of a request's time that the gateway itself added: all of it less the upstream's.",
		[]string{LabelRoute}, addedBounds},
	{MetricPolicyDuration, Histogram, "s",
		"Time to decide whether a caller may use a route.",
		[]string{LabelRoute}, stepBounds},
	{MetricUpstreamDuration, Histogram, "s",
		"Time spent with the upstream: connecting, sending, waiting and receiving.",
		[]string{LabelUpstream}, requestBounds},
	{MetricAuthorizationDecisions, Counter, "{decision}",
		"Requests by decision; reason is set when the request was not served.",
		[]string{LabelRoute, LabelDecision, LabelReason}, nil},
	{MetricHTTPRefused, Counter, "{request}",
		"Requests that the strict gate refused before routing, by violation.",
		[]string{LabelCode}, nil},

	{MetricCacheLookups, Counter, "{lookup}",
		"Look-ups in the verification cache by result.",
		[]string{LabelCacheResult}, nil},
	{MetricCacheStale, Counter, "{lookup}",
		"Look-ups that found an entry which is no longer true: outside its window, denied, or of an earlier bundle.",
		nil, nil},
	{MetricCacheEvictions, Counter, "{entry}",
		"Entries that made room for others.",
		nil, nil},
	{MetricCacheDropped, Counter, "{entry}",
		"Verdicts that the cache did not take in under contention.",
		nil, nil},
	{MetricCacheEntries, Gauge, "{entry}",
		"Entries held now, by table.",
		[]string{LabelTable}, nil},
	{MetricCacheSpent, Counter, "s",
		"Time spent in judging chains that the cache did not know.",
		nil, nil},
	{MetricCacheSaved, Counter, "s",
		"Time that hits saved: what judging the same chains afresh had taken.",
		nil, nil},

	{MetricShadowVerdicts, Counter, "{verification}",
		"Chains that the shadow of their trust domain judged as well, in handshakes and when live connections are judged anew, by what it would change. error.type is why it would refuse, or why the chain is refused now.",
		[]string{LabelTrustDomain, LabelOutcome, LabelErrorType}, nil},
	{MetricCRLNextUpdate, Gauge, "s",
		"When the first of a trust domain's CRLs becomes stale, in seconds since 1970: the least nextUpdate.",
		[]string{LabelTrustDomain}, nil},
	{MetricCRLThisUpdate, Gauge, "s",
		"When the CRL that becomes stale first was issued, in seconds since 1970.",
		[]string{LabelTrustDomain}, nil},
	{MetricCRLStale, Gauge, "{crl}",
		"CRLs of a trust domain that are past their nextUpdate. Alert while it is above 0.",
		[]string{LabelTrustDomain}, nil},
	{MetricCRLEntries, Gauge, "{certificate}",
		"Certificates that the CRLs of a trust domain revoke.",
		[]string{LabelTrustDomain}, nil},

	{MetricBundleNotAfter, Gauge, "s",
		"When the last anchor of a trust domain expires, in seconds since 1970.",
		[]string{LabelTrustDomain}, nil},
	{MetricCredentialNotAfter, Gauge, "s",
		"When a credential of the gateway expires, in seconds since 1970.",
		[]string{LabelCredential}, nil},
	{MetricTrustLoaded, Gauge, "s",
		"When what is held of an item of trust was read from its files, in seconds since 1970.",
		[]string{LabelKind, LabelName}, nil},
	{MetricTrustDegraded, Gauge, "{item}",
		"1 while the files of an item of trust are wrong and the last good content is held instead, else 0. Alert while it is 1.",
		[]string{LabelKind, LabelName}, nil},
	{MetricTrustReloadErrors, Counter, "{error}",
		"Faults in the files of an item of trust; each counts once, however often the files are looked at until they are mended or wrong in another way.",
		[]string{LabelKind}, nil},
	{MetricConfigReloads, Counter, "{reload}",
		"Attempts to load a new configuration.",
		[]string{LabelOutcome}, nil},
	{MetricConfigLastSuccess, Gauge, "s",
		"When the configuration in force was loaded, in seconds since 1970.",
		nil, nil},

	{MetricAuditRecords, Counter, "{record}",
		"Audit records taken into the queue.",
		[]string{LabelEvent}, nil},
	{MetricAuditDropped, Counter, "{record}",
		"Audit records lost because the queue was full or the file could not be written. Alert when it grows.",
		nil, nil},
	{MetricAuditSuppressed, Counter, "{record}",
		"Failed handshakes beyond the rate limit, which are counted here and in a suppressed record instead of one each.",
		nil, nil},
	{MetricAuditErrors, Counter, "{error}",
		"Failed writes of the audit log. Alert when it grows.",
		nil, nil},
	{MetricAuditQueued, Gauge, "{record}",
		"Audit records waiting to be written.",
		nil, nil},
	{MetricExportErrors, Counter, "{error}",
		"Exports to the OTLP collector that failed, by signal.",
		[]string{LabelSignal}, nil},
}

// labelHelp says what a label's values are; docs/metrics.md prints it.
var labelHelp = map[string]string{
	LabelListener:    "name of a configured listener",
	LabelTrustDomain: "a configured origin such as `spiffe://prod.example`; `other` for the rest; `none` when there is none. Of a handshake it is proven; of a verification it is what the chain claims, also when it was rejected",
	LabelOutcome:     "handshakes: `accepted`, `admitted` (finished although the chain was rejected), `failed`; verifications: `accepted`, `rejected`; shadow: `agrees`, `would_refuse`, `would_accept`; live connections: `closed`, `cut` (in the middle of a response); reloads: `success`, `failure`",
	LabelResumed:     "`true` or `false`",
	LabelResumption:  resumptionHelp,
	LabelTLSVersion:  "`1.2`, `1.3`, or `none` when the handshake ended before the version was agreed",
	LabelCacheResult: "`hit`, `miss`, `coalesced`, `rejected_hit`, `bypass`; `none` when no chain was judged",
	LabelErrorType:   "a reason code, or the status code of an error response; absent on success",
	LabelReason:      "a reason code; absent when the request was served",
	LabelMethod:      "a method of RFC 9110 or RFC 5789; `_OTHER` for the rest",
	LabelRoute:       "name of a configured route; `none` when no route matched",
	LabelStatus:      "status code",
	LabelProtocol:    "`1.0`, `1.1`, `2`; `_OTHER` for the rest",
	LabelScheme:      "`https`",
	LabelDecision:    "`allowed`, `denied`, `refused`, `error`",
	LabelUpstream:    "name of a configured upstream",
	LabelCode:        "the violation",
	LabelTable:       "`accepted`, `rejected`, `links`",
	LabelCredential:  "name of a configured credential",
	LabelKind:        "`bundle`, `crl`, `shadow`, `credential`, `secret`",
	LabelName:        "configured origin of a bundle or shadow, with the configured file for CRLs; or name of a configured credential or secret",
	LabelEvent:       "`handshake`, `request`, `connection_refused`, `trust`",
	LabelSignal:      "`metrics`, `traces`",
	LabelCause:       "`trust`: what callers are judged by changed; `time`: a CRL, or what a grade says, ended by itself",
	LabelFinding:     "`shared_key`: one key under several identities; `many_networks`: one leaf from more client networks than one workload has",
}

// resumptionHelp says what [tlsterm.Resumptions] mean.
const resumptionHelp = "`none`: none was wanted, or the handshake ended before; `resumed`; else a full handshake took place: `foreign`: the ticket is of another gateway or too old a key; " +
	"`scope`: of another listener or server name; `too_old`: the key was proven too long ago; `rejected`: the chain is not accepted any more; `unusable`: damaged, or a CA is gone"
