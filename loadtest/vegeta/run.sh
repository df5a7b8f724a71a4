#!/bin/sh
# Runs vegeta, which has to be installed, against a gateway that is running:
#
#   go run ./loadtest/run -serve -dir /tmp/verigate-load     in one terminal
#   PKI=/tmp/verigate-load loadtest/vegeta/run.sh keepalive  in another
#   PKI=/tmp/verigate-load loadtest/vegeta/run.sh handshake
#
# README.md lists the variables.
set -eu
cd "$(dirname "$0")"

: "${ADDRESS:=127.0.0.1:8443}"
: "${PKI:=../pki}"
: "${CLIENT:=$PKI/client-0}"
: "${DURATION:=10s}"

case "${1:-}" in
keepalive) rate=500 keepalive=true ;;
handshake) rate=100 keepalive=false ;;
*)
	echo "usage: run.sh keepalive|handshake" >&2
	exit 2
	;;
esac

# -rate is kept however slow the answers are. Without -session-tickets every
# connection is a full handshake.
vegeta attack -name "$1" -targets "$1.targets" -rate "${RATE:-$rate}" -duration "$DURATION" \
	-keepalive="$keepalive" -http2=false -connect-to "localhost:8443:$ADDRESS" \
	-cert "$CLIENT.pem" -key "$CLIENT.key" -root-certs "$PKI/root.pem" |
	vegeta report
