package config

// File is the operator's file, as written: one YAML document. Every field that
// is left out has the default named in its comment.
//
// The struct tags are rules that the decoder enforces and the schema repeats:
// required, enum, the bounds min and max of a number, a span of time or the
// length of a list, and form: a name, or any string, the empty one included. A
// number or span without min is greater than zero, because its zero stands for
// the default.
type File struct {
	// Listeners are the addresses at which workloads connect with mutual TLS. At least one.
	Listeners []Listener `yaml:"listeners" required:"true" min:"1"`
	// TrustDomains are the origins whose workloads may be known here, with their trust anchors. Keys look like spiffe://prod.example.
	TrustDomains map[string]TrustDomain `yaml:"trust_domains" required:"true"`
	// Deny refuses identities, certificates and keys whatever else is configured.
	Deny []Deny `yaml:"deny"`
	// StateDir is where bundles and CRLs that come over the network are kept, so that a restart does not depend on their source. Required if there are any.
	StateDir string `yaml:"state_dir"`
	// Resumption lets clients resume TLS sessions, each judged anew.
	Resumption Resumption `yaml:"resumption"`
	// SharedCredentials says when a credential counts as shared, which lowers its holders to MIAL-1.
	SharedCredentials SharedCredentials `yaml:"shared_credentials"`
	// OwnAssurance is how well this gateway itself is assured: no caller is conveyed to a backend as better. Default: as its certificate is graded, like any workload's.
	OwnAssurance *OwnAssurance `yaml:"own_assurance"`
	// Routes say which request goes to which upstream, and who may send it. The most specific route wins; their order does not matter.
	Routes []Route `yaml:"routes"`
	// Upstreams are the backends, by name.
	Upstreams map[string]Upstream `yaml:"upstreams"`
	// Cache bounds the verification cache.
	Cache Cache `yaml:"cache"`
	// Telemetry says where metrics, traces and audit records go.
	Telemetry Telemetry `yaml:"telemetry"`
	// Admin is the private listener for health, metrics and status.
	Admin Admin `yaml:"admin"`
	// HandshakeTokens is how many TLS handshakes may compute at once. Default: half the processors, at least one.
	HandshakeTokens int `yaml:"handshake_tokens" max:"1024"`
	// DrainTimeout is how long requests in flight may take to finish after SIGTERM. Default: 30s.
	DrainTimeout Duration `yaml:"drain_timeout" max:"1h"`
}

// Listener is one address at which workloads connect.
type Listener struct {
	// Name names the listener in metrics, audit records and errors.
	Name string `yaml:"name" required:"true" form:"name"`
	// Address is host:port; ":8443" is every local address.
	Address string `yaml:"address" required:"true"`
	// Certificate is what the gateway presents when no server name matches.
	Certificate Credential `yaml:"certificate" required:"true"`
	// ServerNames are further certificates, chosen by the name that the client asks for (SNI).
	ServerNames []ServerName `yaml:"server_names"`
	// TrustDomains are the origins that this listener admits. An empty list would admit nobody and is refused.
	TrustDomains []Origin `yaml:"trust_domains" required:"true" min:"1"`
	// AllowTLS12 also accepts TLS 1.2, which shows client certificates to anyone on the path. Default: false.
	AllowTLS12 bool `yaml:"allow_tls12"`
	// TLSGroups are the key exchanges that clients may use, by their names in the IANA registry. Their order says nothing: from a client that has a hybrid, a hybrid is taken. Those with secp384r1 make a handshake two to three times as dear, at the choice of clients that have proven nothing yet. Default: X25519MLKEM768, x25519, secp256r1.
	TLSGroups []string `yaml:"tls_groups" min:"1" enum:"X25519MLKEM768,SecP256r1MLKEM768,SecP384r1MLKEM1024,x25519,secp256r1,secp384r1"`
	// SendCANames lists the names of acceptable CAs to every client, which discloses partners. Default: false.
	SendCANames bool `yaml:"send_ca_names"`
	// AdmitRejected finishes the handshake of clients whose certificate is refused, only to answer 403 with the reason. Default: false.
	AdmitRejected bool `yaml:"admit_rejected"`
	// ProxyProtocolFrom are the networks of load balancers that must send a PROXY protocol header (v1 or v2). Nobody else may.
	ProxyProtocolFrom []Network `yaml:"proxy_protocol_from"`
	// Limits bounds what connections may cost.
	Limits ListenerLimits `yaml:"limits"`
	// HTTP bounds what requests may look like.
	HTTP HTTP `yaml:"http"`
}

