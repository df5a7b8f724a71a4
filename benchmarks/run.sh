#!/bin/sh
# Runs the benchmarks of the ledger and writes what they say to
# benchmarks/results/<date>-<commit>.txt, or to the file named by OUT.
#
#   BENCHTIME=1s COUNT=10 ./benchmarks/run.sh
#
# One line per package: which benchmarks of it belong to the ledger. They are run
# one after the other; nothing else should run meanwhile.
set -eu
cd "$(dirname "$0")/.."
: "${BENCHTIME:=1s}" "${COUNT:=1}"
: "${OUT:=benchmarks/results/$(date -u +%F)-$(git rev-parse --short HEAD).txt}"

measure() { # package, pattern, benchtime if not the common one, flags of the test's own
	package=$1 pattern=$2 time=${3:-$BENCHTIME}
	shift 2
	[ $# -eq 0 ] || shift
	go test "./$package" -run '^$' -bench "$pattern" -benchtime "$time" -count "$COUNT" "$@"
}

mkdir -p "$(dirname "$OUT")"
{
	echo "# $(date -u +%FT%TZ) commit $(git rev-parse --short HEAD)$(git diff --quiet HEAD -- '*.go' || echo ', with changes')"
	echo "# $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, kernel $(uname -r), $(go env GOVERSION)"
	echo "# BENCHTIME=$BENCHTIME COUNT=$COUNT ./benchmarks/run.sh"
	measure certpath    '^Benchmark(Verify|VerifyKnownIssuer|VerifyProven|CheckRevocation)$'
	measure trust       '^BenchmarkCRL$' 1x
	measure verifycache '^Benchmark(Hit|HitParallel|HitByCRLs|HitWithShadow|Key|Miss|Rejudge|RejectedHit)$'
	measure verifycache '^Benchmark(Memory|Crowd)$' 1x
	measure routing     '^Benchmark(Match|MatchMiss|MatchHostile|SameScope)$'
	measure policy      '^Benchmark(Authorize|AuthorizeManyRoutes|Deny)$'
	measure http1gate   '^Benchmark(Read|ReadInTwo)$'
	measure handoff     '^Benchmark(StripRequest|Append|FilterResponse)$'
	measure telemetry   '^Benchmark(Request|Handshake|Trace)$'
	measure upstream    '^BenchmarkForward$'
	measure gateway     '^Benchmark(Decide|ProxiedRequest|Refused)$'
	measure gateway     '^BenchmarkTrustChange$' 1x -live "${LIVE:-20000}"
	measure gateway     '^BenchmarkIdleConnection$' 1x -live "${LIVE:-20000}"
	measure tlsterm     '^Benchmark(Handshake|Resumption)$' "${HANDSHAKES:-300x}"
} | tee "$OUT"
