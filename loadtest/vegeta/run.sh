#!/bin/sh
# Runs vegeta, which has to be installed, against a gateway that is running:
#
#   go run ./loadtest/run -serve -dir /tmp/verigate-load               in one terminal
#   PKI=/tmp/verigate-load/pki loadtest/vegeta/run.sh keepalive        in another
#   PKI=/tmp/verigate-load/pki IDENTITIES=8 loadtest/vegeta/run.sh resumed
#   PKI=/tmp/verigate-load/pki KIND=revoked loadtest/vegeta/run.sh handshake
#
# It fails if a valid client's request failed, or if anybody else's ended otherwise than by a
# TLS alert of the gateway. Whether `resumed` resumed anything, vegeta does not say; the
# gateway's metrics do (tls_resumed of verigate_tls_handshake_duration_seconds).
# README.md lists the variables.
set -eu
PKI="$(cd "${PKI:-$(dirname "$0")/../../pki}" && pwd)"
cd "$(dirname "$0")"

: "${ADDRESS:=127.0.0.1:8443}"
: "${KIND:=valid}"
: "${IDENTITIES:=1}"
: "${DURATION:=10s}"

# Without -session-tickets every connection is a full handshake.
case "${1:-}" in
keepalive) rate=500 flags="-keepalive=true" ;;
handshake) rate=100 flags="-keepalive=false" ;;
resumed) rate=100 flags="-keepalive=false -session-tickets" ;;
*)
	echo "usage: run.sh keepalive|handshake|resumed" >&2
	exit 2
	;;
esac
case "$KIND" in
valid) set=clients want=1 ;;
expired | revoked | wrong-trust-domain) set="$KIND" want=0 ;;
none) set="" want=0 IDENTITIES=1 ;;
*)
	echo "run.sh: KIND=$KIND: expected valid, expired, revoked, wrong-trust-domain or none" >&2
	exit 2
	;;
esac
if [ "$IDENTITIES" -gt 1000 ]; then
	echo "run.sh: IDENTITIES=$IDENTITIES: an attack has one certificate, so each is a process; at most 1000" >&2
	exit 2
fi

command -v vegeta >/dev/null || {
	echo "run.sh: there is no vegeta in the PATH; nothing here fetches it, and loadtest/driver reads the same target files" >&2
	exit 2
}
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT

# An attack has one certificate. Several run at the same time, each with its part of
# the rate, and the report puts them together by time.
rate="${RATE:-$rate}"
i=0
running=""
while [ "$i" -lt "$IDENTITIES" ]; do
	number="$(printf %06d "$i")"
	credential=""
	[ -z "$set" ] || credential="-cert $PKI/$set/000/$number.pem -key $PKI/$set/000/$number.key"
	# -rate is kept however slow the answers are; it may be a share of one a second.
	# shellcheck disable=SC2086 # the flags are several words; the paths have no spaces
	vegeta attack -name "$1" -targets "$1.targets" -rate "$rate/${IDENTITIES}s" -duration "$DURATION" \
		$flags -http2=false -connect-to "localhost:8443:$ADDRESS" \
		-root-certs "$PKI/root.pem" $credential >"$out/$number.bin" &
	running="$running $!"
	i=$((i + 1))
done
for attack in $running; do
	wait "$attack"
done

vegeta report "$out"/*.bin
success="$(vegeta report -type=json "$out"/*.bin | sed -n 's/.*"success":\([0-9.e+-]*\).*/\1/p')"
[ "$success" = "$want" ] || {
	echo "run.sh: the share of successes is $success; of $KIND clients it is $want" >&2
	exit 1
}
if [ "$want" = 0 ]; then
	# A gateway that is down has not refused anybody.
	others="$(vegeta encode -to csv "$out"/*.bin | cut -d, -f6 | grep -v 'remote error: tls: ' | sort | uniq -c)" || true
	[ -z "$others" ] || {
		printf 'run.sh: refused clients are told so by a TLS alert; these were not:\n%s\n' "$others" >&2
		exit 1
	}
fi