// ServerName is a certificate for some server names.
type ServerName struct {
	// Names are exact, or begin with "*." for one more label.
	Names []string `yaml:"names" required:"true" min:"1"`
	// Certificate is presented to clients that ask for one of the names.
	Certificate Credential `yaml:"certificate" required:"true"`
}

// Credential is a certificate chain and its private key: two PEM files, which are watched and read together, or an X.509-SVID of the SPIFFE Workload API.
type Credential struct {
	// CertFile has the certificate, then the intermediates.
	CertFile string `yaml:"cert_file"`
	// KeyFile has the private key, PKCS #8, PKCS #1 or SEC 1.
	KeyFile string `yaml:"key_file"`
	// WorkloadAPI is the address of the SPIFFE Workload API instead of files, such as unix:///run/spire/agent.sock.
	WorkloadAPI string `yaml:"workload_api"`
	// Identity chooses among the identities that the Workload API gives. Default: the first.
	Identity string `yaml:"identity"`
}

// ListenerLimits bounds what connections may cost.
type ListenerLimits struct {
	// FirstByteTimeout is how long a client may take to say anything. Default: 3s.
	FirstByteTimeout Duration `yaml:"first_byte_timeout" max:"1m"`
	// HandshakeTimeout is how long the whole TLS handshake may take. Default: 10s.
	HandshakeTimeout Duration `yaml:"handshake_timeout" max:"2m"`
	// MaxHandshakes is how many handshakes may be under way. Default: 4096.
	MaxHandshakes int `yaml:"max_handshakes" max:"1000000"`
	// MaxConnections is how many connections may be open. Default: 100000.
	MaxConnections int `yaml:"max_connections" max:"10000000"`
	// MaxConnectionsPerClient is how many of them one client network (IPv4 address or IPv6 /64) may have. Default: no limit of its own.
	MaxConnectionsPerClient int `yaml:"max_connections_per_client"`
	// MaxConnectionAge ends connections that are older. Default: when the first certificate of the client's path expires.
	MaxConnectionAge Duration `yaml:"max_connection_age"`
}

// HTTP bounds what requests may look like.
type HTTP struct {
	// Methods are the methods that may be used at all. Default: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS.
	Methods []string `yaml:"methods" min:"1"`
	// MaxHeaderBytes bounds request line and fields together. Default: 16384.
	MaxHeaderBytes int `yaml:"max_header_bytes" min:"1024" max:"32768"`
	// MaxFields is how many header fields a request may have. Default: 100.
	MaxFields int `yaml:"max_fields" min:"8" max:"10000"`
	// HeaderTimeout is how long a request's header may take, from its first octet. Default: 10s.
	HeaderTimeout Duration `yaml:"header_timeout" max:"2m"`
	// IdleTimeout is how long a connection may wait for its next request. Default: 75s.
	IdleTimeout Duration `yaml:"idle_timeout" max:"1h"`
	// BodyTimeout is how long a request's body may make no progress. Default: 30s.
	BodyTimeout Duration `yaml:"body_timeout" max:"1h"`
	// WriteTimeout is how long a client may take nothing of its response. Default: 30s.
	WriteTimeout Duration `yaml:"write_timeout" max:"1h"`
}

