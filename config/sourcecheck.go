package config

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"

	"verigate/workloadid"
)

// checkSources judges where the trust of an origin comes from.
func (d *document) checkSources(field string, origin workloadid.Origin, td TrustDomain) {
	d.checkAnchors(field+".anchors", origin, td.Anchors)
	if td.CRL != nil {
		d.checkCRL(field+".crl", td.CRL)
	}
	if td.Shadow != nil && reflect.DeepEqual(*td.Shadow, Shadow{}) {
		d.at(field+".shadow", "a shadow without a difference tells nothing", "give what is to be tried, such as anchors: {file: next.pem}")
	}
	if s := td.Shadow; s != nil && s.CRL != nil {
		if len(s.CRL.URLs) > 0 {
			d.at(field+".shadow.crl.urls", "a shadow's CRLs come from files", "fetch the CRL for the trust domain, or list its file here")
			return
		}
		d.checkCRL(field+".shadow.crl", s.CRL)
	}
}

// checkAnchors asks for exactly one source of anchors.
func (d *document) checkAnchors(field string, origin workloadid.Origin, a Anchors) {
	given := 0
	for _, is := range []bool{a.File != "", a.WorkloadAPI != "", a.Federation != nil} {
		if is {
			given++
		}
	}
	switch {
	case given == 0:
		d.at(field, "the source of the anchors is missing", "give file, workload_api or federation")
		return
	case given > 1:
		d.at(field, "expected exactly one of file, workload_api and federation", "pooling sources would let each of them vouch for the whole trust domain")
		return
	case a.File != "" && a.MaxStale != 0:
		d.at(field+".max_stale", "a file does not go stale; only what is fetched does", "remove it")
	}
	if a.WorkloadAPI != "" {
		d.checkWorkloadAPI(field+".workload_api", a.WorkloadAPI)
		d.checkSPIFFE(field+".workload_api", origin)
	}
	if a.Federation != nil {
		d.checkFederation(field+".federation", origin, a.Federation)
	}
	if a.File == "" {
		d.needStateDir(field)
	}
}

// checkSPIFFE refuses sources that only know of the spiffe scheme for others.
func (d *document) checkSPIFFE(field string, origin workloadid.Origin) {
	if !strings.HasPrefix(origin.String(), "spiffe://") {
		d.at(field, fmt.Sprintf("%s is not a SPIFFE trust domain", origin), "its anchors can only come from a file")
	}
}

func (d *document) needStateDir(field string) {
	if d.file.StateDir == "" {
		d.at(field, "what is fetched has to be kept somewhere, and state_dir is missing", "add state_dir: such as /var/lib/verigate, at the top level")
	}
}

// checkWorkloadAPI judges the address of a Workload API (SPIFFE Workload Endpoint
// §4): a socket, or an IP address and a port.
func (d *document) checkWorkloadAPI(field, address string) {
	const hint = "such as unix:///run/spire/agent.sock or tcp://127.0.0.1:8081"
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Scheme != "unix" && u.Scheme != "tcp" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		d.at(field, quote(address)+" is not the address of a Workload API", hint)
	case u.Scheme == "unix" && (u.Host != "" || u.Path == "" || u.Path == "/"):
		d.at(field, quote(address)+" names no socket", hint)
	case u.Scheme == "tcp" && (!isIPPort(u.Host) || u.Path != ""):
		d.at(field, quote(address)+" is not an IP address and a port", hint)
	}
}

// checkFederation judges a bundle endpoint (FED-02, FED-03).
func (d *document) checkFederation(field string, origin workloadid.Origin, f *Federation) {
	d.checkSPIFFE(field, origin)
	u, err := url.Parse(f.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		// Not repeated: it may hold a password.
		d.at(field+".url", "not the URL of a bundle endpoint", "https, without user and fragment, such as https://spire.partner.example:8443/bundle")
	}
	switch f.Profile {
	case "https_spiffe":
		if _, err := workloadid.Parse(f.EndpointSPIFFEID); err != nil {
			d.at(field+".endpoint_spiffe_id", "the profile https_spiffe needs the identity of the endpoint, such as spiffe://partner.example/spire/server", "")
		}
		if f.BootstrapFile == "" {
			d.at(field+".bootstrap_file", "the profile https_spiffe needs a bundle to judge the endpoint by at first", "get it from the other side by a way that you trust")
		}
		if f.RootsFile != "" {
			d.at(field+".roots_file", "the profile https_spiffe does not use the web's CAs", "remove it, or use https_web")
		}
	case "https_web":
		if f.EndpointSPIFFEID != "" {
			d.at(field+".endpoint_spiffe_id", "the profile https_web knows the endpoint by its host name", "remove it, or use https_spiffe")
		}
		if f.BootstrapFile != "" {
			d.at(field+".bootstrap_file", "the profile https_web judges the endpoint by the web's CAs", "remove it, or use https_spiffe; roots_file takes a private CA")
		}
	}
}

func (d *document) checkCRL(field string, c *CRL) {
	if len(c.Files)+len(c.URLs) == 0 {
		d.at(field, "there is no CRL", "list files or urls; without any, leave crl out")
	}
	for i, address := range c.URLs {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
			d.at(fmt.Sprintf("%s.urls[%d]", field, i), "not the URL of a CRL", "http or https, without user and fragment")
		}
	}
	for i, one := range c.Files {
		for _, other := range c.Files[:i] {
			if one == other {
				d.at(fmt.Sprintf("%s.files[%d]", field, i), quote(one)+" is in the list already", "name it once")
			}
		}
	}
	if len(c.URLs) > 0 {
		d.needStateDir(field + ".urls")
	}
	switch grace := c.Grace != 0; {
	case grace && c.WhenStale != "grace":
		d.at(field+".grace", "a grace period is only used with when_stale: grace", "add that, or remove grace")
	case !grace && c.WhenStale == "grace":
		d.at(field+".when_stale", "how long the grace period lasts is missing", "add grace: such as 6h")
	}
}

// checkCredentialSource asks for files or a Workload API, and reports whether the
// credential is one of files.
func (d *document) checkCredentialSource(field string, c Credential) bool {
	files := c.CertFile != "" || c.KeyFile != ""
	switch {
	case c.WorkloadAPI == "" && c.CertFile == "":
		d.at(field+".cert_file", "the field is missing", "give cert_file and key_file, or workload_api")
	case c.WorkloadAPI == "" && c.KeyFile == "":
		d.at(field+".key_file", "the field is missing", "")
	case c.WorkloadAPI == "" && c.Identity != "":
		d.at(field+".identity", "a file holds one certificate, so there is nothing to choose", "remove it")
	case c.WorkloadAPI != "" && files:
		d.at(field, "expected files or workload_api, not both", "")
	case c.WorkloadAPI != "":
		d.checkWorkloadAPI(field+".workload_api", c.WorkloadAPI)
		if c.Identity != "" {
			if _, err := workloadid.Parse(c.Identity); err != nil {
				d.at(field+".identity", fmt.Sprintf("%s is not an identifier: %v", quote(c.Identity), err), "")
			}
		}
	default:
		return true
	}
	return false
}

func (d *document) checkOwnAssurance() {
	if own := d.file.OwnAssurance; own != nil {
		d.checkMAAL("own_assurance.maal", own.MAAL)
	}
}
