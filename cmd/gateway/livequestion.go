package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"verigate/admin"
)

// explain answers POST /explain by what is in force, with the code of the explain
// command.
func (a *app) explain(_ context.Context, asked *admin.Question) (any, error) {
	q, err := a.question(asked)
	if err != nil {
		return nil, &admin.QuestionError{Err: err}
	}
	return q.answer(), nil
}

func (a *app) question(asked *admin.Question) (*question, error) {
	q := &question{snapshot: a.store.Load(), config: a.currentConfig(), now: asked.Time}
	if q.now.IsZero() {
		q.now = time.Now()
	}
	var err error
	if q.role, err = roleNamed(cmp.Or(asked.Role, "client")); err != nil {
		return nil, fmt.Errorf("role %w", err)
	}
	if q.chain, err = readChain("chain", asked.Chain); err != nil {
		return nil, err
	}
	if err := q.at(asked.Listener); err != nil {
		return nil, err
	}
	switch {
	case asked.Path == "" && (asked.Host != "" || asked.Method != "" || len(asked.Headers) > 0):
		return nil, errors.New("host, method and headers are about a request; give path too")
	case asked.Path == "":
		return q, nil
	case asked.Role == "server":
		return nil, errors.New("path is about the request of a client; leave it or the role server out")
	case !strings.HasPrefix(asked.Path, "/"):
		return nil, fmt.Errorf("path %q does not begin with a slash", asked.Path)
	case asked.Host == "" && asked.SNI == "":
		return nil, errors.New("path is about a request, and every request has a host; give host too")
	}
	q.request = &requestLine{sni: asked.SNI, host: asked.Host, method: cmp.Or(asked.Method, "GET"), path: asked.Path, headers: asked.Headers}
	return q, q.request.checkHeaders()
}
