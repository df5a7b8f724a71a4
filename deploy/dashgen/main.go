// Command dashgen writes what watches the gateway: the Grafana dashboard and the
// Prometheus alerts. Names of metrics and labels come from package telemetry, so
// a name that does not exist cannot be written down here.
//
//	go run ./deploy/dashgen          from the top of the repository
//	go generate ./deploy/dashgen     the same
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

//go:generate go run . -dir ..

func main() {
	dir := flag.String("dir", "deploy", "folder to write below")
	flag.Parse()
	if err := write(*dir); err != nil {
		fmt.Fprintln(os.Stderr, "dashgen:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	files, err := generate()
	var errs []error
	for name, data := range files {
		errs = append(errs, os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), data, 0o644))
	}
	return errors.Join(append(errs, err)...)
}

// generate returns the content of each file by its name below deploy/.
func generate() (map[string][]byte, error) {
	board, err := encodeJSON(verification())
	if err != nil {
		return nil, err
	}
	rules, err := encodeYAML(alerts())
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"grafana/dashboards/verification.json": board,
		"prometheus/alerts.yaml":               rules,
	}, nil
}

// encodeJSON keeps < and > readable: expressions are full of them.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}

func encodeYAML(v any) ([]byte, error) {
	b := bytes.NewBufferString("# Written by deploy/dashgen; change it there.\n\n")
	e := yaml.NewEncoder(b)
	e.SetIndent(2)
	err := errors.Join(e.Encode(v), e.Close())
	return b.Bytes(), err
}
