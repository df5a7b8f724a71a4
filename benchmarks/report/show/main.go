// Command show prints the figures of a former run as Markdown, or what changed from
// one run to another:
//
//	go run ./benchmarks/report/show run.json
//	go run ./benchmarks/report/show before.json after.json
//	go run ./benchmarks/report/show -html run.html run.json
//	go run ./benchmarks/report/show -ledger run.json
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"verigate/benchmarks/report"
)

func main() {
	if err := show(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "show:", err)
		os.Exit(1)
	}
}

func show(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("show", flag.ContinueOnError)
	page := flags.String("html", "", "file to write the page to, instead of Markdown")
	ledger := flags.Bool("ledger", false, "print the row for benchmarks/LEDGER.md")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var runs []*report.Run
	for _, path := range flags.Args() {
		run, err := report.Read(path)
		if err != nil {
			return err
		}
		runs = append(runs, run)
	}
	switch {
	case len(runs) == 2 && *page == "" && !*ledger:
		_, err := io.WriteString(out, report.Compare(runs[0], runs[1]))
		return err
	case len(runs) != 1:
		return errors.New("usage: show [-html FILE | -ledger] run.json, or show before.json after.json")
	case *ledger:
		_, err := io.WriteString(out, report.LedgerRow(runs[0]))
		return err
	case *page != "":
		data, err := report.HTML(runs[0])
		if err != nil {
			return err
		}
		return os.WriteFile(*page, data, 0o644)
	}
	_, err := io.WriteString(out, report.Markdown(runs[0]))
	return err
}
