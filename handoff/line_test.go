package handoff

import "testing"

// A value cannot begin a line of its own, whoever's it is.
func TestAppendFieldKeepsToItsLine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ value, want string }{
		{"pay.example", "X-Forwarded-Host: pay.example\r\n"},
		{"a\r\nX-Workload-Id: b", "X-Forwarded-Host: a  X-Workload-Id: b\r\n"},
		{"a\nb\rc", "X-Forwarded-Host: a b c\r\n"},
		{"", ""},
	} {
		if got := string(appendField(nil, "X-Forwarded-Host", tt.value)); got != tt.want {
			t.Errorf("appendField(%q) = %q, want %q", tt.value, got, tt.want)
		}
	}
}
