// A new connection for every request: what a full handshake costs. k6 keeps no
// session tickets, so it never resumes.

import http from 'k6/http';
import { check } from 'k6';
import { Counter, Trend } from 'k6/metrics';
import { answered, arrivals, fewDropped, p99, summary, tls, url } from './gateway.js';

const handshakes = new Counter('tls_handshakes');
const handshakeDuration = new Trend('tls_handshake_duration', true);

export const options = {
  ...tls,
  noConnectionReuse: true,
  scenarios: { handshake: arrivals(100, 50) },
  summaryTrendStats: ['min', 'avg', 'med', 'p(90)', 'p(95)', 'p(99)', 'max', 'count'],
  thresholds: {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    tls_handshake_duration: [p99(250)],
    dropped_iterations: [fewDropped(100)],
  },
};

export default function () {
  const response = http.get(url);
  answered(response);
  const shook = check(response, { 'there was a handshake': (r) => r.timings.tls_handshaking > 0 });
  if (shook) {
    handshakes.add(1);
    handshakeDuration.add(response.timings.tls_handshaking);
  }
}

export function handleSummary(data) {
  return summary('handshake', data);
}
