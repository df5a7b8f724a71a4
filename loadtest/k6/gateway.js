// What both scenarios have in common: where the gateway is, who calls it, and
// how. README.md lists the variables.

import { check } from 'k6';

const address = __ENV.ADDRESS || 'localhost:8443';
const client = __ENV.CLIENT || 'pki/client-0';

export const url = `https://${address}/1k`;

// tlsAuth has one entry without domains: k6 shows the first certificate to every
// host, whatever the domains of the others say.
export const tls = {
  tlsVersion: { min: 'tls1.3', max: 'tls1.3' },
  tlsAuth: [{ cert: open(`${client}.pem`), key: open(`${client}.key`) }],
};

// arrivals starts iterations at a fixed rate, however slow the answers are: a
// gateway that stalls is not spared the requests that would have come meanwhile.
export function arrivals(rate, vus) {
  return {
    executor: 'constant-arrival-rate',
    rate: Number(__ENV.RATE || rate),
    timeUnit: '1s',
    duration: __ENV.DURATION || '10s',
    preAllocatedVUs: Number(__ENV.VUS || vus),
  };
}

// fewDropped is the threshold on arrivals per second that found no free virtual
// user: one in a hundred. A few are lost while the first connections are made.
export function fewDropped(rate) {
  return `rate<${0.01 * Number(__ENV.RATE || rate)}`;
}

// p99 is the threshold in milliseconds.
export function p99(milliseconds) {
  return `p(99)<${Number(__ENV.P99_MS || milliseconds)}`;
}

export function answered(response) {
  return check(response, {
    'status is 200': (r) => r.status === 200,
    'body is 1 KiB': (r) => r.body !== null && r.body.length === 1024,
  });
}

// summary writes everything to the file that SUMMARY names, and a few lines to
// the terminal.
export function summary(scenario, data) {
  const of = (name, stat) => {
    const metric = data.metrics[name];
    return metric === undefined || metric.values[stat] === undefined ? NaN : metric.values[stat];
  };
  const failed = [];
  for (const [name, metric] of Object.entries(data.metrics)) {
    for (const [threshold, result] of Object.entries(metric.thresholds || {})) {
      if (!result.ok) failed.push(`${name} ${threshold}`);
    }
  }
  const line = (name) =>
    `  ${name.padEnd(26)} med ${of(name, 'med').toFixed(2)} ms  p95 ${of(name, 'p(95)').toFixed(2)} ms  p99 ${of(name, 'p(99)').toFixed(2)} ms\n`;
  const out = {
    stdout:
      `${scenario}: ${of('http_reqs', 'count')} requests, ${of('http_reqs', 'rate').toFixed(1)} a second, ` +
      `${of('tls_handshakes', 'count') || 0} handshakes, ${(100 * of('http_req_failed', 'rate')).toFixed(2)} % failed\n` +
      line('http_req_duration') +
      line('tls_handshake_duration') +
      (failed.length > 0 ? `  thresholds missed: ${failed.join('; ')}\n` : '  all thresholds met\n'),
  };
  if (__ENV.SUMMARY) out[__ENV.SUMMARY] = JSON.stringify(data, null, 2);
  return out;
}
