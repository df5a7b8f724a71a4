package telemetry

import (
	"crypto/tls"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"verigate/assurance"
	"verigate/certpath"
	"verigate/tlsterm"
	"verigate/verifycache"
	"verigate/workloadid"
)

// Observer returns the functions that record what happens on the named listener.
func (t *Telemetry) Observer(listener string) tlsterm.Observer {
	duration := t.meter.with(MetricConnectionDuration, listener)
	return tlsterm.Observer{
		Handshake: t.Handshake,
		Shed: func(reason tlsterm.ShedReason, _ netip.AddrPort) {
			t.meter.with(MetricConnectionShed, listener, code(reason.String())).add(1)
		},
		Closed: func(_ *tlsterm.Conn, life time.Duration) { duration.observe(life) },
	}
}

// Handshake records one handshake, on any outcome: its metrics, a span if it is
// sampled, and its audit record. It keeps h if nobody was authenticated, so h must
// not change any more.
//
// Failures get records up to a rate only, see [AuditOptions.FailuresPerSecond];
// they are always counted.
func (t *Telemetry) Handshake(h *tlsterm.Handshake) {
	e := evidenceOf(h)
	t.handshake(h, &e)
}

func (t *Telemetry) handshake(h *tlsterm.Handshake, e *evidence) {
	var tr Trace
	if t.tracer != nil && t.sampler.sample(false) {
		tr = t.handshakeSpan(h, e)
	}
	t.measureHandshake(h, e, tr)
	outcome, difference := shadowOfHandshake(h)
	t.shadows.note(e.who(), outcome, difference, h.Start.Add(h.Duration))
	failed := h.Outcome != tlsterm.Accepted
	if failed {
		t.recent.add(h)
	}
	if t.audit == nil || failed && !t.audit.admitFailure(h.Start.Add(h.Duration)) {
		return
	}
	buffer := buffers.Get().(*[]byte)
	l := line{b: *buffer}
	l.handshake(h, e, tr)
	t.submit(&l, buffer, t.auditCount.handshakes)
}

// evidence is what a handshake proved, and what it did not.
type evidence struct {
	id    workloadid.ID // proven: the key too (TLS-13); zero otherwise
	grade assurance.Grade
	// claimed is the identifier in a chain whose holder is not proven (AUD-10).
	claimed workloadid.ID

	leaf, issuer, anchor [32]byte // of the leaf's DER; of two SPKIs
	serial               [20]byte
	snapshot             [32]byte
	expires              time.Time
	claimedLeaf          [32]byte // of an accepted chain whose key was not proven
}

func evidenceOf(h *tlsterm.Handshake) (e evidence) {
	if h.Outcome != tlsterm.Accepted || h.Peer.IsZero() {
		e.claimed = h.Verdict.ID
		if h.Verdict.Path != nil {
			e.claimedLeaf = h.Verdict.Path.LeafSHA256()
		}
		return e
	}
	path := h.Peer.Path()
	e.id, e.grade, e.expires, e.snapshot = h.Peer.ID(), h.Peer.Grade(), h.Peer.Expiry(), h.Peer.Snapshot()
	e.leaf = path.LeafSHA256()
	if refs := path.Refs(); len(refs) > 0 {
		e.serial, e.issuer = refs[0].Serial, refs[0].IssuerSPKI
		e.anchor = refs[len(refs)-1].SPKI
	}
	return e
}

// who returns the identifier that is known, proven or not.
func (e *evidence) who() workloadid.ID {
	if e.id.IsZero() {
		return e.claimed
	}
	return e.id
}

// handshakeKey is what the metrics of a handshake tell apart.
type handshakeKey struct {
	listener, reason  string
	domain            string // proven
	claimed           string // as judged: proven or not
	outcome           tlsterm.Outcome
	cache             uint8 // 0: no chain was judged; else verifycache.Outcome + 1
	rejection         certpath.Reason
	accepted, resumed bool
	resumption        tlsterm.Resumption
	version           uint16
	shadow            shadowOutcome
	difference        certpath.Reason // behind shadow
}

// handshakeSeries are the series that handshakes of one key add to.
type handshakeSeries struct {
	duration, queue, resumption, parse, verification, results *series

	shadow *series // nil: there is no shadow
}

