#!/bin/sh
# Runs all cells of the matrix, and the rotation, against a gateway that is running;
# fails if one of them does. README.md lists the variables, of which IDENTITIES counts
# for the rotation only; each of the lists below can be changed:
#
#   PKI=/tmp/load MODES=resumed SIZES="1 1000" KINDS=valid loadtest/k6/matrix/run.sh
set -eu
here="$(cd "$(dirname "$0")" && pwd)"

: "${K6:=$here/../../../.cache/k6-verigate}"
: "${PKI:?the folder that gateway pki gen wrote}"
: "${OUT:=$here/../../../build/k6}"
: "${MODES:=keepalive full resumed}"
: "${SIZES:=1 1000}"
: "${KINDS:=valid expired revoked wrong-trust-domain none}"
: "${PROTOCOLS:=h1}"
: "${REPORT:=true}"

rotated="${IDENTITIES:-100}"

mkdir -p "$OUT"
OUT="$(cd "$OUT" && pwd)"
PKI="$(cd "$PKI" && pwd)"
export PKI
missed=""

play() { # name of the cell, script
	# With k6's own period of 10 s a run of less than half a minute has no report.
	SUMMARY="$OUT/$1.json" K6_WEB_DASHBOARD="$REPORT" K6_WEB_DASHBOARD_PORT=-1 K6_WEB_DASHBOARD_PERIOD=1s \
		K6_WEB_DASHBOARD_EXPORT="$OUT/$1.html" "$K6" run --quiet --no-usage-report --address "" "$here/$2" || missed="$missed $1"
}

for PROTOCOL in $PROTOCOLS; do
	export PROTOCOL
	for MODE in $MODES; do
		export MODE
		for KIND in $KINDS; do
			export KIND
			sizes="$SIZES"
			[ "$KIND" = valid ] || sizes=1 # who is refused has neither connections nor sessions
			for IDENTITIES in $sizes; do
				export IDENTITIES
				play "$MODE-$IDENTITIES-$KIND-$PROTOCOL" matrix.js
			done
		done
	done
	IDENTITIES="$rotated"
	play "rotation-$PROTOCOL" rotation.js
done

[ -z "$missed" ] || {
	echo "failed:$missed" >&2
	exit 1
}
