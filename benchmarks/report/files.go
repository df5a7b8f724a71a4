package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
)

// Write puts run into dir as run.json, run.md and run.html, and makes the folder if
// there is none. All three are complete before the first takes its place; each
// replaces the one of a former run as a whole. Figures that are no numbers (0/0)
// cannot be kept: they are left out, and a note in the files says how many.
func Write(dir string, run *Run) error {
	run = finite(run)
	data, err := json.MarshalIndent(run, "", "  ")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	page, err := HTML(run)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	var pending [][2]string
	defer func() {
		for _, p := range pending {
			os.Remove(p[0])
		}
	}()
	for _, f := range []struct {
		name string
		data []byte
	}{{"run.json", append(data, '\n')}, {"run.md", []byte(Markdown(run))}, {"run.html", page}} {
		temporary, err := create(dir, f.name, f.data)
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		pending = append(pending, [2]string{temporary, filepath.Join(dir, f.name)})
	}
	for _, p := range pending {
		if err := os.Rename(p[0], p[1]); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}

// create writes data into a new file beside name.
func create(dir, name string, data []byte) (path string, err error) {
	f, err := os.CreateTemp(dir, "."+name+"-*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// finite returns run without what JSON cannot express.
func finite(run *Run) *Run {
	lost := 0
	out := *run
	out.Measurements = append([]Measurement(nil), run.Measurements...)
	for i := range out.Measurements {
		m := &out.Measurements[i]
		if !isFinite(m.X) {
			m.X = 0
			lost++
		}
		m.Values = maps.Clone(m.Values)
		before := len(m.Values)
		maps.DeleteFunc(m.Values, func(_ string, v float64) bool { return !isFinite(v) })
		lost += before - len(m.Values)
	}
	if lost > 0 {
		out.Notes = append(append([]string(nil), run.Notes...), fmt.Sprintf("%d figures were no numbers and are left out.", lost))
	}
	return &out
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// Read reads the run.json of a former run.
func Read(path string) (*Run, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	run := new(Run)
	if err := json.Unmarshal(data, run); err != nil {
		return nil, fmt.Errorf("report: %s: %w", path, err)
	}
	return run, nil
}
