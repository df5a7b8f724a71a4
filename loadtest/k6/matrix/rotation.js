// Nothing fails while certificates change: at half time the clients change to the
// certificates in PKI/next. Meanwhile whoever runs this may give the gateway another
// certificate (SERVER_CERTIFICATES=2 insists that it is seen) and have it reload.

import exec from 'k6/execution';
import { Counter } from 'k6/metrics';
import { answered, arrivals, fleet, rate, seconds, summary, trendStats, turns, url, visits } from './world.js';

const pki = __ENV.PKI || '../../../pki';
const size = Number(__ENV.IDENTITIES || 100);
const slow = Math.max(1, Math.round(rate / 5));

const fleets = {};
const turn = {};
for (const [mode, perSecond] of [['keepalive', rate], ['resumed', slow], ['full', slow]]) {
  fleets[mode] = fleet('clients', mode, size);
  turn[mode] = turns(mode, size, perSecond);
}

const rotations = new Counter('rotations');

export const options = {
  scenarios: {
    keepalive: arrivals(rate, 'keepalive'),
    resumed: arrivals(slow, 'resumed'),
    full: arrivals(slow, 'full'),
    rotation: { executor: 'per-vu-iterations', vus: 1, iterations: 1, startTime: `${Math.floor(seconds / 2)}s`, exec: 'rotate' },
  },
  tlsVersion: { min: 'tls1.3', max: 'tls1.3' },
  discardResponseBodies: true,
  summaryTrendStats: trendStats,
  thresholds: {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    dropped_iterations: ['count==0'],
    mtls_refused: ['count==0'],
    rotations: ['count==1'],
    // As many connections as before are made anew after the rotation.
    'mtls_handshakes{scenario:keepalive}': [`count>=${2 * Math.min(size, Math.floor((rate * seconds) / 2 / visits))}`],
    'mtls_resumed{scenario:resumed}': ['rate>0'],
    'mtls_resumed{scenario:full}': ['rate==0'],
    'mtls_server_certificates{scenario:full}': [`count>=${Number(__ENV.SERVER_CERTIFICATES || 1)}`],
    'http_req_duration{scenario:keepalive}': [`p(99)<${Number(__ENV.P99_MS || 250)}`],
  },
};

function ask(mode) {
  answered(fleets[mode].get(turn[mode].of(exec.scenario.iterationInTest), url));
}

export const keepalive = () => ask('keepalive');
export const resumed = () => ask('resumed');
export const full = () => ask('full');

export function rotate() {
  const next = { identities: __ENV.NEXT || `${pki}/next` };
  for (const clients of Object.values(fleets)) clients.rotate(next);
  rotations.add(1);
}

export function handleSummary(data) {
  return summary(`rotation of ${size} identities`, data);
}
