package policy

import (
	"verigate/assurance"
	"verigate/workloadid"
)

// Rule lets callers use a route.
type Rule struct {
	// Name is for audit and explanations. Empty, it is the caller.
	Name string
	// Caller is required: a rule always speaks about one origin (AUTHZ-02).
	Caller workloadid.Pattern
	// Methods lists the methods, in capitals; GET does not include HEAD. Empty
	// allows all.
	Methods []string
	// Require is the least assurance of the caller (ASR-11). Zero requires none.
	Require assurance.Requirement
}

// DenyRule keeps callers from every route.
type DenyRule struct {
	// Name is for audit and explanations. Empty, it is the caller.
	Name string
	// Caller is required.
	Caller workloadid.Pattern
}

// Options configures a [Policy].
type Options struct {
	// Allow has the rules by the name of their route.
	Allow map[string][]Rule
	// Deny has rules that win over all others.
	Deny []DenyRule
}