// TrustDomain is what the workloads of one origin are judged by.
type TrustDomain struct {
	// Anchors are the trust anchors of this origin and of no other.
	Anchors Anchors `yaml:"anchors" required:"true"`
	// MaxCertificateLifetime refuses leaf certificates that live longer. Default: no limit.
	MaxCertificateLifetime Duration `yaml:"max_certificate_lifetime"`
	// RequireEKU refuses leaves without an extended key usage. Default: false.
	RequireEKU bool `yaml:"require_eku"`
	// LenientKeyUsage accepts spiffe leaves whose key usage is absent or not critical. Default: false.
	LenientKeyUsage bool `yaml:"lenient_key_usage"`
	// LenientSubject accepts an empty subject with a subject alternative name that is not critical. Default: false.
	LenientSubject bool `yaml:"lenient_subject"`
	// NotBeforeSkew forgives clocks that run ahead by so much. Default: 0s.
	NotBeforeSkew Duration `yaml:"not_before_skew" min:"0s" max:"10m"`
	// SharedAnchor permits an anchor's key to serve another trust domain as well; all of them have to say so. Default: false.
	SharedAnchor bool `yaml:"shared_anchor"`
	// Assurance says how sure identities of this origin are. Without a statement they are MIAL-1.
	Assurance []Statement `yaml:"assurance"`
	// AssuranceMaxLifetime lowers leaves that live longer to MIAL-1. Default: no limit.
	AssuranceMaxLifetime Duration `yaml:"assurance_max_lifetime"`
	// AssuranceMaxAge lowers leaves that were issued longer ago to MIAL-1. Default: no limit.
	AssuranceMaxAge Duration `yaml:"assurance_max_age"`
	// MinMIAL refuses workloads that are graded lower, 0 to 4. Default: 0.
	MinMIAL int `yaml:"min_mial" min:"0" max:"4"`
	// Algorithms are the keys and signatures that paths may use: rsa, ecdsa-p256, ecdsa-p384, ed25519, ed448, ml-dsa-44, ml-dsa-65, ml-dsa-87. Default: all of them.
	Algorithms []string `yaml:"algorithms" min:"1" enum:"rsa,ecdsa-p256,ecdsa-p384,ed25519,ed448,ml-dsa-44,ml-dsa-65,ml-dsa-87"`
	// CRL has the certificates of this origin looked up in revocation lists. Default: nobody asks.
	CRL *CRL `yaml:"crl"`
	// Shadow is a variant that live traffic is judged by as well, only to count what would change.
	Shadow *Shadow `yaml:"shadow"`
}

// Anchors says where trust anchors come from. It has exactly one of the three.
type Anchors struct {
	// File has certificates in PEM, or a SPIFFE bundle in JSON. It is watched.
	File string `yaml:"file"`
	// WorkloadAPI is the address of the SPIFFE Workload API, such as unix:///run/spire/agent.sock.
	WorkloadAPI string `yaml:"workload_api"`
	// Federation fetches the bundle from a SPIFFE bundle endpoint.
	Federation *Federation `yaml:"federation"`
	// MaxStale is how old the last good answer of a Workload API or bundle endpoint may be before nobody is accepted any more. Default: no limit.
	MaxStale Duration `yaml:"max_stale"`
}

// Federation is a SPIFFE bundle endpoint. Nothing is inferred from another field.
type Federation struct {
	// URL is where the bundle is; https.
	URL string `yaml:"url" required:"true"`
	// Profile says how the endpoint proves who it is: https_web or https_spiffe.
	Profile string `yaml:"profile" required:"true" enum:"https_web,https_spiffe"`
	// EndpointSPIFFEID is the identity of an https_spiffe endpoint.
	EndpointSPIFFEID string `yaml:"endpoint_spiffe_id"`
	// BootstrapFile is the bundle that an https_spiffe endpoint is judged by at first, PEM or SPIFFE bundle JSON of the endpoint's trust domain.
	BootstrapFile string `yaml:"bootstrap_file"`
	// RootsFile has the CAs that an https_web endpoint is judged by, PEM. Default: those of the system.
	RootsFile string `yaml:"roots_file"`
}

// CRL is certificate revocation lists (RFC 5280) and how they are applied. At least one file or URL.
type CRL struct {
	// Files have CRLs in PEM, one or several, or one in DER. They are watched.
	Files []string `yaml:"files" min:"1"`
	// URLs are fetched again and again, http or https; CRLs are signed. No address is ever taken from a certificate.
	URLs []string `yaml:"urls" min:"1"`
	// WhenStale says what is done about certificates that only CRLs past their nextUpdate cover: refuse, grace, or accept-and-alarm. Default: refuse.
	WhenStale string `yaml:"when_stale" enum:"refuse,grace,accept-and-alarm"`
	// Grace is how long after its nextUpdate a CRL is believed with when_stale: grace.
	Grace Duration `yaml:"grace" max:"720h"`
	// Check is chain, where every certificate but the anchor needs a CRL, or leaf. Default: chain.
	Check string `yaml:"check" enum:"chain,leaf"`
}

