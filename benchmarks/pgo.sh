#!/bin/sh
# Refreshes cmd/gateway/default.pgo, by which `go build` optimises the gateway: the
# CPU profile of the gateway under requests over open connections, full handshakes and
# resumed ones, an equal time of each. Refresh it when the hot path has changed; a stale
# profile costs speed and nothing else.
#
#   ./benchmarks/pgo.sh
#   make bench-peers FLAGS='-peers verigate -variant without=/tmp/gateway-built-with-pgo-off'
set -eu
cd "$(dirname "$0")/.."
export GOFLAGS=-trimpath # the profile names files, and is in the repository
: "${SECONDS_EACH:=15}"
dir="$(mktemp -d)"
trap 'kill "$stage" 2>/dev/null || true; wait "$stage" 2>/dev/null || true; rm -rf "$dir"' EXIT
stage=

go build -o "$dir/driver" ./loadtest/driver
go build -o "$dir/run" ./loadtest/run
"$dir/run" -serve -clients 100 -address 127.0.0.1:18443 -dir "$dir/load" >"$dir/said" &
stage=$!
until grep -q '^clients' "$dir/said"; do
	kill -0 "$stage" # it ended: set -e ends this too
	sleep 0.2
done
admin="$(sed -n 's/^admin *//p' "$dir/said")"

profile() { # name, rate, flags of the driver
	name=$1 rate=$2
	shift 2
	"$dir/driver" -targets "loadtest/vegeta/$name.targets" -connect-to localhost:8443:127.0.0.1:18443 \
		-root-certs "$dir/load/pki/root.pem" -identities "$dir/load/pki/clients" -max-failures -1 \
		-rate "$rate" -duration "$((SECONDS_EACH + 2))s" "$@" >/dev/null &
	driver=$!
	curl -fsS -o "$dir/$name.pprof" "${admin}debug/pprof/profile?seconds=$SECONDS_EACH"
	wait "$driver"
}
profile keepalive 10000
profile handshake 700 -keepalive=false
profile resumed 1200 -keepalive=false -session-tickets
go tool pprof -proto "$dir"/keepalive.pprof "$dir"/handshake.pprof "$dir"/resumed.pprof >"$dir/merged.pgo"
# The profile names the program that it is of. Another name has to be as long.
gunzip <"$dir/merged.pgo" | LC_ALL=C sed "s#$dir#$(printf %s "$dir" | sed 's/./-/g')#g" | gzip -9n >"$dir/nameless.pgo"
mv "$dir/nameless.pgo" cmd/gateway/default.pgo
