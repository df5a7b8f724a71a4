// What the scripts of this folder have in common: where things are, whose turn it
// is, and what is told at the end. README.md lists the variables.

import { check } from 'k6';
import { Fleet } from 'k6/x/mtls';

export const rate = Number(__ENV.RATE || 100);
export const seconds = toSeconds(__ENV.DURATION || '10s');
export const url = `https://${__ENV.ADDRESS || 'localhost:8443'}/1k`;

const pki = __ENV.PKI || '../../../pki';
const protocol = __ENV.PROTOCOL || 'h1';
const echo = __ENV.ECHO || '';

// visits is how many requests an identity has before others take its place, where
// connections or sessions are to be used again.
export const visits = Number(__ENV.VISITS || 10);

export const trendStats = ['min', 'avg', 'med', 'p(90)', 'p(95)', 'p(99)', 'max', 'count'];

function toSeconds(text) {
  const match = /^(\d+)(s|m|h)$/.exec(text);
  if (match === null) throw new Error(`DURATION ${text}: expected a number and s, m or h, such as 30s`);
  return Number(match[1]) * { s: 1, m: 60, h: 3600 }[match[2]];
}

// fleet makes the fleet of a set of identities, a folder of PKI; 'none' is clients
// without a certificate.
export function fleet(set, mode, size) {
  const options = { ca: `${pki}/root.pem`, mode, protocol, size };
  if (set === 'none') options.anonymous = true;
  else options.identities = `${pki}/${set}`;
  return new Fleet(options);
}

// arrivals starts so many iterations a second, however slow the answers are.
export function arrivals(perSecond, exec) {
  return {
    executor: 'constant-arrival-rate',
    rate: perSecond,
    timeUnit: '1s',
    duration: `${seconds}s`,
    preAllocatedVUs: Number(__ENV.VUS || 200),
    exec,
  };
}

// turns says whose turn it is, by the number of the iteration in its scenario. The
// number of the virtual user would not do: an arrival-rate executor uses as few of
// them as it can.
//
// With 'full' the identities follow each other. Otherwise one request in so many as
// there are visits is by an identity that was not there yet, and the others are by
// the ones before it, each about a second after its last visit: among 100 000 in turn
// none would come twice in a run. What is new comes evenly, not in bursts.
export function turns(mode, size, perSecond) {
  const total = perSecond * seconds;
  if (mode === 'full') return { of: (n) => n % size, seen: Math.min(size, total), total };
  const gap = Math.ceil(perSecond / visits);
  return {
    of: (n) => {
      const newest = Math.floor(n / visits);
      const turn = newest - (n % visits) * gap;
      return (turn >= 0 ? turn : n % (newest + 1)) % size;
    },
    // How many different ones there are in the run: their first request is on a new
    // connection.
    seen: Math.min(size, Math.ceil(total / visits)),
    total,
  };
}

// share is the part of all requests that have to find a connection or a session: a
// tenth less than all but the first of each identity, as requests may overlap.
export function share(turn) {
  const all = 1 - turn.seen / turn.total;
  if (all <= 0) throw new Error(`in ${turn.total} requests no identity comes twice: give more DURATION or fewer IDENTITIES`);
  return (0.9 * all).toFixed(4);
}

// answered checks that the answer is the backend's, and that the backend saw who
// asked.
export function answered(response) {
  const checks = {
    'status is 200': (r) => r.status === 200,
    'body is 1 KiB': (r) => r.length === 1024,
    'protocol is the one asked for': (r) => protocol === 'any' || r.proto === { h1: 'HTTP/1.1', h2: 'HTTP/2.0' }[protocol],
  };
  if (echo !== '') checks['the backend saw the caller'] = (r) => r.identity !== '' && r.headers[echo] === r.identity;
  return check(response, checks);
}

// summary writes everything to the file that SUMMARY names, and a few lines to the
// terminal.
export function summary(title, data) {
  const of = (name, stat) => {
    const metric = data.metrics[name];
    return metric === undefined || metric.values[stat] === undefined ? NaN : metric.values[stat];
  };
  const count = (name) => of(name, 'count') || 0;
  const missed = [];
  for (const [name, metric] of Object.entries(data.metrics)) {
    for (const [threshold, result] of Object.entries(metric.thresholds || {})) {
      if (!result.ok) missed.push(`${name} ${threshold}`);
    }
  }
  const line = (name) =>
    data.metrics[name] === undefined || count(name) === 0
      ? ''
      : `  ${name.padEnd(24)} med ${of(name, 'med').toFixed(2)} ms  p95 ${of(name, 'p(95)').toFixed(2)} ms  p99 ${of(name, 'p(99)').toFixed(2)} ms\n`;
  const text =
    `${title}: ${count('http_reqs')} requests, ${of('http_reqs', 'rate').toFixed(1)} a second; ` +
    `${count('mtls_handshakes')} handshakes, ${(100 * (of('mtls_resumed', 'rate') || 0)).toFixed(1)} % resumed; ` +
    `${count('mtls_refused')} refused, ${count('mtls_reconnects')} reconnected, ${count('dropped_iterations')} dropped\n` +
    line('http_req_duration') +
    line('mtls_handshake_duration') +
    line('mtls_first_answer') +
    (missed.length > 0 ? `  thresholds missed: ${missed.join('; ')}\n` : '  all thresholds met\n');
  const out = { stdout: text };
  if (__ENV.SUMMARY) out[__ENV.SUMMARY] = JSON.stringify(data, null, 2);
  return out;
}
