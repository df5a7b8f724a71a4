package main

import (
	"fmt"
	"strings"

	"verigate/telemetry"
	"verigate/tlsterm"
	"verigate/verifycache"
)

// board is what every query of the dashboard follows.
var board = scope{
	window: "$__rate_interval",
	variables: map[string]string{
		labelJob:                   "job",
		labelInstance:              "instance",
		telemetry.LabelListener:    "listener",
		telemetry.LabelTrustDomain: "trust_domain",
		telemetry.LabelRoute:       "route",
	},
}

var (
	accepted = is(telemetry.LabelOutcome, tlsterm.Accepted.String())
	failed   = isNot(telemetry.LabelOutcome, tlsterm.Accepted.String())
	hit      = is(telemetry.LabelCacheResult, verifycache.Hit.String())
	unserved = isNot(telemetry.LabelDecision, telemetry.DecisionAllowed)
	differs  = isNot(telemetry.LabelOutcome, telemetry.ShadowAgrees)
)

// What the panels ask about.
var (
	handshakes = query{metric: telemetry.MetricHandshakeDuration}
	lookups    = query{metric: telemetry.MetricCacheLookups}
	requests   = query{metric: telemetry.MetricServerDuration}
)

// of narrows a query down.
func of(q query, where ...match) query {
	q.where = append(q.where[:len(q.where):len(q.where)], where...)
	return q
}

// per splits a query up.
func per(q query, labels ...string) query {
	q.by = append(q.by[:len(q.by):len(q.by)], labels...)
	return q
}

// quantiles are lines of one histogram, named by what it is split by.
func quantiles(q query, parts ...float64) (lines []target) {
	for _, p := range parts {
		lines = append(lines, line(strings.TrimSpace(fmt.Sprintf("p%g %s", 100*p, legendOf(q))), board.quantile(p, q)))
	}
	return lines
}

// rates is the rate of what q selects, named by what it is split by.
func rates(q query) target { return line(legendOf(q), board.rate(q)) }

// legendOf is Grafana's template for the labels that tell q's series apart.
func legendOf(q query) string {
	var labels []string
	for _, label := range q.by {
		labels = append(labels, "{{"+prometheusLabel(label)+"}}")
	}
	return strings.Join(labels, " ")
}

