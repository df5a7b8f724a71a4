// Package config turns the operator's file into what the rooms take.
//
// [Load] reads one strict YAML document: unknown fields, repeated fields and
// values of the wrong type are refused, every problem is reported with file,
// line, column and field, all at once, and with a hint where there is one.
// References inside the file are resolved and routes and rules are compiled, so
// that a file that loads can only fail for what lies outside it: files, ports.
//
// [Schema] is the JSON Schema of the file, for editors.
package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"verigate/policy"
	"verigate/routing"
)

// Config is a file that has been read and checked. It is immutable.
type Config struct {
	// File is what was written.
	File File

	name   string           // of the file, as it stands in errors
	folder string           // that relative paths start from
	places map[string]place // of fields, but for those of routes
	routes *routing.Table
	policy *policy.Policy
}

// Load reads and checks the file at path. What is wrong with its content comes as
// [Problems]. Relative paths in the file start from the file's folder.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, Problems{{File: path, What: "the file does not exist",
			Hint: fmt.Sprintf("name the configuration with -c FILE, write one to start from with `gateway config example > %s`, or see it work with `gateway demo`", path)}}
	}
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1)) // the octet too many has it refused
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return Parse(path, data)
}

// Parse is [Load] for content that has been read already; name stands in errors,
// and its folder is where relative paths start from.
func Parse(name string, data []byte) (*Config, error) {
	d := decode(name, data)
	if len(d.problems) > 0 {
		// What follows from a wrong value is not worth reporting.
		return nil, d.problems.err()
	}
	c := &Config{File: d.file, name: name, folder: filepath.Dir(name), places: d.places}
	d.check(c)
	if err := d.problems.err(); err != nil {
		return nil, err
	}
	// What the file names besides is looked for in the places of the rest; those of
	// a hundred thousand routes are not worth keeping.
	maps.DeleteFunc(c.places, func(field string, _ place) bool { return strings.HasPrefix(field, "routes[") })
	return c, nil
}

// path returns where a file named in the configuration is.
func (c *Config) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.folder, name)
}

// Rules returns what requests are decided by.
func (c *Config) Rules() (*routing.Table, *policy.Policy) { return c.routes, c.policy }
