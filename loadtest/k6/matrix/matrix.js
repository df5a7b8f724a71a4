// One cell of the matrix: MODE of connections × number of IDENTITIES × KIND of
// identity × PROTOCOL.

import { check } from 'k6';
import exec from 'k6/execution';
import { answered, arrivals, fleet, rate, share, summary, trendStats, turns, url } from './world.js';

const mode = __ENV.MODE || 'keepalive';
const kind = __ENV.KIND || 'valid';
const good = kind === 'valid';

// With which alert each kind is refused in TLS 1.3. What the gateway finds wrong
// with a certificate is not for the client to know.
const alerts = {
  valid: '',
  expired: 'bad certificate',
  revoked: 'bad certificate',
  'wrong-trust-domain': 'bad certificate',
  none: 'certificate required',
};
if (alerts[kind] === undefined) throw new Error(`KIND ${kind}: expected one of ${Object.keys(alerts).join(', ')}`);

const clients = fleet(good ? 'clients' : kind, mode, Number(__ENV.IDENTITIES || 1));
const turn = turns(mode, clients.size, rate);

function thresholds() {
  const all = {
    checks: ['rate==1'],
    http_reqs: ['count>0'],
    http_req_failed: ['rate==0'],
    dropped_iterations: ['count==0'],
  };
  if (!good) return Object.assign(all, { mtls_handshakes: ['count==0'], mtls_refused: ['count>0'] });
  all.mtls_refused = ['count==0'];
  const p99 = (ms) => [`p(99)<${Number(__ENV.P99_MS || ms)}`];
  switch (mode) {
    case 'keepalive':
      return Object.assign(all, { mtls_reused: [`rate>=${share(turn)}`], http_req_duration: p99(50) });
    case 'full':
      return Object.assign(all, { mtls_reused: ['rate==0'], mtls_resumed: ['rate==0'], mtls_first_answer: p99(250) });
    default:
      return Object.assign(all, { mtls_reused: ['rate==0'], mtls_resumed: [`rate>=${share(turn)}`], mtls_first_answer: p99(250) });
  }
}

export const options = {
  scenarios: { cell: arrivals(rate, 'cell') },
  tlsVersion: { min: 'tls1.3', max: 'tls1.3' },
  discardResponseBodies: true,
  summaryTrendStats: trendStats,
  thresholds: thresholds(),
};

export function cell() {
  const response = clients.get(turn.of(exec.scenario.iterationInTest), url, { refused: !good });
  if (good) {
    answered(response);
    return;
  }
  check(response, {
    'was refused': (r) => r.refused && r.status === 0,
    'the alert is the one of its kind': (r) => r.alert === alerts[kind],
  });
}

export function handleSummary(data) {
  return summary(`${mode}, ${clients.size} ${kind}, ${__ENV.PROTOCOL || 'h1'}`, data);
}