// verification is the dashboard of what the gateway is for.
func verification() dashboard {
	return dashboard{
		UID:           "verigate-verification",
		Title:         "Verigate: verification",
		Description:   "Who connects, how long proving it takes, what the verification cache saves, and who is refused and why.",
		Tags:          []string{"verigate", "mtls", "spiffe"},
		GraphTooltip:  1,
		Refresh:       "30s",
		SchemaVersion: 39,
		Time:          timeRange{From: "now-1h", To: "now"},
		Templating:    templating{List: variables()},
		Panels: arrange([]panel{
			row("At a glance"),
			stat(4, "Handshakes", "cps", "TLS handshakes per second, on any outcome.",
				line("", board.rate(handshakes)), otherwise("blue")),
			stat(4, "Handshakes refused", "percentunit", "Part of the handshakes after which nobody was authenticated.",
				line("", board.part(handshakes, failed)), otherwise("green"), from("orange", 0.05), from("red", 0.25)),
			stat(4, "Cache hit ratio", "percentunit", "Part of the look-ups in the verification cache that it could answer with an acceptance.",
				line("", board.part(lookups, hit)), otherwise("red"), from("orange", 0.5), from("green", 0.8)),
			stat(4, "Handshake p99", "s", "99 % of the accepted handshakes take no longer than this, waiting included.",
				line("", board.quantile(0.99, of(handshakes, accepted))), otherwise("green"), from("orange", 0.05), from("red", 0.25)),
			stat(4, "Requests", "reqps", "Requests per second, on any outcome.",
				line("", board.rate(requests)), otherwise("blue")),
			stat(4, "Connections", "none", "Connections whose handshake finished and that are open now.",
				line("", board.now("sum", query{metric: telemetry.MetricConnectionActive})), otherwise("blue")),

			row("Handshakes and verification"),
			graph(12, "Handshake duration by cache result", "s",
				"Accepted handshakes, from accepting the connection to the proof of the key. The difference between hit and miss is what judging a chain costs.",
				quantiles(per(of(handshakes, accepted), telemetry.LabelCacheResult), 0.5, 0.9, 0.99)...),
			graph(12, "Handshake duration by outcome", "s",
				"All handshakes. Failed ones should not be slower than accepted ones: a client that dawdles is cut off by the handshake timeout.",
				quantiles(per(handshakes, telemetry.LabelOutcome), 0.5, 0.9, 0.99)...),
			graph(12, "Verification duration by cache result", "s",
				"Time until there was a verdict about a presented chain. miss: path building, signatures, names, deny-list. hit: the look-up, and the comparison with clock and deny-list.",
				quantiles(per(query{metric: telemetry.MetricVerificationDuration}, telemetry.LabelCacheResult), 0.5, 0.9, 0.99)...),
			heatmap(12, "Verification duration, distribution", "s",
				"How many chains took how long to judge. Two bands are normal: the lower one knows the issuer already.",
				line("{{le}}", board.buckets(query{metric: telemetry.MetricVerificationDuration}))),
			graph(8, "Waiting for a CPU token", "s",
				"Time that handshakes queue so that established connections keep their share of the processors. It grows before anything else when handshakes come faster than they can be computed.",
				quantiles(per(query{metric: telemetry.MetricHandshakeQueue}, telemetry.LabelListener), 0.5, 0.99)...),
			graph(8, "Reading the identifier", "s",
				"Time to read the identifier of a leaf, where the cache did not answer.",
				quantiles(query{metric: telemetry.MetricIdentifierParse}, 0.5, 0.99)...),
			stacked(8, "Handshakes by cache result", "cps",
				"none: no chain was judged, because there was no certificate or the handshake ended before.",
				rates(per(handshakes, telemetry.LabelOutcome, telemetry.LabelCacheResult))),

			row("Verification cache"),
			graph(8, "Hit ratio", "percentunit",
				"Part of the look-ups that the cache answered with an acceptance. It falls when identities change faster than they come back, or when the cache is too small for them.",
				line("hit ratio", board.part(lookups, hit))),
			stacked(8, "Look-ups by result", "cps",
				"coalesced: waited for another handshake with the same chain. rejected_hit: a rejection that was remembered. bypass: the cache is off.",
				rates(per(lookups, telemetry.LabelCacheResult))),
			graph(8, "Entries", "none",
				"Entries held, by table: accepted chains, rejected chains and verified links between CAs.",
				line(legendOf(per(query{}, telemetry.LabelTable)),
					board.now("sum", per(query{metric: telemetry.MetricCacheEntries}, telemetry.LabelTable)))),
			graph(8, "Evictions and stale entries", "cps",
				"evicted: made room for others; the cache is too small. dropped: not taken in under contention. stale: found, but outside its window or denied since.",
				line("evicted", board.rate(query{metric: telemetry.MetricCacheEvictions})),
				line("dropped", board.rate(query{metric: telemetry.MetricCacheDropped})),
				line("stale", board.rate(query{metric: telemetry.MetricCacheStale}))),
			graph(8, "CPU time saved and spent", "percentunit",
				"Processors' worth of verification: 100 % is one core kept busy. saved: what the chains that were hit had cost to judge. spent: what misses did cost.",
				line("saved", board.rate(query{metric: telemetry.MetricCacheSaved})),
				line("spent", board.rate(query{metric: telemetry.MetricCacheSpent}))),
			graph(8, "Chains judged by trust domain", "cps",
				"What the chain claims, also when it was rejected: none has no readable identifier, other is in no configuration.",
				rates(per(query{metric: telemetry.MetricVerificationResults}, telemetry.LabelTrustDomain, telemetry.LabelOutcome))),

			row("Sessions and live connections"),
			stacked(12, "Sessions by what became of them", "cps",
				"resumed: without a new proof, judged by what is in force now. none: no session was offered. The rest fell back to a full handshake: foreign is a restart or a replica without the shared secret, rejected a caller that is not accepted any more.",
				rates(per(query{metric: telemetry.MetricResumptions}, telemetry.LabelResumption))),
			stacked(12, "Live connections ended", "cps",
				"Connections whose caller is not accepted any more. trust: anchors, CRLs or the deny-list changed. time: a CRL or a grade ended by itself. cut: a response in flight did not finish in time.",
				rates(per(query{metric: telemetry.MetricConnectionRefused}, telemetry.LabelCause, telemetry.LabelReason, telemetry.LabelOutcome))),
			graph(8, "Connections judged anew", "cps",
				"Live connections that were judged again, because what they are judged by changed or ended.",
				rates(per(query{metric: telemetry.MetricRejudged}, telemetry.LabelCause))),
			graph(8, "Time to judge connections anew", "s",
				"From a change until every live connection that it concerns was judged again. One second is what is promised.",
				quantiles(per(query{metric: telemetry.MetricRejudgeDuration}, telemetry.LabelCause), 0.5, 0.99)...),
			stacked(8, "Shared credentials", "cps",
				"Connections with a credential that is shared: one key under several identities, or one leaf from many networks. They are graded MIAL-1 at most.",
				rates(per(query{metric: telemetry.MetricFindings}, telemetry.LabelFinding))),

			row("Revocation and shadow trust"),
			graph(8, "CRLs: time left", "s",
				"Until the first CRL of a trust domain is past its nextUpdate; the least of all instances. At zero it is stale, and unless when_stale says otherwise everybody that it covers is refused.",
				line(legendOf(per(query{}, telemetry.LabelTrustDomain)),
					left(board, per(query{metric: telemetry.MetricCRLNextUpdate}, telemetry.LabelTrustDomain)))),
			graph(8, "CRLs: age and stale ones", "s",
				"Time since the CRL that ends first was issued; the oldest of all instances. stale: how many are past their nextUpdate.",
				line("age: "+legendOf(per(query{}, telemetry.LabelTrustDomain)),
					"time() - "+board.now("min", per(query{metric: telemetry.MetricCRLThisUpdate}, telemetry.LabelTrustDomain))),
				line("stale: "+legendOf(per(query{}, telemetry.LabelTrustDomain)),
					board.now("max", per(query{metric: telemetry.MetricCRLStale}, telemetry.LabelTrustDomain)))),
			graph(8, "Revoked certificates", "none",
				"Certificates that the CRLs in force revoke. A list that shrinks to nothing overnight deserves a look.",
				line(legendOf(per(query{}, telemetry.LabelTrustDomain)),
					board.now("max", per(query{metric: telemetry.MetricCRLEntries}, telemetry.LabelTrustDomain)))),
			stacked(12, "Shadow verdicts", "cps",
				"Chains judged by the shadow of their trust domain as well. agrees: nothing would change. would_refuse: these break when the shadow is put in force; /status lists them by identity.",
				rates(per(query{metric: telemetry.MetricShadowVerdicts}, telemetry.LabelTrustDomain, telemetry.LabelOutcome))),
			stacked(12, "Shadow differences by reason", "cps",
				"Why the shadow would refuse who is accepted, or why who it would accept is refused now.",
				rates(per(of(query{metric: telemetry.MetricShadowVerdicts}, differs), telemetry.LabelOutcome, telemetry.LabelErrorType))),

			row("Refusals"),
			stacked(12, "Handshakes refused by reason", "cps",
				"`gateway explain REASON` says what each means. pop_failed is somebody with another's certificate; bursts of untrusted_chain or expired follow a rotation that went wrong. Refused handshakes prove no trust domain, so with one selected this panel is empty.",
				rates(per(of(handshakes, failed), telemetry.LabelErrorType))),
			stacked(12, "Requests refused by reason", "cps",
				"Requests of authenticated callers that were denied by policy, matched no route, were malformed or failed on the way.",
				rates(per(of(query{metric: telemetry.MetricAuthorizationDecisions}, unserved), telemetry.LabelDecision, telemetry.LabelReason))),
			stacked(12, "Malformed requests by violation", "cps",
				"Requests that the strict gate refused before routing. Anything here is a broken client, or somebody who tries request smuggling.",
				rates(per(query{metric: telemetry.MetricHTTPRefused}, telemetry.LabelCode))),
			stacked(12, "Connections shed", "cps",
				"Connections closed before their handshake began, because a limit on connections or handshakes was reached.",
				rates(per(query{metric: telemetry.MetricConnectionShed}, telemetry.LabelListener, telemetry.LabelReason))),

			row("Requests and connections"),
			stacked(12, "Requests by status", "reqps",
				"By status code, whoever gave the answer.",
				rates(per(requests, telemetry.LabelStatus))),
			stacked(12, "Requests by route", "reqps",
				"none: no route matched.",
				rates(per(requests, telemetry.LabelRoute))),
			stacked(12, "Decisions", "reqps",
				"allowed: forwarded. denied: by policy, or for want of a route. refused: malformed, misdirected or too much. error: failed on the way.",
				rates(per(query{metric: telemetry.MetricAuthorizationDecisions}, telemetry.LabelDecision))),
			graph(12, "Request duration by route, p99", "s",
				"From the first octet of a request to the last of its response; the client's own slowness is in it.",
				quantiles(per(requests, telemetry.LabelRoute), 0.99)...),
			graph(8, "Time added by the gateway", "s",
				"A request's time less the time spent with its upstream.",
				quantiles(query{metric: telemetry.MetricAddedDuration}, 0.5, 0.99)...),
			graph(8, "Upstream duration, p99", "s",
				"Connecting, sending, waiting and receiving.",
				quantiles(per(query{metric: telemetry.MetricUpstreamDuration}, telemetry.LabelUpstream), 0.5, 0.99)...),
			graph(8, "Policy decision", "s",
				"Time to decide whether a caller may use a route.",
				quantiles(query{metric: telemetry.MetricPolicyDuration}, 0.5, 0.99)...),
			graph(12, "Open connections", "none",
				"Connections whose handshake finished and that are open now.",
				line(legendOf(per(query{}, telemetry.LabelListener)),
					board.now("sum", per(query{metric: telemetry.MetricConnectionActive}, telemetry.LabelListener)))),
			graph(12, "Life of connections", "s",
				"From the end of the handshake. Short lives mean many handshakes: look at keep-alive in the clients.",
				quantiles(per(query{metric: telemetry.MetricConnectionDuration}, telemetry.LabelListener), 0.5, 0.9)...),

			row("Trust, configuration and audit"),
			graph(12, "Credentials: time left", "s",
				"Until the gateway's own certificates expire; the least of all instances. A sawtooth is right, a line that reaches zero is an outage.",
				line(legendOf(per(query{}, telemetry.LabelCredential)),
					left(board, per(query{metric: telemetry.MetricCredentialNotAfter}, telemetry.LabelCredential)))),
			graph(12, "Trust bundles: time left", "s",
				"Until the last anchor of a trust domain expires; the least of all instances. After that nobody of the domain is accepted.",
				line(legendOf(per(query{}, telemetry.LabelTrustDomain)),
					left(board, per(query{metric: telemetry.MetricBundleNotAfter}, telemetry.LabelTrustDomain)))),
			graph(8, "In force since", "s",
				"Time since the configuration, bundles and credentials in force were read; the oldest of all instances. A credential whose line grows beyond the life of its certificates is no longer renewed.",
				line("configuration", "time() - "+board.now("min", query{metric: telemetry.MetricConfigLastSuccess})),
				line(legendOf(per(query{}, telemetry.LabelKind, telemetry.LabelName)),
					"time() - "+board.now("min", per(query{metric: telemetry.MetricTrustLoaded}, telemetry.LabelKind, telemetry.LabelName)))),
			graph(8, "Reloads", "none",
				"Attempts to load a new configuration, faults found in the files of bundles and credentials, and which of them last. The last good state stays in force meanwhile; /status says why.",
				line("configuration: "+legendOf(per(query{}, telemetry.LabelOutcome)),
					board.increase(per(query{metric: telemetry.MetricConfigReloads}, telemetry.LabelOutcome))),
				line("failed: "+legendOf(per(query{}, telemetry.LabelKind)),
					board.increase(per(query{metric: telemetry.MetricTrustReloadErrors}, telemetry.LabelKind))),
				line("degraded: "+legendOf(per(query{}, telemetry.LabelKind, telemetry.LabelName)),
					board.now("max", per(query{metric: telemetry.MetricTrustDegraded}, telemetry.LabelKind, telemetry.LabelName)))),
			graph(8, "Audit records", "cps",
				"Records written, by event. suppressed: failed handshakes beyond the rate limit, which are counted instead of recorded one each.",
				rates(per(query{metric: telemetry.MetricAuditRecords}, telemetry.LabelEvent)),
				line("suppressed", board.rate(query{metric: telemetry.MetricAuditSuppressed}))),
			stat(12, "Audit records lost", "none", "Records dropped in the time shown, because the queue was full or the file could not be written. Anything but zero is a gap in the evidence.",
				line("", board.rangeIncrease(query{metric: telemetry.MetricAuditDropped})), otherwise("green"), from("red", 1)),
			stat(12, "Audit write errors", "none", "Failed writes of the audit log in the time shown.",
				line("", board.rangeIncrease(query{metric: telemetry.MetricAuditErrors})), otherwise("green"), from("red", 1)),
		}),
	}
}

