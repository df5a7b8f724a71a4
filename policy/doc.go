// Package policy decides who may use a route.
//
// Everything is denied unless a rule of the route allows it: a valid certificate
// alone authorises nothing (AUTHZ-01). [Policy.Authorize] is asked after the
// route is known, since "A may call B" needs B, and judges the proven identity
// of the peer and nothing that the peer says about itself (AUTHZ-04).
//
// # How a request is judged
//
//  1. A [DenyRule] that matches the caller denies, whatever else is allowed.
//  2. A [Rule] of the route grants if it matches the caller and the method and
//     the caller's grade meets what it requires. Rules only ever add: any one
//     that matches in full is enough, so their order does not matter and a
//     narrow rule cannot take away what a wide one gives.
//  3. Otherwise the denial carries the closest reason: assurance_insufficient if
//     only the grade of the caller was short, method_not_allowed if only the
//     method was wrong, and policy_denied if no rule is about this caller.
//
// Where several rules would do, the one with the most specific caller is named,
// by [workloadid.ComparePatterns]; of those with the same caller, the one that
// requires least.
//
// A grant is evidence: only Authorize makes one, and the zero [Grant] means no.
package policy
