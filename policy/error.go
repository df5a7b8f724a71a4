package policy

import "fmt"

// Fault says why rules cannot be compiled.
type Fault uint8

// The faults. FaultNone is the zero value: nothing is wrong.
const (
	FaultNone         Fault = iota
	FaultNoCaller           // a rule without a caller
	FaultUnknownRoute       // rules for a route that does not exist
	FaultMethod             // not a method in capitals
	FaultRequirement        // a level or grade that nobody can have
)

var faultText = [...]string{
	FaultNone:         "no fault",
	FaultNoCaller:     "a rule needs a caller; write SCHEME://TRUST-DOMAIN/** for every workload of a trust domain",
	FaultUnknownRoute: "there is no route of this name",
	FaultMethod:       "a method is a word in capitals, such as GET",
	FaultRequirement:  "a level is at most 4 and so is the grade of a characteristic: nobody could meet this",
}

// String returns the rule that was broken, as a phrase for an operator.
func (f Fault) String() string {
	if int(f) < len(faultText) {
		return faultText[f]
	}
	return fmt.Sprintf("policy.Fault(%d)", uint8(f))
}

// Error reports one fault of one rule.
type Error struct {
	Fault Fault
	Route string // of the rule; "" for a deny rule
	Index int    // of the rule in its list; -1 if the list itself is at fault
	Rule  string // the name of the rule
}

// Error names the rule and what would be right.
func (e *Error) Error() string {
	switch {
	case e.Index < 0:
		return fmt.Sprintf("allow for route %q: %v", e.Route, e.Fault)
	case e.Route == "":
		return fmt.Sprintf("deny rule %d (%q): %v", e.Index+1, e.Rule, e.Fault)
	}
	return fmt.Sprintf("allow rule %d (%q) of route %q: %v", e.Index+1, e.Rule, e.Route, e.Fault)
}
