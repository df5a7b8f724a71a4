package main

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"verigate/config"
)

func TestWhatCannotBeBoundIsNamedByItsField(t *testing.T) {
	t.Parallel()
	f := newFleet(t, func(http.ResponseWriter, *http.Request) {})
	path := filepath.Join(f.dir, "gateway.yaml")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for field, from := range map[string]string{
		"listeners[0].address": "    address: 127.0.0.1:0",
		"admin.address":        "admin: {address: 127.0.0.1:0",
	} {
		f.write(t, "gateway.yaml", strings.Replace(string(content), from, strings.TrimSuffix(from, "127.0.0.1:0")+taken.Addr().String(), 1))
		_, err := open(path, slog.New(slog.DiscardHandler))
		problem, ok := errors.AsType[config.Problem](err)
		if !ok || problem.Field != field || problem.Line == 0 || !strings.Contains(problem.Hint, "another process has the port") {
			t.Errorf("open() = %v, want a problem with %s that says who has the port", err, field)
		}
		if strings.Count(problem.Error(), "listen") > 1 {
			t.Errorf("open() = %q, which says things twice", problem)
		}
	}
}

func TestPlacedKeepsWhatHasNoPlace(t *testing.T) {
	t.Parallel()
	c, err := config.Parse("gateway.yaml", config.Example())
	if err != nil {
		t.Fatal(err)
	}
	lost := errors.New("lost")
	missing := &os.PathError{Op: "open", Path: c.Credentials()[0].KeyPath, Err: os.ErrNotExist}
	var r checkReport
	r.add(placed(c, errors.Join(lost, missing)))
	if len(r.Problems) != 2 || r.Problems[0].Line == 0 || r.Problems[0].Field != "listeners[0].certificate.key_file" || r.Problems[1].What != "lost" {
		t.Errorf("placed() = %v, want the key file at its place, and what was lost", r.Problems)
	}
}
