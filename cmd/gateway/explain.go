package main

import (
	"cmp"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"verigate/assurance"
	"verigate/certpath"
	"verigate/config"
	"verigate/gateway"
	"verigate/policy"
	"verigate/telemetry"
	"verigate/trust"
	"verigate/trust/files"
	"verigate/verifycache"
	"verigate/workloadid"
)

// explainFlags are the questions that explain can be asked.
type explainFlags struct {
	config, listener     string
	anchors, trustDomain string
	cert, role, at       string
	sni, method, path    string
	host                 string
	headers              []string
	json, batch, noCache bool
}

func newExplainCommand() *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use:   "explain [REASON]",
		Short: "Say why a certificate is accepted or refused, step by step",
		Long: `explain judges a certificate chain as the gateway would, with the same code, and shows
each step: identifier, trust domain, every candidate path and why it failed, assurance
level, and, if a request is given, whether the listener's HTTP gate lets it pass, the route
and the rule that decides. Nothing is contacted; no gateway has to run.

  gateway explain --config gateway.yaml --cert chain.pem
  gateway explain --config gateway.yaml --cert chain.pem --method GET --host pay.example --path /v1/x
  gateway explain --anchors root.pem --trust-domain spiffe://prod.example --cert chain.pem --at 2026-12-01T00:00:00Z
  gateway explain untrusted_chain

The chain is PEM, leaf first, as the client would present it. Each certificate is shown
with serial number and the SHA-256 of its public key, in the form that deny and assurance
of a configuration want them. A request is granted (the audit record then says allowed),
denied by policy or for want of a route, or refused because it is malformed or on the wrong
connection. The exit code is 0 if the certificate is accepted (and the request granted), 4
if not. With --json there is one object with at least verdict, reason, depth, identity and
trust_domain.

With --batch, cases are read from standard input, one JSON object a line (id, kind, roots,
inters, leaf as base64 DER, time; optional trust_domain and profile: pkix or workload),
and each is answered with one line {"id","ok","reason","depth","err"}. Verdicts of the
workload profile go through the verification cache unless --no-cache is given; the pkix
profile, which has no identity to remember, never does.`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return reasonCodes(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) == 1:
				return explainReason(c.OutOrStdout(), args[0])
			case f.batch && f.cert != "":
				return usage("--batch reads its chains from standard input; leave --cert out")
			case f.batch:
				return explainBatch(c.InOrStdin(), c.OutOrStdout(), !f.noCache)
			default:
				return explain(c.InOrStdin(), c.OutOrStdout(), &f)
			}
		},
	}
	flags := c.Flags()
	flags.StringVarP(&f.config, "config", "c", "", "configuration file to judge by")
	flags.StringVar(&f.listener, "listener", "", "listener whose trust domains count (default: the first)")
	flags.StringVar(&f.anchors, "anchors", "", "anchors to judge by, instead of a configuration: PEM or SPIFFE bundle JSON")
	flags.StringVar(&f.trustDomain, "trust-domain", "", "origin that --anchors belong to, such as spiffe://prod.example")
	flags.StringVar(&f.cert, "cert", "", "the chain: PEM file, leaf first (- for standard input)")
	flags.StringVar(&f.role, "role", "client", "what the certificate's owner does in the connection: client or server")
	flags.StringVar(&f.at, "at", "", "time to judge at, RFC 3339 (default: now)")
	flags.StringVar(&f.sni, "sni", "", "server name that the client asks for (default: --host)")
	flags.StringVar(&f.host, "host", "", "the request's host (default: --sni)")
	flags.StringVar(&f.method, "method", "GET", "the request's method")
	flags.StringVar(&f.path, "path", "", "the request's path; with it, route and policy are explained too")
	flags.StringArrayVar(&f.headers, "header", nil, "a header field of the request, as NAME: VALUE")
	flags.BoolVar(&f.json, "json", false, "answer with one JSON object")
	flags.BoolVar(&f.batch, "batch", false, "answer cases from standard input")
	flags.BoolVar(&f.noCache, "no-cache", false, "with --batch: verify every chain anew")
	complete(c, "role", func() []string { return []string{"client", "server"} })
	complete(c, "listener", func() []string { return listenerNames(f.config) })
	return c
}

