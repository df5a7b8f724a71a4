package certpath

import (
	"bytes"
	"crypto/x509"
	"fmt"
)

// PolicyInputs are the initial values of policy processing (RFC 5280 §6.1.1
// (c), (e), (f) and (g)). The zero value is what crypto/x509 does by default:
// any policy is fine, and one is needed only where a CA of the path demands it.
type PolicyInputs struct {
	Acceptable      []x509.OID // empty: any policy
	RequireExplicit bool
	InhibitMapping  bool
	InhibitAny      bool
}

// policyNode is one policy that is valid at some depth of the path.
type policyNode struct {
	// expected are the policies that the next certificate may assert to stay
	// under this one.
	expected []string
	// domains are the policies in the anchor's own terms that led here. RFC 9618
	// walks a graph up to find them; carrying them down says the same and needs
	// no graph, no pruning, and no parents. nil stands for anyPolicy.
	domains map[string]bool
}

// anyPolicy is the DER of 2.5.29.32.0.
const anyPolicy = "\x55\x1d\x20\x00"

// checkPolicies processes certificate policies (RFC 5280 §6.1 as updated by RFC
// 9618; PKIX-14). path is leaf first, anchor last. The work is added to steps and
// ends at maxPolicySteps.
func checkPolicies(path []*x509.Certificate, in PolicyInputs, steps *int) *Error {
	if policiesCannotMatter(path, in) {
		return nil
	}
	length := len(path) - 1 // without the anchor
	explicit, mapping, inhibitAny := length+1, length+1, length+1
	if in.RequireExplicit {
		explicit = 0
	}
	if in.InhibitMapping {
		mapping = 0
	}
	if in.InhibitAny {
		inhibitAny = 0
	}
	valid := map[string]*policyNode{anyPolicy: {expected: []string{anyPolicy}}}
	for depth := length - 1; depth >= 0; depth-- {
		c := path[depth]
		if len(c.Policies) > maxPolicies || len(c.PolicyMappings) > maxPolicies {
			return &Error{Reason: ReasonLimitsExceeded, Depth: depth, Found: fmt.Sprintf("%d policies and %d policy mappings in %s", len(c.Policies), len(c.PolicyMappings), subjectOf(c)), Want: fmt.Sprintf("at most %d of each", maxPolicies)}
		}
		selfIssued := bytes.Equal(c.RawIssuer, c.RawSubject)
		for _, node := range valid {
			*steps += (1 + len(c.Policies)) * len(node.expected) * (1 + len(node.domains))
		}
		if *steps > maxPolicySteps {
			return &Error{Reason: ReasonLimitsExceeded, Depth: depth, Found: fmt.Sprintf("more than %d steps of policy processing", maxPolicySteps), Want: "fewer policies or policy mappings"}
		}
		valid = descend(valid, c, inhibitAny > 0 || depth > 0 && selfIssued)
		if depth == 0 {
			break
		}
		if !mapPolicies(valid, c, mapping > 0) {
			return &Error{Reason: ReasonPolicy, Depth: depth, Found: "a policy mapping from or to anyPolicy in " + subjectOf(c), Want: "specific policies"}
		}
		if !selfIssued { // §6.1.4 (h)
			explicit, mapping, inhibitAny = lower(explicit), lower(mapping), lower(inhibitAny)
		}
		// §6.1.4 (i), (j): a CA only ever tightens.
		if c.RequireExplicitPolicy > 0 || c.RequireExplicitPolicyZero {
			explicit = min(explicit, c.RequireExplicitPolicy)
		}
		if c.InhibitPolicyMapping > 0 || c.InhibitPolicyMappingZero {
			mapping = min(mapping, c.InhibitPolicyMapping)
		}
		if c.InhibitAnyPolicy > 0 || c.InhibitAnyPolicyZero {
			inhibitAny = min(inhibitAny, c.InhibitAnyPolicy)
		}
	}
	explicit = lower(explicit) // §6.1.5 (a), (b)
	if path[0].RequireExplicitPolicyZero {
		explicit = 0
	}
	if explicit > 0 || acceptable(valid, in.Acceptable) {
		return nil
	}
	return &Error{Reason: ReasonPolicy, Found: "no certificate policy that holds from the anchor to " + subjectOf(path[0]), Want: "an explicit policy, as a CA of the path requires"}
}

