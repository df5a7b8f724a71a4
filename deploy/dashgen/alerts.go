package main

import (
	"fmt"

	"verigate/telemetry"
)

// The part of Prometheus' rule files that is used here.

type ruleFile struct {
	Groups []ruleGroup `yaml:"groups"`
}

type ruleGroup struct {
	Name  string `yaml:"name"`
	Rules []rule `yaml:"rules"`
}

type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// Severities. critical: somebody should look now; warning: today; info: when it
// suits them.
const (
	critical = "critical"
	warning  = "warning"
	info     = "info"
)

// overLast speaks of one instance, over a window that ends now.
func overLast(window string) scope {
	return scope{by: []string{labelJob, labelInstance}, window: window}
}

// before moves the window into the past, for comparison.
func (s scope) before(offset string) scope {
	s.offset = offset
	return s
}

func alert(name, severity, lasting, expr, summary, description string) rule {
	return rule{
		Alert: name, Expr: expr, For: lasting,
		Labels:      map[string]string{"severity": severity},
		Annotations: map[string]string{"summary": summary, "description": description},
	}
}

// alerts are the few things worth waking up for, and a few for the morning.
func alerts() ruleFile {
	recent := overLast("5m")
	reloads := query{metric: telemetry.MetricConfigReloads, where: []match{is(telemetry.LabelOutcome, "failure")}}
	degraded := query{metric: telemetry.MetricTrustDegraded, by: []string{telemetry.LabelKind, telemetry.LabelName}}
	shed := query{metric: telemetry.MetricConnectionShed, by: []string{telemetry.LabelListener, telemetry.LabelReason}}
	refusedHandshakes := query{metric: telemetry.MetricHandshakeDuration, where: []match{failed}, by: []string{telemetry.LabelErrorType}}
	perDomain := func(metric string) query {
		return query{metric: metric, by: []string{telemetry.LabelTrustDomain}}
	}
	nextUpdate := recent.now("min", perDomain(telemetry.MetricCRLNextUpdate))
	different := query{
		metric: telemetry.MetricShadowVerdicts, where: []match{differs},
		by: []string{telemetry.LabelTrustDomain, telemetry.LabelOutcome, telemetry.LabelErrorType},
	}
	shared := query{metric: telemetry.MetricFindings, by: []string{telemetry.LabelListener, telemetry.LabelFinding}}
	refusedRequests := query{metric: telemetry.MetricAuthorizationDecisions, where: []match{unserved}, by: []string{telemetry.LabelRoute, telemetry.LabelReason}}

	return ruleFile{Groups: []ruleGroup{{Name: "verigate", Rules: []rule{
		alert("VerigateDown", critical, "2m",
			`up{job="verigate"} == 0`,
			"{{ $labels.instance }} cannot be scraped",
			"Prometheus has not reached the admin listener for two minutes. Either the gateway is down or the network to its admin address is."),

		alert("VerigateHandshakesSlow", warning, "10m",
			fmt.Sprintf("%s > 0.25 and on (job, instance) %s > 1",
				recent.quantile(0.99, of(handshakes, accepted)), recent.rate(of(handshakes, accepted))),
			"{{ $labels.instance }} takes {{ $value | humanizeDuration }} for a handshake",
			"p99 of accepted handshakes is above 250 ms for ten minutes. If the wait for CPU tokens grew with it, handshakes come faster than this machine computes them: add replicas, or find out who reconnects instead of keeping connections alive."),

		// Compared with the day before: what is normal depends on how short-lived the
		// certificates of a fleet are.
		alert("VerigateCacheHitRatioCollapsed", warning, "15m",
			fmt.Sprintf("%s < 0.5 * (%s) and on (job, instance) %s > 1",
				overLast("15m").part(lookups, hit), overLast("1d").before("15m").part(lookups, hit), overLast("15m").rate(lookups)),
			"the verification cache of {{ $labels.instance }} answers only {{ $value | humanizePercentage }} of the look-ups",
			"The hit ratio is less than half of what it was over the last day, so handshakes cost more CPU time. Usual causes: a mass rotation of certificates, clients that make a new certificate for every connection, a bundle that changes all the time, or a cache.max_entries that is too small (look at evictions)."),

		alert("VerigateHandshakeRefusalsSurged", warning, "5m",
			surge(refusedHandshakes),
			"{{ $labels.instance }} refuses {{ $value | humanize }} handshakes a second: {{ $labels.error_type }}",
			"Five times as many as in the hour before. `gateway explain {{ $labels.error_type }}` says what the reason means; /status and the audit log show who. A rotation that went wrong, a client that was misconfigured, or an attack."),

		alert("VerigateRequestRefusalsSurged", warning, "5m",
			surge(refusedRequests),
			"{{ $labels.instance }} refuses {{ $value | humanize }} requests a second on route {{ $labels.http_route }}: {{ $labels.reason }}",
			"Five times as many as in the hour before. After a change of policy it is probably too narrow; without one, some caller tries what it may not do."),

		alert("VerigateSheddingConnections", warning, "5m",
			recent.rate(shed)+" > 0.1",
			"{{ $labels.instance }} closes connections unheard: {{ $labels.reason }}",
			"A limit of listener {{ $labels.listener }} has been reached for five minutes. Clients see their connections closed. Add replicas, raise the limit, or find out who opens so many."),

		alert("VerigateCredentialExpiring", critical, "1m",
			left(recent, query{metric: telemetry.MetricCredentialNotAfter, by: []string{telemetry.LabelCredential}})+" < 1800",
			"certificate {{ $labels.credential }} of {{ $labels.instance }} expires in {{ $value | humanizeDuration }}",
			"Less than 30 minutes are left. When it has expired, no client connects any more. Whatever renews the certificate has stopped, or the gateway cannot read the new one: look at VerigateTrustReloadFailed and at /readyz."),

		alert("VerigateBundleExpiring", warning, "10m",
			left(recent, query{metric: telemetry.MetricBundleNotAfter, by: []string{telemetry.LabelTrustDomain}})+" < 604800",
			"the last trust anchor of {{ $labels.trust_domain }} expires in {{ $value | humanizeDuration }}",
			"Less than a week is left. After that every workload of the trust domain is refused. Get the new anchors into the bundle before workloads get certificates below them."),

		alert("VerigateCRLStale", critical, "1m",
			recent.now("max", perDomain(telemetry.MetricCRLStale))+" > 0",
			"{{ $labels.instance }} has {{ $value }} stale CRLs of {{ $labels.trust_domain }}",
			"Past their nextUpdate. With when_stale: refuse everybody whom they cover is refused; with grace that is about to happen; with accept-and-alarm this is the alarm, and revocations do not arrive. /status names the CRLs; find out why whatever fetches or writes them has stopped."),

		// In parts of its life, because some CRLs live for a week and some for an hour.
		alert("VerigateCRLExpiring", warning, "5m",
			fmt.Sprintf("%s - time() < 0.1 * (%s - %s)", nextUpdate, nextUpdate, recent.now("min", perDomain(telemetry.MetricCRLThisUpdate))),
			"a CRL of {{ $labels.trust_domain }} on {{ $labels.instance }} is stale in {{ $value | humanizeDuration }}",
			"Less than a tenth of its life is left, and no newer one has come. If the CA publishes this late as a rule, ask it for an overlap; otherwise find out why whatever fetches or writes the CRL has stopped."),

		alert("VerigateSharedCredential", warning, "",
			grows(shared, "15m"),
			"a credential is shared, seen on {{ $labels.listener }} of {{ $labels.instance }}: {{ $labels.finding }}",
			"One key is used under several identities, or one leaf from more client networks than one workload has: somebody copied a key, or instances share what should be their own. Their assurance is lowered; the audit log has findings in the records of their requests."),

		alert("VerigateShadowDiffers", info, "",
			grows(different, "1h"),
			"the shadow of {{ $labels.trust_domain }} {{ $labels.outcome }}: {{ $labels.error_type }}",
			"Seen within the last hour. would_refuse: if the shadow were put in force now, these callers would break; shadow_differences of /status lists them by identity."),

		// A rotation that is found half done is looked at again within a second.
		alert("VerigateTrustReloadFailed", critical, "1m",
			recent.now("max", degraded)+" > 0",
			"{{ $labels.instance }} cannot reload {{ $labels.kind }} {{ $labels.name }}",
			"The last good one stays in force, so revocations and rotations do not arrive. /readyz names the file and says what is wrong with it. The alert lasts until that is mended."),

		alert("VerigateConfigReloadFailed", warning, "",
			overLast("15m").increase(reloads)+" > 0",
			"{{ $labels.instance }} refused a new configuration",
			"The old configuration stays in force. `gateway check FILE` and /status say what is wrong. The alert ends by itself after 15 minutes, mended or not."),

		alert("VerigateAuditLoss", critical, "",
			fmt.Sprintf("%s > 0 or %s > 0",
				recent.increase(query{metric: telemetry.MetricAuditDropped}), recent.increase(query{metric: telemetry.MetricAuditErrors})),
			"{{ $labels.instance }} loses audit records",
			"The audit log cannot be written, or not fast enough: look at the disk. To refuse traffic rather than lose records, set telemetry.audit.on_full to block."),

		alert("VerigateSeriesOverflow", warning, "10m",
			fmt.Sprintf(`count by (job, instance, __name__) ({__name__=~"verigate_.+|http_server_request_duration_seconds_count", %s="true"}) > 0`, prometheusLabel(telemetry.LabelOverflow)),
			"{{ $labels.instance }} has too many series of {{ $labels.__name__ }}",
			"The limit on series is reached; further combinations of labels are lumped together, so panels and alerts by reason, route or trust domain miss some."),
	}}}}
}

// grows is how much a counter grew within the window. A series that did not exist
// before has no increase, and counts as what it is.
func grows(q query, window string) string {
	s := overLast(window)
	now := s.now("sum", q)
	before := s.grouped("sum", q, s.series(q, "")+" offset "+window)
	return fmt.Sprintf("%s > 0 or (%s unless %s) > 0", s.increase(q), now, before)
}

// surge is true of what happens more than once a second and five times as often
// as in the hour before. What never happened before counts as zero then.
func surge(q query) string {
	now, then := overLast("5m").rate(q), overLast("1h").before("5m").rate(q)
	return fmt.Sprintf("%s > 1 and %s > 5 * (%s or 0 * %s)", now, now, then, now)
}