// left is how long it is until the first of the times that q selects.
func left(s scope, q query) string { return s.now("min", q) + " - time()" }

// rangeIncrease is how much a counter grew in all the time that is shown.
func (s scope) rangeIncrease(q query) string {
	s.window = "$__range"
	return s.increase(q)
}

// variables are what the reader can choose by.
func variables() []variable {
	whole := scope{}
	var list []variable
	list = append(list, variable{
		Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus", Refresh: 1,
		Current: &choice{Text: "Prometheus", Value: prometheusUID},
	})
	for _, v := range []struct{ name, label, key, metric, suffix string }{
		{"job", "Job", labelJob, telemetry.MetricConfigLastSuccess, ""},
		{"instance", "Instance", labelInstance, telemetry.MetricConfigLastSuccess, ""},
		{"listener", "Listener", telemetry.LabelListener, telemetry.MetricConnectionActive, ""},
		{"trust_domain", "Trust domain", telemetry.LabelTrustDomain, telemetry.MetricBundleNotAfter, ""},
		{"route", "Route", telemetry.LabelRoute, telemetry.MetricPolicyDuration, "_count"},
	} {
		list = append(list, variable{
			Name: v.name, Label: v.label, Type: "query", Datasource: &fromVariable,
			Query:   fmt.Sprintf("label_values(%s, %s)", whole.series(query{metric: v.metric}, v.suffix), prometheusLabel(v.key)),
			Refresh: 2, Multi: true, IncludeAll: true, AllValue: ".+", Sort: 1,
			Current: &choice{Text: "All", Value: "$__all"},
		})
		// What is chosen further left narrows down what can be chosen next.
		if v.key == labelJob || v.key == labelInstance {
			next := map[string]string{v.key: v.name}
			for key, name := range whole.variables {
				next[key] = name
			}
			whole.variables = next
		}
	}
	return list
}

// prometheusUID is the data source that deploy/grafana/provisioning defines.
const prometheusUID = "verigate-prometheus"
