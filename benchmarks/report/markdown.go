package report

import (
	"fmt"
	"strings"
	"time"
)

// Markdown shows run in tables: for each scenario the times of all points and
// subjects, with ratios and targets, then the Values.
func Markdown(run *Run) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", escape(run.Title))
	for _, w := range Warnings(run) {
		fmt.Fprintf(&b, "> **%s**\n>\n", escape(w))
	}
	fmt.Fprintf(&b, "\n%s\n\n", escape(run.origin()))
	fmt.Fprintf(&b, "`%s`\n\n", strings.NewReplacer("`", "'", "\n", " ").Replace(run.Command))
	for _, s := range run.Subjects {
		fmt.Fprintf(&b, "- %s\n", escape(s.sentence()))
	}
	b.WriteString("\n")
	for _, n := range run.Notes {
		fmt.Fprintf(&b, "%s\n\n", escape(n))
	}
	b.WriteString(legend + "\n")
	if t, ok := targetsOf(run); ok {
		b.WriteString("\n## Targets\n\n")
		t.markdown(&b)
	}
	for _, s := range scenarios(run) {
		fmt.Fprintf(&b, "\n## %s\n", escape(s.name))
		for _, t := range tablesOf(run, s) {
			b.WriteString("\n")
			t.markdown(&b)
		}
	}
	return b.String()
}

const legend = "Medians of the rounds. The spread is the interquartile range over the median. " +
	"A ratio is the first subject's figure over the other's, by round: the median (lowest–highest). Where it has no column, it follows the other's figure " +
	"after a dot; a spread of more than 10 % follows after ±. A percentile is left out where there were too few operations for it."

// origin says where and when the figures come from.
func (r *Run) origin() string {
	return strings.Join([]string{
		r.Started.UTC().Format(time.DateTime) + " UTC", "commit " + r.Commit,
		fmt.Sprintf("%s, %d cores", r.Machine.CPU, r.Machine.Cores), "kernel " + r.Machine.Kernel, r.Machine.Go,
	}, " · ")
}

func (s Subject) sentence() string {
	text := strings.TrimSpace(s.Name + " " + s.Version)
	if s.Settings != "" {
		text += ": " + s.Settings
	}
	return text
}

func (t table) markdown(b *strings.Builder) {
	writeRow(b, t.Head)
	rule := make([]string, len(t.Head))
	for i := range rule {
		rule[i] = "---:"
		if i < t.Text {
			rule[i] = "---"
		}
	}
	b.WriteString("| " + strings.Join(rule, " | ") + " |\n")
	for _, row := range t.Rows {
		writeRow(b, row)
	}
}

func writeRow(b *strings.Builder, cells []string) {
	for _, c := range cells {
		b.WriteString("| " + escape(c) + " ")
	}
	b.WriteString("|\n")
}

// escape keeps what others called something from becoming markup. Underscores in
// words are none.
func escape(s string) string { return escaper.Replace(s) }

var escaper = strings.NewReplacer(`\`, `\\`, "|", `\|`, "`", "\\`", "*", `\*`, "[", `\[`, "]", `\]`,
	"<", "&lt;", ">", "&gt;", "&", "&amp;", "\r", " ", "\n", " ")
