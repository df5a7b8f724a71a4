package report

import (
	"bytes"
	_ "embed"
	"html/template"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// HTML shows run as one page that needs nothing else: tables, and beside each its
// plots. Whatever others named is escaped.
func HTML(run *Run) ([]byte, error) {
	type section struct {
		Name   string
		Plots  []plot
		Tables []table
	}
	page := struct {
		Title, Origin, Command, Legend string
		Warnings, Subjects, Notes      []string
		Targets                        []table
		Sections                       []section
	}{Title: run.Title, Origin: run.origin(), Command: run.Command, Legend: legend, Warnings: Warnings(run), Notes: run.Notes}
	for _, s := range run.Subjects {
		page.Subjects = append(page.Subjects, s.sentence())
	}
	if t, ok := targetsOf(run); ok {
		page.Targets = []table{t}
	}
	for _, s := range scenarios(run) {
		page.Sections = append(page.Sections, section{Name: s.name, Plots: plotsOf(run, s), Tables: tablesOf(run, s)})
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, page); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