func (t *Telemetry) measureHandshake(h *tlsterm.Handshake, e *evidence, tr Trace) {
	v := &h.Verdict
	k := handshakeKey{
		listener: h.Listener, reason: h.Reason, domain: t.domain(e.id), claimed: t.domain(e.who()),
		outcome: h.Outcome, accepted: v.Accepted(), resumed: h.Resumed, version: h.Version,
		resumption: h.Resumption,
	}
	k.shadow, k.difference = shadowOfHandshake(h)
	judged := v.Path != nil || v.Err != nil
	if judged {
		k.cache = uint8(v.Outcome) + 1
	}
	if v.Err != nil {
		k.rejection = v.Err.Reason
	}
	s := t.handshakes.get(k)
	if s == nil {
		s = t.handshakes.put(k, t.newHandshakeSeries(k))
	}
	s.duration.observe(h.Duration)
	if tr.sampled {
		s.duration.exemplar.Store(&exemplar{value: h.Duration, at: h.Start.Add(h.Duration), trace: tr})
	}
	s.queue.observe(h.QueueWait)
	s.resumption.add(1)
	if s.shadow != nil {
		s.shadow.add(1)
	}
	if !judged {
		return
	}
	s.results.add(1)
	s.verification.observe(h.JudgeTime)
	// Zeros for what the cache remembered would drag every quantile to the first
	// bucket.
	if v.IdentifyDuration > 0 {
		s.parse.observe(v.IdentifyDuration)
	}
}

func (t *Telemetry) newHandshakeSeries(k handshakeKey) *handshakeSeries {
	cache, verdict, rejection := ValueNone, "accepted", ""
	if k.cache > 0 {
		cache = verifycache.Outcome(k.cache - 1).String()
	}
	if !k.accepted {
		verdict = "rejected"
	}
	if k.rejection != certpath.ReasonNone {
		rejection = k.rejection.String()
	}
	s := &handshakeSeries{
		duration: t.meter.with(MetricHandshakeDuration, k.listener, k.domain, k.outcome.String(),
			strconv.FormatBool(k.resumed), cache, versionLabel(k.version), code(k.reason)),
		queue:      t.meter.with(MetricHandshakeQueue, k.listener),
		resumption: t.meter.with(MetricResumptions, k.listener, k.resumption.String()),
	}
	if k.shadow != shadowAbsent {
		s.shadow = t.newShadowSeries(shadowVerdict{k.claimed, k.shadow, k.difference})
	}
	if k.cache > 0 {
		s.parse = t.meter.with(MetricIdentifierParse)
		s.verification = t.meter.with(MetricVerificationDuration, k.claimed, cache, verdict)
		s.results = t.meter.with(MetricVerificationResults, k.claimed, verdict, rejection)
	}
	return s
}

// domain returns the label for an identifier's trust domain.
func (t *Telemetry) domain(id workloadid.ID) string {
	if id.IsZero() {
		return ValueNone
	}
	if name, ok := t.domains[id.Origin()]; ok {
		return name
	}
	return ValueOtherDomain
}

func versionLabel(version uint16) string {
	switch version {
	case tls.VersionTLS13:
		return "1.3"
	case tls.VersionTLS12:
		return "1.2"
	case 0:
		return ValueNone
	}
	return ValueOther
}

// cipherNames saves what [tls.CipherSuiteName] does at every call: list all suites.
var cipherNames = func() map[uint16]string {
	names := make(map[uint16]string)
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		names[s.ID] = s.Name
	}
	return names
}()

// cipherName returns the name of RFC 8446 or the number of a suite that crypto/tls
// does not have.
func cipherName(suite uint16) string {
	if name, ok := cipherNames[suite]; ok {
		return name
	}
	return tls.CipherSuiteName(suite)
}

// code returns a reason as a label. Reasons are closed lists of the rooms; what
// does not look like one must not become a label, whatever brought it here.
func code(reason string) string {
	const longest = 48
	if len(reason) > longest {
		return ValueOther
	}
	for i := 0; i < len(reason); i++ {
		c := reason[i]
		if (c < 'a' || c > 'z') && c != '_' && (c < '0' || c > '9' || i == 0) {
			return ValueOther
		}
	}
	return reason
}

