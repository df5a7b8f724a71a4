#!/bin/sh
# A peer of one's own: told by its environment where to listen and whom to trust, it
# terminates mutual TLS, forwards to BACKEND over kept connections, logs each request,
# and says who calls in the header IDENTITY_HEADER. It stays in the foreground, and ends on SIGTERM. Its
# working directory is its own and is removed afterwards.
set -eu
cat > haproxy.cfg <<END
global
  nbthread 1
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  option http-keep-alive
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend edge
  bind $LISTEN ssl crt $CERTIFICATE_AND_KEY ca-file $ROOT verify required ssl-min-ver TLSv1.3 curves $GROUP
  http-request set-header $IDENTITY_HEADER %[ssl_c_s_dn(cn)]
  default_backend backend
backend backend
  server backend $BACKEND
END
exec haproxy -db -f haproxy.cfg
