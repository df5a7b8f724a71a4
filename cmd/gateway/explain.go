package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"verigate/certpath"
	"verigate/config"
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

func explain(in io.Reader, out io.Writer, f *explainFlags) error {
	q, err := f.question(in)
	if err != nil {
		return err
	}
	e := q.answer()
	if err := e.print(out, f.json); err != nil {
		return err
	}
	if e.Verdict != verdictAccept || e.Request != nil && e.Request.Decision != decisionGranted {
		return &codedError{code: exitReject}
	}
	return nil
}

// question puts what the flags ask for together.
func (f *explainFlags) question(in io.Reader) (*question, error) {
	if f.cert == "" {
		return nil, usage("--cert is missing: the chain to explain, PEM, leaf first")
	}
	if err := f.consistent(); err != nil {
		return nil, err
	}
	q := &question{}
	var err error
	if q.role, q.now, err = f.situation(); err != nil {
		return nil, err
	}
	data, err := readInput(in, f.cert)
	if err != nil {
		return nil, err
	}
	if q.chain, err = readChain(f.cert, data); err != nil {
		return nil, invalid(err)
	}
	if f.path != "" {
		q.request = &requestLine{sni: f.sni, host: f.host, method: f.method, path: f.path, headers: f.headers}
	}
	return q, f.trust(q)
}

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
	if err := (&requestLine{headers: f.headers}).checkHeaders(); err != nil {
		return usage("--header %v", err)
	}
	return nil
}

func (f *explainFlags) situation() (certpath.Role, time.Time, error) {
	role, err := roleNamed(f.role)
	if err != nil {
		return 0, time.Time{}, usage("--role %v", err)
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

// trust adds what to judge by: from a configuration, with the listener that is
// asked about, or from anchors alone.
func (f *explainFlags) trust(q *question) error {
	if f.config != "" {
		return f.trustOfConfig(q)
	}
	origin, err := workloadid.ParseOrigin(f.trustDomain)
	if err != nil {
		return usage("--trust-domain %q is not an origin such as spiffe://prod.example: %v", f.trustDomain, err)
	}
	data, err := os.ReadFile(f.anchors)
	if err != nil {
		return err
	}
	parsed, err := trust.ParseAnchors(f.anchors, data, origin)
	if err != nil {
		return invalid(err)
	}
	bundle, err := trust.NewBundle(origin, trust.BundleOptions{Anchors: parsed.Anchors})
	if err != nil {
		return invalid(err)
	}
	if q.snapshot, err = trust.NewSnapshot([]*trust.Bundle{bundle}, nil); err != nil {
		return invalid(err)
	}
	q.scope, err = verifycache.NewScope("explain", []workloadid.Origin{origin})
	return err
}

func (f *explainFlags) trustOfConfig(q *question) error {
	c, err := config.Load(f.config)
	if err != nil {
		return invalid(err)
	}
	o, err := sources(c)
	if err != nil {
		return invalid(err)
	}
	o.Credentials = nil // the gateway's own certificate does not matter here
	var store trust.Store
	if _, err := files.Open(o, &store); err != nil {
		return invalid(placed(c, err))
	}
	q.snapshot, q.config = store.Load(), c
	return q.at(f.listener)
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