// handshake writes the record of a handshake; docs/audit-record.md lists its
// members in this order.
func (l *line) handshake(h *tlsterm.Handshake, e *evidence, tr Trace) {
	l.open(h.Start.Add(h.Duration), eventHandshake)
	l.text("outcome", h.Outcome.String(), maxShortField)
	l.text("reason", h.Reason, maxShortField)
	if rejection := h.Verdict.Err; rejection != nil {
		l.key("depth")
		l.b = strconv.AppendInt(l.b, int64(rejection.Depth), 10)
		l.text("found", rejection.Found, maxShortField)
		l.text("want", rejection.Want, maxShortField)
		l.text("hint", rejection.Hint, maxShortField)
	} else if h.Err != nil {
		l.text("error", h.Err.Error(), maxShortField)
	}
	l.text("listener", h.Listener, maxShortField)
	l.unsigned("connection", h.ConnID)
	l.address("remote", h.Remote)
	l.address("local", h.Local)
	l.text("sni", h.SNI, maxShortField)
	l.text("alpn", h.ALPN, maxShortField)
	if h.Version != 0 {
		l.text("tls_version", versionLabel(h.Version), maxShortField)
		l.boolean("resumed", h.Resumed)
	}
	if h.Resumption != tlsterm.NotAsked {
		l.text("resumption", h.Resumption.String(), maxShortField)
	}
	if h.CipherSuite != 0 {
		l.text("tls_cipher", cipherName(h.CipherSuite), maxShortField)
	}
	if h.Curve != 0 {
		l.text("tls_group", tlsterm.GroupName(h.Curve), maxShortField)
	}
	if h.Verdict.Path != nil || h.Verdict.Err != nil {
		l.text("cache", h.Verdict.Outcome.String(), maxShortField)
	}
	if outcome, reason := shadowOfHandshake(h); outcome.differs() {
		l.text("shadow", outcome.String(), maxShortField)
		l.text("shadow_reason", reason.String(), maxShortField)
	}
	l.boolean("authenticated", !e.id.IsZero())
	l.text("identity", e.id.String(), maxField)
	l.text("claimed_identity", e.claimed.String(), maxField)
	l.text("trust_domain", e.id.Origin().String(), maxShortField)
	if !e.id.IsZero() {
		l.grade(e.grade)
	}
	l.hash("leaf_sha256", e.leaf)
	l.hash("claimed_leaf_sha256", e.claimedLeaf)
	l.serial("serial", e.serial)
	l.hash("issuer_spki_sha256", e.issuer)
	l.hash("anchor_spki_sha256", e.anchor)
	l.moment("expires", e.expires)
	l.hash("trust_snapshot", e.snapshot)
	l.number("duration_ns", int64(h.Duration))
	l.number("queue_ns", int64(h.QueueWait))
	l.number("identify_ns", int64(h.Verdict.IdentifyDuration))
	l.number("verify_ns", int64(h.JudgeTime))
	l.trace(tr)
	l.chain(h.Chain)
	l.close()
}

// chain writes the summary of a chain that was presented and not accepted.
func (l *line) chain(chain []tlsterm.ChainSummary) {
	if len(chain) == 0 {
		return
	}
	l.number("chain_length", int64(len(chain)))
	l.key("chain")
	for i := range chain[:min(len(chain), maxChain)] {
		c := &chain[i]
		l.b = append(l.b, separator(i), '{')
		l.b = append(l.b, `"subject":`...)
		l.quote(c.Subject, maxChainField)
		l.text("issuer", c.Issuer, maxChainField)
		l.text("serial", c.Serial, maxChainField)
		l.text("authority_key_id", c.AuthorityKeyID, maxChainField)
		l.text("subject_key_id", c.SubjectKeyID, maxChainField)
		l.moment("not_after", c.NotAfter)
		l.b = append(l.b, '}')
	}
	l.b = append(l.b, ']')
}

func separator(i int) byte {
	if i == 0 {
		return '['
	}
	return ','
}

// serial writes a serial number in hexadecimal, without leading zero octets.
func (l *line) serial(name string, serial [20]byte) {
	i := 0
	for i < len(serial) && serial[i] == 0 {
		i++
	}
	if i == len(serial) {
		return
	}
	l.key(name)
	l.b = append(l.b, '"')
	l.b = hex.AppendEncode(l.b, serial[i:])
	l.b = append(l.b, '"')
}

func (l *line) address(name string, a netip.AddrPort) {
	if !a.IsValid() {
		return
	}
	// A zone is text of this machine, and never needs escaping on a network peer.
	a = netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())
	l.key(name)
	l.b = append(l.b, '"')
	l.b = a.AppendTo(l.b)
	l.b = append(l.b, '"')
}
