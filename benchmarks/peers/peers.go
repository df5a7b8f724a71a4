package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// known are the peers that come with a configuration, in the order of columns. All
// of them: TLS 1.3 only, client certificate required and its path verified, the group
// that the generator offers, tickets on, connections to the backend kept, no limit on
// requests per connection, the caller in a header, each request logged to a file.
var known = []*peer{
	{
		name:      "verigate",
		settings:  "telemetry, policy and audit on; two records to the audit log for a handshake with a request",
		configure: verigate, log: "output.log",
	},
	{
		name:      "nginx",
		settings:  "one worker; tickets, no session cache; buffers that hold 64 KiB, lest it writes them to disk",
		configure: nginx, log: "error.log", versionFlag: "-V",
	},
	{
		name:      "haproxy",
		settings:  "one thread; http-reuse always, for connections to the backend to be shared as the others share them",
		configure: haproxy, log: "output.log", versionFlag: "-vv",
	},
	{
		name:      "caddy",
		settings:  "HTTP/1.1 only, as the others are asked for; never resumes a session of a client with a certificate",
		configure: caddy, log: "output.log",
	},
	{
		name:     "ghostunnel",
		settings: "copies octets: no HTTP, no policy per request, no caller for the backend; logs connections",
		noCaller: true, configure: ghostunnel, log: "output.log", versionFlag: "--version",
	},
}

const verigateFile = `listeners:
  - name: edge
    address: %q
    certificate: {cert_file: %q, key_file: %q}
    trust_domains: [spiffe://bench.example]
    http: {idle_timeout: 1h}
trust_domains:
  spiffe://bench.example: {anchors: {file: %q}}
routes:
  - name: load
    match: {path: /}
    allow: [{caller: "spiffe://bench.example/ns/load/sa/*", methods: [GET, POST]}]
    upstream: backend
upstreams:
  backend: {endpoints: [%q], plaintext: true, handoff: [workload]}
telemetry: {audit: {file: %q}}
admin: {address: "127.0.0.1:0"}
drain_timeout: 1s
`

func verigate(p *peer, s site) (*exec.Cmd, error) {
	file, err := s.write("gateway.yaml", fmt.Sprintf(verigateFile, s.address, s.pki.Certificate, s.pki.Key, s.pki.Root,
		s.backend, filepath.Join(s.dir, "audit.jsonl")))
	return exec.Command(p.path, "run", "-c", file), err
}

const nginxFile = `daemon off;
worker_processes 1;
worker_rlimit_nofile %[1]d;
pid %[2]s/nginx.pid;
error_log %[2]s/error.log;
%[3]s
events { worker_connections %[1]d; }
http {
  access_log %[2]s/access.log combined;
  client_body_temp_path %[2]s/body;
  proxy_temp_path %[2]s/proxy;
  fastcgi_temp_path %[2]s/fastcgi;
  uwsgi_temp_path %[2]s/uwsgi;
  scgi_temp_path %[2]s/scgi;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  upstream backend {
    server %[4]s;
    keepalive 1024;
    keepalive_requests 1000000000;
  }
  server {
    listen %[5]s ssl backlog=4096;
    ssl_certificate %[6]s;
    ssl_certificate_key %[7]s;
    ssl_protocols TLSv1.3;
    ssl_ecdh_curve %[10]s;
    ssl_verify_client on;
    ssl_client_certificate %[8]s;
    ssl_verify_depth %[9]d;
    ssl_session_tickets on;
    ssl_session_timeout 1h;
    location / {
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Client-DN $ssl_client_s_dn;
      proxy_buffers 8 16k;
    }
  }
}
`

func nginx(p *peer, s site) (*exec.Cmd, error) {
	user := "" // only root can have another one
	if os.Geteuid() == 0 {
		user = "user root;"
	}
	file, err := s.write("nginx.conf", fmt.Sprintf(nginxFile, s.connections, s.dir, user, s.backend, s.address,
		s.pki.Certificate, s.pki.Key, s.pki.Root, s.depth+1, s.group.openssl))
	return exec.Command(p.path, "-p", s.dir, "-e", filepath.Join(s.dir, "error.log"), "-c", file), err
}

const haproxyFile = `global
  nbthread 1
  maxconn %[1]d
  no strict-limits
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
frontend edge
  bind %[2]s ssl crt %[3]s ca-file %[4]s verify required ssl-min-ver TLSv1.3 curves %[6]s backlog 4096
  http-request set-header X-Client-DN %%[ssl_c_s_dn(cn)]
  default_backend backend
backend backend
  server backend %[5]s
`

func haproxy(p *peer, s site) (*exec.Cmd, error) {
	file, err := s.write("haproxy.cfg", fmt.Sprintf(haproxyFile, s.connections, s.address, s.pki.Both, s.pki.Root, s.backend, s.group.openssl))
	return exec.Command(p.path, "-db", "-f", file), err
}

const caddyFile = `{
	admin off
	auto_https off
	persist_config off
	servers {
		protocols h1
	}
	log {
		output file %[1]s/access.log {
			roll_disabled
		}
	}
}
https://localhost:%[2]s {
	bind 127.0.0.1
	log
	tls %[3]s %[4]s {
		protocols tls1.3
		curves %[7]s
		client_auth {
			mode require_and_verify
			trust_pool file %[5]s
		}
	}
	reverse_proxy %[6]s {
		header_up X-Client-DN {http.request.tls.client.subject}
		transport http {
			keepalive 1h
			keepalive_idle_conns_per_host 1024
		}
	}
}
`

func caddy(p *peer, s site) (*exec.Cmd, error) {
	_, port, _ := strings.Cut(s.address, ":")
	file, err := s.write("Caddyfile", fmt.Sprintf(caddyFile, s.dir, port, s.pki.Certificate, s.pki.Key, s.pki.Root, s.backend,
		strings.ToLower(s.group.name)))
	c := exec.Command(p.path, "run", "--config", file, "--adapter", "caddyfile")
	c.Env = append(os.Environ(), "HOME="+s.dir, "XDG_DATA_HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir)
	return c, err
}

func ghostunnel(p *peer, s site) (*exec.Cmd, error) {
	return exec.Command(p.path, "server", "--listen", s.address, "--target", s.backend, "--cert", s.pki.Certificate,
		"--key", s.pki.Key, "--cacert", s.pki.Root, "--allow-all"), nil
}

// script is a peer that the user brings: a program that is told by its environment
// what the others are told by their configurations. It stays in the foreground and
// ends on SIGTERM.
func script(p *peer, s site) (*exec.Cmd, error) {
	c := exec.Command(p.path)
	c.Dir = s.dir
	c.Env = append(os.Environ(),
		"LISTEN="+s.address, "BACKEND="+s.backend, "ROOT="+s.pki.Root, "CERTIFICATE="+s.pki.Certificate, "KEY="+s.pki.Key,
		"CERTIFICATE_AND_KEY="+s.pki.Both, "VERIFY_DEPTH="+strconv.Itoa(s.depth+1), "IDENTITY_HEADER=X-Client-DN", "GROUP="+s.group.openssl)
	return c, nil
}
