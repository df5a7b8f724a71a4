// Requests over connections that stay open: what the gateway costs per request.

import http from 'k6/http';
import { Counter, Trend } from 'k6/metrics';
import { answered, arrivals, fewDropped, p99, summary, tls, url } from './gateway.js';

const handshakes = new Counter('tls_handshakes');
const handshakeDuration = new Trend('tls_handshake_duration', true);

const vus = Number(__ENV.VUS || 20);

export const options = {
  ...tls,
  scenarios: { keepalive: arrivals(500, vus) },
  summaryTrendStats: ['min', 'avg', 'med', 'p(90)', 'p(95)', 'p(99)', 'max', 'count'],
  thresholds: {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    http_req_duration: [p99(50)],
    dropped_iterations: [fewDropped(500)],
    // Each virtual user connects once. More would mean that connections do not stay
    // open, and that this measures something else than it says.
    tls_handshakes: [`count<=${vus}`],
  },
};

export default function () {
  const response = http.get(url);
  answered(response);
  // Zero when the connection was there already.
  if (response.timings.tls_handshaking > 0) {
    handshakes.add(1);
    handshakeDuration.add(response.timings.tls_handshaking);
  }
}

export function handleSummary(data) {
  return summary('keepalive', data);
}
