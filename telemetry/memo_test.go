package telemetry

import (
	"strings"
	"testing"

	"verigate/assurance"
)

// Whatever changes between two requests of a connection, what is recorded of the second
// is what would be without a Memo.
func TestMemoChangesNothing(t *testing.T) {
	t.Parallel()
	changes := map[string]func(*Request){
		"nothing":           func(*Request) {},
		"listener":          func(r *Request) { r.Listener = "inner" },
		"connection":        func(r *Request) { r.ConnID++ },
		"remote":            func(r *Request) { r.Remote = "192.0.2.9:1" },
		"server name":       func(r *Request) { r.SNI = strings.Repeat("n", maxShortField+1) },
		"caller":            func(r *Request) { r.Caller = id(t, "spiffe://partner.example/ns/a/sa/b") },
		"nobody":            func(r *Request) { r.Caller, r.ClaimedID = r.ClaimedID, r.Caller },
		"grade":             func(r *Request) { r.Grade.MIAL = assurance.MIAL1 },
		"findings":          func(r *Request) { r.Findings.SharedKey = true },
		"method":            func(r *Request) { r.Method = "PUT" },
		"path":              func(r *Request) { r.Path = "/other" },
		"protocol":          func(r *Request) { r.Proto = "HTTP/1.0" },
		"route":             func(r *Request) { r.Route = "other" },
		"upstream":          func(r *Request) { r.Upstream = "other" },
		"no upstream":       func(r *Request) { r.Upstream, r.Endpoint = "", "" },
		"endpoint":          func(r *Request) { r.Endpoint = "192.0.2.7:1" },
		"upstream identity": func(r *Request) { r.UpstreamID = id(t, "spiffe://prod.example/ns/other/sa/api") },
		"status":            func(r *Request) { r.Status = 503 },
		"denied":            func(r *Request) { r.Decision, r.Reason, r.Status = DecisionDenied, "policy_denied", 403 },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			record := func(memo *Memo) (log, metrics string) {
				log = audited(t, nil, func(tel *Telemetry) {
					for i := range 3 {
						r := *served(t)
						if i == 1 {
							change(&r)
						}
						r.Memo = memo
						tel.Request(&r)
					}
					metrics = scrape(t, tel, textFormat)
				})
				return strings.Join(requestLines(log), ""), strings.Join(requestSamples(metrics), "")
			}
			memo := new(Memo)
			record(memo) // what another Telemetry left in it is of no use to this one
			log, metrics := record(memo)
			wantLog, wantMetrics := record(nil)
			if log != wantLog || log == "" {
				t.Errorf("with a Memo the log is\n%s\nwant\n%s", log, wantLog)
			}
			if metrics != wantMetrics || metrics == "" {
				t.Errorf("with a Memo the metrics are\n%s\nwant\n%s", metrics, wantMetrics)
			}
		})
	}
}

// requestLines returns the records of requests.
func requestLines(log string) (lines []string) {
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"event":"`+eventRequest+`"`) {
			lines = append(lines, line)
		}
	}
	return lines
}

// requestSamples returns what metrics count of requests.
func requestSamples(exposition string) (lines []string) {
	for line := range strings.Lines(exposition) {
		if strings.Contains(line, "_count{") || strings.Contains(line, "_total{") {
			lines = append(lines, line)
		}
	}
	return lines
}