// listenerNames are those of a configuration, none if it has mistakes.
func listenerNames(path string) []string {
	c, err := config.Load(cmp.Or(path, defaultConfig))
	if err != nil {
		return nil
	}
	var names []string
	for _, l := range c.File.Listeners {
		names = append(names, l.Name)
	}
	return names
}

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
	NotAfter    *time.Time `json:"not_after,omitempty"`
	Presented   []pathCert `json:"presented"`      // the chain as it came, whatever the verdict
	Path        []pathCert `json:"path,omitempty"` // as it was accepted: leaf to anchor
	Steps       []stepLine `json:"steps"`
	Request     *answer    `json:"request,omitempty"`
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

func explain(in io.Reader, out io.Writer, f *explainFlags) error {
	if f.cert == "" {
		return usage("--cert is missing: the chain to explain, PEM, leaf first")
	}
	if err := f.consistent(); err != nil {
		return err
	}
	role, now, err := f.situation()
	if err != nil {
		return err
	}
	data, err := readInput(in, f.cert)
	if err != nil {
		return err
	}
	chain, err := readChain(f.cert, data)
	if err != nil {
		return invalid(err)
	}
	snapshot, scope, c, listener, err := f.trust()
	if err != nil {
		return err
	}
	e, verdict := judge(chain, role, scope, snapshot, now)
	if verdict.Accepted() && f.path != "" {
		e.Request = f.gate(listener)
		if e.Request == nil {
			e.Request = decide(c, &verdict, f)
		}
	}
	if err := e.print(out, f.json); err != nil {
		return err
	}
	if e.Verdict != verdictAccept || e.Request != nil && e.Request.Decision != decisionGranted {
		return &codedError{code: exitReject}
	}
	return nil
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

// consistent refuses questions of which a part would silently not be answered.
func (f *explainFlags) consistent() error {
	request := f.path != ""
	switch {
	case f.config != "" && f.anchors != "":
		return usage("--config and --anchors exclude each other")
	case request && f.config == "":
		return usage("--path asks for route and policy, which are in a configuration; give --config FILE")
	case request && f.role == "server":
		return usage("--path is about the request of a client; leave it or --role server out")
	case request && !strings.HasPrefix(f.path, "/"):
		return usage("--path %q does not begin with a slash", f.path)
	case request && f.host == "" && f.sni == "":
		return usage("--path is about a request, and every request has a host; give --host NAME too")
	case !request && (f.host != "" || len(f.headers) > 0):
		return usage("--host and --header are about a request; give --path too")
	case f.listener != "" && f.config == "":
		return usage("--listener names a listener of a configuration; give --config FILE")
	case f.trustDomain != "" && f.anchors == "":
		return usage("--trust-domain says whose --anchors FILE is; it is missing")
	case f.config == "" && (f.anchors == "" || f.trustDomain == ""):
		return usage("say what to judge by: --config FILE, or --anchors FILE with --trust-domain ORIGIN")
	case f.noCache:
		return usage("--no-cache belongs to --batch; a single chain is always verified anew")
	}
	for _, h := range f.headers {
		if name, _, ok := strings.Cut(h, ":"); !ok || strings.TrimSpace(name) == "" {
			return usage("--header %q is not NAME: VALUE", h)
		}
	}
	return nil
}

func (f *explainFlags) situation() (certpath.Role, time.Time, error) {
	role := certpath.RoleClient
	switch f.role {
	case "client":
	case "server":
		role = certpath.RoleServer
	default:
		return 0, time.Time{}, usage("--role %q is neither client nor server", f.role)
	}
	now := time.Now()
	if f.at != "" {
		at, err := time.Parse(time.RFC3339, f.at)
		if err != nil {
			return 0, time.Time{}, usage("--at %q is not a time such as 2026-12-01T00:00:00Z", f.at)
		}
		now = at
	}
	return role, now, nil
}

// trust returns what to judge by: from a configuration, with the listener that is
// asked about, or from anchors alone.
func (f *explainFlags) trust() (*trust.Snapshot, *verifycache.Scope, *config.Config, *config.Listener, error) {
	if f.config != "" {
		return f.trustOfConfig()
	}
	origin, err := workloadid.ParseOrigin(f.trustDomain)
	if err != nil {
		return nil, nil, nil, nil, usage("--trust-domain %q is not an origin such as spiffe://prod.example: %v", f.trustDomain, err)
	}
	data, err := os.ReadFile(f.anchors)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	parsed, err := trust.ParseAnchors(f.anchors, data, origin)
	if err != nil {
		return nil, nil, nil, nil, invalid(err)
	}
	bundle, err := trust.NewBundle(origin, trust.BundleOptions{Anchors: parsed.Anchors})
	if err != nil {
		return nil, nil, nil, nil, invalid(err)
	}
	snapshot, err := trust.NewSnapshot([]*trust.Bundle{bundle}, nil)
	if err != nil {
		return nil, nil, nil, nil, invalid(err)
	}
	scope, err := verifycache.NewScope("explain", []workloadid.Origin{origin})
	return snapshot, scope, nil, nil, err
}

func (f *explainFlags) trustOfConfig() (*trust.Snapshot, *verifycache.Scope, *config.Config, *config.Listener, error) {
	c, err := config.Load(f.config)
	if err != nil {
		return nil, nil, nil, nil, invalid(err)
	}
	o, err := sources(c)
	if err != nil {
		return nil, nil, nil, nil, invalid(err)
	}
	o.Credentials = nil // the gateway's own certificate does not matter here
	var store trust.Store
	if _, err := files.Open(o, &store); err != nil {
		return nil, nil, nil, nil, invalid(placed(c, err))
	}
	var names []string
	for i := range c.File.Listeners {
		l := &c.File.Listeners[i]
		if f.listener == "" || f.listener == l.Name {
			scope, err := l.Scope()
			return store.Load(), scope, c, l, err
		}
		names = append(names, l.Name)
	}
	return nil, nil, nil, nil, usage("--listener %q does not exist; there are %s", f.listener, strings.Join(names, ", "))
}

// judge asks the live path for the verdict and the path validator for the steps.
func judge(chain []*x509.Certificate, role certpath.Role, scope *verifycache.Scope, snapshot *trust.Snapshot, now time.Time) (*explanation, verifycache.Verdict) {
	e := &explanation{Verdict: verdictReject, Role: role.String(), At: now.UTC(), Presented: []pathCert{}, Steps: []stepLine{}}
	for _, c := range chain {
		e.Presented = append(e.Presented, describe(c))
	}
	cache, err := verifycache.New(verifycache.Options{Disabled: true, Now: func() time.Time { return now }})
	if err != nil { // a disabled cache needs nothing that could fail
		panic(err)
	}
	defer cache.Close()
	verdict := cache.Verify(chain, role, scope, snapshot)

	e.Identity = verdict.ID.String()
	e.TrustDomain = verdict.ID.Origin().String()
	tracer := certpath.Verifier{Trace: func(s certpath.Step) {
		e.Steps = append(e.Steps, stepLine{s.Name, s.OK, s.Depth, s.Detail})
	}}
	_, _ = tracer.Verify(chain, snapshot.Bundle(verdict.ID.Origin()), role, now) // for its steps; the verdict is the other's

	if fault := verdict.Err; fault != nil {
		e.Reason, e.Depth, e.Error = fault.Reason.String(), fault.Depth, fault.Error()
		e.Found, e.Want, e.Hint = fault.Found, fault.Want, fault.Hint
		return e, verdict
	}
	e.Verdict = verdictAccept
	mial := int(verdict.Grade.MIAL)
	notAfter := verdict.Path.NotAfter().UTC()
	e.MIAL, e.MAAL, e.NotAfter = &mial, maalText(verdict.Grade), &notAfter
	for _, c := range verdict.Path.Certificates() {
		e.Path = append(e.Path, describe(c))
	}
	return e, verdict
}

func describe(c *x509.Certificate) pathCert {
	ref := trust.RefOf(c, nil)
	return pathCert{
		Subject: c.Subject.String(), Serial: hex.EncodeToString(c.SerialNumber.Bytes()),
		SPKISHA256: ref.SPKI.String(), NotAfter: c.NotAfter.UTC(),
	}
}

// name is the subject, or what stands for it where it is empty, as the subjects of
// workloads are.
func (c *pathCert) name() string {
	if c.Subject == "" {
		return "(no subject)"
	}
	return c.Subject
}

func maalText(g assurance.Grade) string {
	if g.MAAL == (assurance.MAAL{}) {
		return ""
	}
	var parts []string
	for c, grade := range g.MAAL {
		parts = append(parts, fmt.Sprintf("%s=%d", assurance.Characteristic(c), grade))
	}
	return assurance.MAALProfile + " " + strings.Join(parts, " ")
}

// decide asks the live decision about a request.
func decide(c *config.Config, v *verifycache.Verdict, f *explainFlags) *answer {
	host := cmp.Or(f.host, f.sni)
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name // routes know no ports
	}
	sni := f.sni
	if _, err := netip.ParseAddr(host); err != nil && sni == "" {
		sni = host // what clients ask for, unless it is an address (RFC 6066 §3)
	}
	path, _, _ := strings.Cut(f.path, "?")
	fields := map[string]string{}
	for _, h := range f.headers {
		name, value, _ := strings.Cut(h, ":")
		fields[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	routes, rules := c.Rules()
	decision := gateway.Decide(routes, rules, &gateway.Question{
		Subject: policy.Subject{ID: v.ID, Grade: v.Grade},
		SNI:     strings.ToLower(sni), Host: strings.ToLower(host), Path: path, Method: f.method,
		Header: func(name string) (string, bool) {
			value, ok := fields[strings.ToLower(name)]
			return value, ok
		},
	})
	a := &answer{Decision: decisionDenied, Stage: stagePolicy, Reason: string(decision.Reason)}
	switch decision.Reason {
	case gateway.ReasonMisdirected:
		a.Decision, a.Stage = decisionRefused, stageRouting
	case gateway.ReasonNoRoute:
		a.Stage = stageRouting
	default: // a rule, or the want of one
	}
	if decision.Route != nil {
		a.Route, a.Upstream = decision.Route.Name, decision.Route.Upstream
	}
	if decision.Denial != nil {
		a.Rule, a.Missing = decision.Denial.Rule, decision.Denial.Missing
	}
	if decision.Granted() {
		a.Decision, a.Rule = decisionGranted, decision.Grant.Rule()
	}
	return a
}

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
	if r := e.Request; r != nil {
		p.line("")
		p.verdict(r.Decision == decisionGranted, r.Decision, r.Reason)
		if r.Stage == stageGate {
			p.field("by", fmt.Sprintf("the strict %s, with status %d; no route was looked for", r.Stage, r.Status))
		}
		p.field("why", r.Detail)
		p.field("missing", strings.Join(r.Missing, ", "))
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

// maxInputBytes bounds what is read as a chain.
const maxInputBytes = 1 << 20

func readInput(in io.Reader, name string) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s does not exist; --cert wants a PEM file with the chain, leaf first", name)
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxInputBytes+1))
	if len(data) > maxInputBytes {
		return nil, fmt.Errorf("%s has more than %d octets; that much is no chain", name, maxInputBytes)
	}
	return data, err
}
