package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"verigate/telemetry"
)

// explanation is the answer, as --json prints it.
type explanation struct {
	Verdict     string     `json:"verdict"` // accept or reject
	Reason      string     `json:"reason"`  // "" when accepted
	Depth       int        `json:"depth"`   // of the certificate at fault; 0 is the leaf
	Identity    string     `json:"identity"`
	TrustDomain string     `json:"trust_domain"` // the origin
	Error       string     `json:"error,omitempty"`
	Found       string     `json:"found,omitempty"`
	Want        string     `json:"want,omitempty"`
	Hint        string     `json:"hint,omitempty"`
	Role        string     `json:"role"`
	At          time.Time  `json:"at"`
	MIAL        *int       `json:"mial,omitempty"`
	MAAL        string     `json:"maal,omitempty"`
	Lowered     []string   `json:"lowered,omitempty"` // why the grade is less than was stated
	NotAfter    *time.Time `json:"not_after,omitempty"`
	Presented   []pathCert `json:"presented"`      // the chain as it came, whatever the verdict
	Path        []pathCert `json:"path,omitempty"` // as it was accepted: leaf to anchor
	Steps       []stepLine `json:"steps"`
	// Revocation is what the CRLs say of each certificate of the path.
	Revocation []string `json:"revocation,omitempty"`
	// Resumption is what a client would come to that wants to resume a session.
	Resumption string        `json:"resumption,omitempty"`
	Shadow     *shadowAnswer `json:"shadow,omitempty"`
	Request    *answer       `json:"request,omitempty"`
}

// pathCert is one certificate, with what the configuration can say about it:
// deny.serial, deny.spki_sha256 and issuer_spki_sha256.
type pathCert struct {
	Subject    string    `json:"subject"`
	Serial     string    `json:"serial"`
	SPKISHA256 string    `json:"spki_sha256"`
	NotAfter   time.Time `json:"not_after"`
}

type stepLine struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Depth  int    `json:"depth"`
	Detail string `json:"detail"`
}

// shadowAnswer is what the shadow variant of the trust domain says of the chain.
type shadowAnswer struct {
	Verdict string `json:"verdict"`
	Reason  string `json:"reason,omitempty"`
	Depth   int    `json:"depth,omitempty"`
	Error   string `json:"error,omitempty"`
	MIAL    *int   `json:"mial,omitempty"`
}

func (s *shadowAnswer) String() string {
	if s == nil {
		return ""
	}
	if s.MIAL != nil {
		return fmt.Sprintf("would accept, MIAL-%d", *s.MIAL)
	}
	return "would reject: " + s.Error
}

// answer is what a request would come to.
type answer struct {
	Decision string   `json:"decision"` // granted, denied or refused
	Stage    string   `json:"stage"`    // what decided: http gate, routing or policy
	Reason   string   `json:"reason,omitempty"`
	Status   int      `json:"status,omitempty"` // of the gate's response
	Detail   string   `json:"detail,omitempty"`
	Route    string   `json:"route,omitempty"`
	Rule     string   `json:"rule,omitempty"`
	Upstream string   `json:"upstream,omitempty"`
	Missing  []string `json:"missing,omitempty"`
}

const (
	verdictAccept   = "accept"
	verdictReject   = "reject"
	decisionGranted = "granted"
	decisionDenied  = telemetry.DecisionDenied
	decisionRefused = telemetry.DecisionRefused
)

// The stages at which requests are decided.
const (
	stageGate    = "http gate"
	stageRouting = "routing"
	stagePolicy  = "policy"
)

func (e *explanation) print(out io.Writer, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false) // --batch does not either
		encoder.SetIndent("", "  ")
		return encoder.Encode(e)
	}
	p := newPrinter(out)
	for i := range e.Presented {
		p.certificate(fmt.Sprintf("presented[%d]", i), &e.Presented[i])
	}
	p.line("")
	for _, s := range e.Steps {
		if s.Name != "verdict" { // it follows
			p.step(s.OK, s.Name, s.Detail)
		}
	}
	p.line("")
	if e.Verdict == verdictAccept {
		e.printAccepted(p)
	} else {
		e.printRejected(p)
	}
	for _, line := range e.Revocation {
		p.field("crl", line)
	}
	p.field("resumes", e.Resumption)
	p.field("shadow", e.Shadow.String())
	if r := e.Request; r != nil {
		p.line("")
		p.verdict(r.Decision == decisionGranted, r.Decision, r.Reason)
		if r.Stage == stageGate {
			p.field("by", fmt.Sprintf("the strict %s, with status %d; no route was looked for", r.Stage, r.Status))
		}
		p.field("why", r.Detail)
		p.field("missing", strings.Join(r.Missing, "; "))
		p.field("route", r.Route)
		p.field("rule", r.Rule)
		p.field("upstream", r.Upstream)
		p.field("more", moreAbout(r.Reason))
	}
	return p.err
}

func (e *explanation) printAccepted(p *printer) {
	p.verdict(true, verdictAccept, fmt.Sprintf("%s, MIAL-%d, until %s", e.Identity, *e.MIAL, e.NotAfter.Format(time.RFC3339)))
	p.field("maal", e.MAAL)
	for _, why := range e.Lowered {
		p.field("lowered", why)
	}
	for i := range e.Path {
		if i >= len(e.Presented) || e.Path[i] != e.Presented[i] { // say once what stands above
			p.certificate(fmt.Sprintf("path[%d]", i), &e.Path[i])
		}
	}
}

func (e *explanation) printRejected(p *printer) {
	at := fmt.Sprintf("certificate %d of the chain", e.Depth)
	switch {
	case e.Depth == 0:
		at = "the leaf"
	case e.Depth >= len(e.Presented):
		at = "the anchor"
	}
	p.verdict(false, verdictReject, e.Reason+" at "+at)
	if e.Found == "" && e.Want == "" {
		p.field("why", e.Error)
	}
	p.field("found", e.Found)
	p.field("want", e.Want)
	p.field("hint", e.Hint)
	p.field("more", moreAbout(e.Reason))
}

// moreAbout is the command that explains a reason.
func moreAbout(reason string) string {
	if reason == "" {
		return ""
	}
	return "gateway explain " + reason
}