// policiesCannotMatter recognises nearly every workload path without work: only
// a demand for an explicit policy can make a path fail, or an invalid mapping.
func policiesCannotMatter(path []*x509.Certificate, in PolicyInputs) bool {
	if in.RequireExplicit {
		return false
	}
	for _, c := range path[:len(path)-1] {
		if c.RequireExplicitPolicy > 0 || c.RequireExplicitPolicyZero || len(c.PolicyMappings) > 0 {
			return false
		}
	}
	return true
}

// descend returns what is valid after c, given what was valid above it (§6.1.3
// (d), (e)).
func descend(above map[string]*policyNode, c *x509.Certificate, anyAllowed bool) map[string]*policyNode {
	here := make(map[string]*policyNode, len(c.Policies))
	hasAny := false
	for _, policy := range c.Policies {
		oid := derOf(policy)
		if oid == anyPolicy {
			hasAny = true
			continue
		}
		expected := false
		for _, parent := range above {
			for _, e := range parent.expected {
				if e == oid {
					adopt(here, oid, parent)
					expected = true
				}
			}
		}
		if parent := above[anyPolicy]; !expected && parent != nil {
			adopt(here, oid, parent)
		}
	}
	if !hasAny || !anyAllowed {
		return here
	}
	// anyPolicy stands for each policy that was expected and not named.
	named := make(map[string]bool, len(here))
	for oid := range here {
		named[oid] = true
	}
	for _, parent := range above {
		for _, e := range parent.expected {
			if !named[e] {
				adopt(here, e, parent)
			}
		}
	}
	return here
}

// adopt makes oid valid below parent.
func adopt(here map[string]*policyNode, oid string, parent *policyNode) {
	node := here[oid]
	if node == nil {
		node = &policyNode{expected: []string{oid}}
		here[oid] = node
	}
	if oid == anyPolicy {
		return // anyPolicy only ever comes from anyPolicy
	}
	if node.domains == nil {
		node.domains = make(map[string]bool, 1)
	}
	if parent.domains == nil {
		node.domains[oid] = true
		return
	}
	for domain := range parent.domains {
		node.domains[domain] = true
	}
}

// mapPolicies applies the policy mappings of c to what is valid after it
// (§6.1.4 (a), (b)). It reports whether they are well formed.
func mapPolicies(valid map[string]*policyNode, c *x509.Certificate, allowed bool) bool {
	mapped := make(map[string][]string, len(c.PolicyMappings))
	for _, m := range c.PolicyMappings {
		from, to := derOf(m.IssuerDomainPolicy), derOf(m.SubjectDomainPolicy)
		if from == anyPolicy || to == anyPolicy {
			return false
		}
		mapped[from] = append(mapped[from], to)
	}
	for from, to := range mapped {
		switch node := valid[from]; {
		case !allowed:
			delete(valid, from)
		case node != nil:
			node.expected = to
		case valid[anyPolicy] != nil:
			valid[from] = &policyNode{expected: to, domains: map[string]bool{from: true}}
		}
	}
	return true
}

// acceptable reports whether a valid policy of the leaf is, in the anchor's
// terms, one that the caller accepts (§6.1.5 (g)).
func acceptable(valid map[string]*policyNode, wanted []x509.OID) bool {
	if len(valid) == 0 || len(wanted) == 0 {
		return len(valid) > 0
	}
	if valid[anyPolicy] != nil {
		return true
	}
	for _, policy := range wanted {
		oid := derOf(policy)
		if oid == anyPolicy {
			return true
		}
		for _, node := range valid {
			if node.domains[oid] {
				return true
			}
		}
	}
	return false
}

func lower(n int) int { return max(n-1, 0) }

// derOf returns the octets of an object identifier, which compare faster than
// its arcs.
func derOf(oid x509.OID) string {
	der, err := oid.MarshalBinary()
	if err != nil {
		return ""
	}
	return string(der)
}
