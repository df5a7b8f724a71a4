package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

// printer writes for people: colours on a terminal, plain text in a pipe or with
// NO_COLOR set. It remembers the first error, so that callers can print away and
// look once.
type printer struct {
	out    io.Writer
	colour bool
	err    error
}

func newPrinter(out io.Writer) *printer {
	p := &printer{out: out}
	if f, ok := out.(*os.File); ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		info, err := f.Stat()
		p.colour = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// The colours in use.
const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
)

func (p *printer) paint(colour, text string) string {
	if !p.colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (p *printer) line(format string, args ...any) {
	if _, err := fmt.Fprintf(p.out, format+"\n", args...); err != nil && p.err == nil {
		p.err = err
	}
}

func (p *printer) heading(text string) {
	p.line("")
	p.line("%s", p.paint(bold, text))
}

// mark is how good and bad look; the words differ too, for those who see no
// colours.
func (p *printer) mark(ok bool) string {
	if ok {
		return p.paint(green, "ok  ")
	}
	return p.paint(red, "FAIL")
}

func (p *printer) step(ok bool, name, detail string) {
	p.line("%s", strings.TrimRight(fmt.Sprintf("  %s  %-12s %s", p.mark(ok), name, detail), " "))
}

func (p *printer) verdict(ok bool, word, detail string) {
	colour := red
	if ok {
		colour = green
	}
	p.line("%s", strings.TrimRight(p.paint(colour+";"+bold, word)+"  "+detail, " "))
}

func (p *printer) field(name, value string) {
	if value != "" {
		p.line("  %-10s %s", p.paint(dim, fmt.Sprintf("%-10s", name)), value)
	}
}

// certificate prints what a configuration can say about a certificate.
func (p *printer) certificate(label string, c *pathCert) {
	p.line("  %s  %s", p.paint(dim, label), c.name())
	p.line("    %s %s   %s %s", p.paint(dim, "serial"), c.Serial, p.paint(dim, "until"), c.NotAfter.Format(time.RFC3339))
	p.line("    %s %s", p.paint(dim, "spki_sha256"), c.SPKISHA256)
}

// table prints rows under headings, each column as wide as its widest cell.
func (p *printer) table(headings []string, rows [][]string, paint func(row, column int) string) {
	width := make([]int, len(headings))
	for _, row := range append([][]string{headings}, rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	render := func(row []string, colour func(column int) string) {
		var b strings.Builder
		for i, cell := range row {
			pad := ""
			if i < len(row)-1 {
				pad = strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2)
			}
			b.WriteString(p.paint(colour(i), cell) + pad)
		}
		p.line("  %s", b.String())
	}
	render(headings, func(int) string { return dim })
	for i, row := range rows {
		render(row, func(column int) string { return paint(i, column) })
	}
}
