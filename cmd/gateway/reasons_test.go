package main

import (
	"testing"

	"verigate/gateway"
	"verigate/tlsterm"
	"verigate/upstream"
)

// TestEveryReasonIsExplained keeps `gateway explain REASON` complete: every code
// that metrics and audit records can carry has its text.
func TestEveryReasonIsExplained(t *testing.T) {
	t.Parallel()
	for _, codes := range [][]string{tlsterm.Reasons(), gateway.Reasons(), upstream.Reasons(), reasonCodes()} {
		if len(codes) == 0 {
			t.Fatal("a room lists no reasons")
		}
		for _, code := range codes {
			if len(helpOf(code)) < 20 {
				t.Errorf("helpOf(%q) = %q, want an explanation", code, helpOf(code))
			}
		}
	}
	if help := helpOf("none_of_ours"); help != "" {
		t.Errorf(`helpOf("none_of_ours") = %q, want nothing`, help)
	}
}

func TestNoExplanationIsOfAReasonThatDoesNotExist(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, codes := range [][]string{tlsterm.Reasons(), gateway.Reasons(), upstream.Reasons()} {
		for _, code := range codes {
			known[code] = true
		}
	}
	for code := range reasonHelp {
		if !known[code] {
			t.Errorf("there is an explanation of %q, which nobody reports", code)
		}
	}
}