// Shadow is what differs in the variant; what is left out is as in the trust domain.
type Shadow struct {
	// Anchors are a file of other anchors.
	Anchors *ShadowAnchors `yaml:"anchors"`
	// CRL replaces the revocation lists; files only.
	CRL *CRL `yaml:"crl"`
	// MaxCertificateLifetime refuses leaf certificates that live longer.
	MaxCertificateLifetime Duration `yaml:"max_certificate_lifetime"`
	// RequireEKU refuses leaves without an extended key usage.
	RequireEKU *bool `yaml:"require_eku"`
	// LenientKeyUsage accepts spiffe leaves whose key usage is absent or not critical.
	LenientKeyUsage *bool `yaml:"lenient_key_usage"`
	// LenientSubject accepts an empty subject with a subject alternative name that is not critical.
	LenientSubject *bool `yaml:"lenient_subject"`
	// Algorithms are the keys and signatures that paths may use.
	Algorithms []string `yaml:"algorithms" min:"1" enum:"rsa,ecdsa-p256,ecdsa-p384,ed25519,ed448,ml-dsa-44,ml-dsa-65,ml-dsa-87"`
	// MinMIAL refuses workloads that are graded lower, 0 to 4.
	MinMIAL *int `yaml:"min_mial" min:"0" max:"4"`
}

// ShadowAnchors is where a shadow's anchors are.
type ShadowAnchors struct {
	// File has certificates in PEM, or a SPIFFE bundle in JSON. It is watched.
	File string `yaml:"file" required:"true"`
}

// Resumption lets clients resume TLS sessions. A resumed session is judged by what is in force then, never by what was when it began.
type Resumption struct {
	// Disabled has every connection prove everything anew. Default: false.
	Disabled bool `yaml:"disabled"`
	// SecretFile has the secrets that session tickets are sealed with, one a line in hex or base64 of 32 octets, the current one first, so that several gateways share them. It is watched. Default: a random one of this process.
	SecretFile string `yaml:"secret_file"`
	// MaxAge is how long after a client proved its key its session may be resumed. Default: 1h.
	MaxAge Duration `yaml:"max_age" max:"168h"`
	// Rotation is how long one key, derived from the secret, seals tickets. Default: 1h.
	Rotation Duration `yaml:"rotation" min:"1m" max:"24h"`
}

// SharedCredentials says when a credential counts as shared by several workloads.
type SharedCredentials struct {
	// Detect looks for them. Default: false.
	Detect bool `yaml:"detect"`
	// MaxIdentitiesPerKey is how many identities one key may be seen under. Default: 1.
	MaxIdentitiesPerKey int `yaml:"max_identities_per_key" max:"64"`
	// MaxNetworksPerLeaf is from how many client networks (IPv4 address or IPv6 /64) one certificate may be seen within window. Default: 8.
	MaxNetworksPerLeaf int `yaml:"max_networks_per_leaf" max:"256"`
	// Window is how long a sighting counts. Default: 10m.
	Window Duration `yaml:"window" max:"24h"`
}

// OwnAssurance is how sure the identity of the gateway itself is.
type OwnAssurance struct {
	// MIAL is the gateway's machine identity assurance level, 0 to 4.
	MIAL int `yaml:"mial" required:"true" min:"0" max:"4"`
	// MAAL grades the eight characteristics of its authentication, 0 to 4 each.
	MAAL map[string]int `yaml:"maal" min:"0" max:"4"`
}

// Statement grades identities by who issued them. With neither issuer nor policy it speaks of the whole origin.
type Statement struct {
	// IssuerSPKISHA256 is the SHA-256 of the public key (SubjectPublicKeyInfo) of a CA in the path, in hex.
	IssuerSPKISHA256 Digest `yaml:"issuer_spki_sha256"`
	// PolicyOID is a certificate policy of the leaf, such as 1.3.6.1.4.1.99999.1.
	PolicyOID string `yaml:"policy_oid"`
	// MIAL is the machine identity assurance level, 0 to 4.
	MIAL int `yaml:"mial" required:"true" min:"0" max:"4"`
	// MAAL grades the eight characteristics of the authentication, 0 to 4 each, by the local profile maal-local/1; `gateway config maal` says what they mean.
	MAAL map[string]int `yaml:"maal" min:"0" max:"4"`
}

