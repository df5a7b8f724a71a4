// Package telemetry records what the gateway did: metrics, spans and the audit
// record.
//
// The rooms below return values; the gateway hands those values to [Telemetry],
// once per handshake and once per request, on every outcome (AUD-01). From one
// value come three things for three readers:
//
//   - metrics, for dashboards and alerts: labels are closed lists (trust domain,
//     route, outcome, reason), never an identity (AUD-08). docs/metrics.md is
//     generated from [Instruments].
//   - spans, for following one request through a fleet. A caller's trace context
//     is linkage and a hint, nothing more (AUD-09).
//   - the audit record, for whoever must know later who did what: the full
//     identity, one JSON line, its format in docs/audit-record.md.
//
// # Cost
//
// Recording happens on the connection's goroutine and costs about a microsecond
// there. Metrics are arrays of atomic counters that the OpenTelemetry readers
// (Prometheus exposition, OTLP push) collect through a [metric.Producer]; the SDK's
// own instruments cost some 240 ns for each measurement, and a request makes five.
// Audit lines are encoded into a pooled buffer and copied into a bounded queue
// that one goroutine writes out. Nothing on that path waits for a disk or a
// network unless [AuditOptions.OnFull] says so.
//
// [metric.Producer]: https://pkg.go.dev/go.opentelemetry.io/otel/sdk/metric#Producer
package telemetry
