// Package mtls is the k6 module k6/x/mtls: HTTPS requests by any of many client
// identities, each with its own connections and session.
//
//	import { Fleet } from 'k6/x/mtls';
//	import exec from 'k6/execution';
//
//	const fleet = new Fleet({ identities: '/tmp/pki/clients', mode: 'resumed' });
//
//	export default function () {
//	  const response = fleet.get(exec.scenario.iterationInTest % fleet.size, 'https://localhost:8443/1k');
//	}
//
// A fleet belongs to the process, not to a virtual user: identity, connection and
// session are chosen by the number that the script passes. An arrival-rate executor
// that needs only one virtual user therefore presents as many identities as one that
// needs a hundred.
//
// README.md describes options, answers and metrics.
package mtls

import "go.k6.io/k6/js/modules"

func init() { modules.Register("k6/x/mtls", New()) }