// Deny is one entry of the deny-list. It has exactly one of: identity; serial with issuer_spki_sha256; spki_sha256.
type Deny struct {
	// Identity is an identifier or a pattern of identifiers.
	Identity Pattern `yaml:"identity"`
	// Serial is a certificate's serial number in hex, with or without colons.
	Serial Serial `yaml:"serial"`
	// IssuerSPKISHA256 is the SHA-256 of the public key of the CA that issued the serial, in hex.
	IssuerSPKISHA256 Digest `yaml:"issuer_spki_sha256"`
	// SPKISHA256 is the SHA-256 of a public key, of a leaf or a CA, in hex.
	SPKISHA256 Digest `yaml:"spki_sha256"`
}

// Route is one way through the gateway.
type Route struct {
	// Name names the route in metrics, audit records and errors.
	Name string `yaml:"name" required:"true" form:"name"`
	// Match says which requests take the route. What is left out matches anything.
	Match Match `yaml:"match"`
	// Allow says who may use the route. Without a rule that applies, nobody may.
	Allow []Allow `yaml:"allow"`
	// Upstream is the name of the backend.
	Upstream string `yaml:"upstream" required:"true"`
}

// Match says which requests a route is for. All that is given must match.
type Match struct {
	// Caller is an identifier or a pattern of identifiers: "*" is one whole segment, a final "**" one or more.
	Caller Pattern `yaml:"caller"`
	// SNI is the server name that the client asked for; exact, or "*." and a domain.
	SNI string `yaml:"sni"`
	// Host is the request's host without its port; exact, or "*." and a domain.
	Host string `yaml:"host"`
	// Path matches whole segments from the left: /pay is for /pay and /pay/x, not for /payroll.
	Path string `yaml:"path"`
	// PathExact is the one path matched, instead of path.
	PathExact string `yaml:"path_exact"`
	// Methods are the methods matched.
	Methods []string `yaml:"methods" min:"1"`
	// Headers are fields that must occur once and have exactly the value given.
	Headers map[string]string `yaml:"headers" form:"any"`
}

// Allow lets callers use a route.
type Allow struct {
	// Name names the rule in audit records. Default: the route's name and the rule's position.
	Name string `yaml:"name"`
	// Caller is an identifier or a pattern of identifiers.
	Caller Pattern `yaml:"caller" required:"true"`
	// Methods are the methods permitted. Default: all.
	Methods []string `yaml:"methods" min:"1"`
	// Require is the least assurance that will do.
	Require Require `yaml:"require"`
}

// Require is the least assurance that a rule is content with.
type Require struct {
	// MIAL is the least machine identity assurance level, 0 to 4.
	MIAL int `yaml:"mial" min:"0" max:"4"`
	// MAAL is the least grade of each characteristic named.
	MAAL map[string]int `yaml:"maal" min:"0" max:"4"`
}

// Upstream is a backend: some endpoints that answer alike.
type Upstream struct {
	// Endpoints are addresses such as 10.1.0.5:8443, api.internal:8443 or unix:/run/api.sock.
	Endpoints []string `yaml:"endpoints" required:"true" min:"1"`
	// Verify says how the backend proves who it is. Required, unless plaintext.
	Verify Verify `yaml:"verify"`
	// Plaintext speaks HTTP without TLS. Only for loopback addresses and unix sockets. Default: false.
	Plaintext bool `yaml:"plaintext"`
	// Certificate is what the gateway presents to the backend. Default: the first listener's.
	Certificate *Credential `yaml:"certificate"`
	// Balance is round_robin or least_request. Default: round_robin.
	Balance string `yaml:"balance" enum:"round_robin,least_request"`
	// TrustedHop says that what is between the gateway and a plaintext upstream is as good as mutual TLS, so that a caller's assurance is conveyed as it is. Default: at most MIAL-1 over loopback and unix sockets.
	TrustedHop bool `yaml:"trusted_hop"`
	// Handoff says how the caller is conveyed: client_cert, client_cert_chain, xfcc, workload. Default: not at all.
	Handoff []string `yaml:"handoff" enum:"client_cert,client_cert_chain,xfcc,workload"`
	// MaxConnections is how many connections there may be to one endpoint. Default: 1024.
	MaxConnections int `yaml:"max_connections" max:"1000000"`
	// Timeouts bounds how long the backend may take.
	Timeouts Timeouts `yaml:"timeouts"`
}

// Verify is one of two ways to know a backend: by its identifier alone, or by name and identifier together.
type Verify struct {
	// Identity is the identifier (or pattern) that the backend must have; its name is not looked at.
	Identity Pattern `yaml:"identity"`
	// IdentityOnlyOverDNS permits host names as endpoints with identity alone; they are then only a way to find addresses. Default: false.
	IdentityOnlyOverDNS bool `yaml:"identity_only_over_dns"`
	// DNSAndIdentity requires a DNS name or IP address and an identifier, both.
	DNSAndIdentity *DNSAndIdentity `yaml:"dns_and_identity"`
}

// DNSAndIdentity is what a backend must have, both.
type DNSAndIdentity struct {
	// DNS is the DNS name or IP address that the backend's certificate must be for (RFC 9525).
	DNS string `yaml:"dns" required:"true"`
	// Identity is the identifier (or pattern) that the backend must have.
	Identity Pattern `yaml:"identity" required:"true"`
}

// Timeouts bounds how long a backend may take.
type Timeouts struct {
	// Connect is for TCP and TLS together. Default: 2s.
	Connect Duration `yaml:"connect" max:"1m"`
	// Response is until the response's header. Default: 30s.
	Response Duration `yaml:"response" max:"1h"`
	// Body is how long a body may make no progress, either way. Default: 30s.
	Body Duration `yaml:"body" max:"1h"`
	// Idle is how long an unused connection is kept. Default: 15s.
	Idle Duration `yaml:"idle" max:"1h"`
}

// Cache bounds the verification cache.
type Cache struct {
	// Disabled verifies every chain anew. Default: false.
	Disabled bool `yaml:"disabled"`
	// MaxEntries is how many accepted chains are remembered. Default: 100000.
	MaxEntries int `yaml:"max_entries" max:"100000000"`
	// MaxAge is how long one is believed. Default: 15m.
	MaxAge Duration `yaml:"max_age" max:"24h"`
}

// Telemetry says where metrics, traces and audit records go.
type Telemetry struct {
	// ServiceName is service.name in metrics and traces. Default: verigate.
	ServiceName string `yaml:"service_name"`
	// Instance tells several gateways apart in metrics, traces and audit records (service.instance.id), for example by the name of the machine or pod. Default: left out.
	Instance string `yaml:"instance"`
	// OTLP is the URL of an OpenTelemetry collector (OTLP over HTTP). Default: nothing is pushed.
	OTLP string `yaml:"otlp"`
	// HideIdentityPaths replaces the path of identities in traces by a hash, for collectors that not everyone may read. The audit record keeps the whole identity. Default: false.
	HideIdentityPaths bool `yaml:"hide_identity_paths"`
	// TraceRatio is the part of requests that are traced, 0 to 1. Default: 0.01.
	TraceRatio *float64 `yaml:"trace_ratio"`
	// Audit is where audit records go.
	Audit Audit `yaml:"audit"`
}

// Audit is where audit records go.
type Audit struct {
	// File is appended to, one JSON object a line. Default: standard output.
	File string `yaml:"file"`
	// OnFull is what to do when records come faster than they can be written: drop (counted, alarmed) or block. Default: drop.
	OnFull string `yaml:"on_full" enum:"drop,block"`
	// Seal adds a record after each write that chains everything before it by SHA-256, so that later changes show. Default: false.
	Seal bool `yaml:"seal"`
}

// Admin is the private listener.
type Admin struct {
	// Address is host:port. Default: 127.0.0.1:9901.
	Address string `yaml:"address"`
	// Pprof serves profiles under /debug/pprof, such as heap, and profile for CPU time: `go tool pprof http://127.0.0.1:9901/debug/pprof/heap`. While it is off, allocations are not sampled, which spares handshakes some CPU time. Default: false.
	Pprof bool `yaml:"pprof"`
}
