package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Question is what POST /explain asks: how a chain, and perhaps a request, would
// fare. Texts are as they came; empty ones were not given.
type Question struct {
	Chain    []byte    // PEM, leaf first; never empty
	Role     string    // of the chain's owner: client or server
	Listener string    // whose trust domains count
	Time     time.Time // to judge at; zero: now

	// Of the request; without a Path there is none.
	SNI, Host, Method, Path string
	Headers                 []string // NAME: VALUE
}

// QuestionError says that a question cannot be answered as it was put: a chain
// that is none, a listener that does not exist. Whoever asked is told, with status
// 400.
type QuestionError struct{ Err error }

// Error says what is wrong with the question.
func (e *QuestionError) Error() string { return e.Err.Error() }

// Unwrap returns what is behind it.
func (e *QuestionError) Unwrap() error { return e.Err }

const (
	// questionBytes bounds the body of a question: a chain of ten large certificates
	// is some 60 KiB of PEM.
	questionBytes = 256 << 10
	// questionsAtOnce is how many questions are answered at a time. Each costs a few
	// signature checks, which must not take the processors from callers.
	questionsAtOnce = 2
)

// Content types of a question.
const (
	typeJSON     = "application/json"
	typePEM      = "application/pem-certificate-chain" // RFC 8555 §9.1
	typePEMOlder = "application/x-pem-file"
)

// explainHandler answers questions by explain.
func explainHandler(o *Options) http.HandlerFunc {
	turns := make(chan struct{}, questionsAtOnce)
	return func(w http.ResponseWriter, r *http.Request) {
		q, status, err := readQuestion(w, r)
		if err != nil {
			answer(w, status, err.Error()+"\n")
			return
		}
		select {
		case turns <- struct{}{}:
			defer func() { <-turns }()
		case <-r.Context().Done():
			return // nobody waits any more
		}
		result, err := o.Explain(r.Context(), q)
		if fault, ok := errors.AsType[*QuestionError](err); ok {
			answer(w, http.StatusBadRequest, fault.Error()+"\n")
			return
		}
		if err != nil {
			o.Log.Error("a question cannot be answered", "error", err)
			answer(w, http.StatusInternalServerError, "the question cannot be answered; the log says why\n")
			return
		}
		answerJSON(w, o.Log, result)
	}
}

// readQuestion returns the question of r, or an error and the status that goes with
// it.
func readQuestion(w http.ResponseWriter, r *http.Request) (*Question, int, error) {
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset, ok := parameters["charset"]; err != nil || len(parameters) > 1 || len(parameters) == 1 && !(ok && strings.EqualFold(charset, "utf-8")) ||
		!slices.Contains([]string{typeJSON, typePEM, typePEMOlder}, kind) {
		return nil, http.StatusUnsupportedMediaType, fmt.Errorf("the content type is %q, want %s with the chain as body, or %s",
			r.Header.Get("Content-Type"), typePEM, typeJSON)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, questionBytes))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, http.StatusRequestEntityTooLarge, fmt.Errorf("the question is longer than %d octets", questionBytes)
	}
	if err != nil {
		return nil, http.StatusBadRequest, errors.New("the question did not arrive in whole")
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, http.StatusBadRequest, fmt.Errorf("the query string is malformed: %w", err)
	}
	q := new(Question)
	if kind == typeJSON {
		if len(query) > 0 {
			return nil, http.StatusBadRequest, errors.New("a question in JSON has everything in its body; leave the query string out")
		}
		err = q.parseJSON(body)
	} else {
		q.Chain = body
		err = q.parseQuery(query)
	}
	if err == nil && len(bytes.TrimSpace(q.Chain)) == 0 {
		err = errors.New("chain is missing: certificates in PEM, leaf first")
	}
	if err != nil {
		return nil, http.StatusBadRequest, err
	}
	return q, 0, nil
}

// parseJSON reads an object whose members are those of [Question] in lower case,
// each at most once and none else: a question of which a part is silently not
// answered misleads.
func (q *Question) parseJSON(body []byte) error {
	d := json.NewDecoder(bytes.NewReader(body))
	if opening, err := d.Token(); err != nil || opening != json.Delim('{') {
		return errors.New("the question is not a JSON object")
	}
	seen := make(map[string]bool)
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return fmt.Errorf("the question is not JSON: %w", err)
		}
		name, _ := token.(string) // decoders return nothing else here
		if seen[name] {
			return fmt.Errorf("%q is there twice", name)
		}
		seen[name] = true
		var value any
		if err := d.Decode(&value); err != nil {
			return fmt.Errorf("the question is not JSON: %w", err)
		}
		if err := q.set(name, value); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("the question is not JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the question")
	}
	return nil
}

// parseQuery reads what a question in PEM says beside the chain. Only headers may
// come several times, one field each.
func (q *Question) parseQuery(query url.Values) error {
	for name, values := range query {
		switch {
		case name == "chain":
			return errors.New("the chain is the body; leave it out of the query string")
		case name == "headers":
			q.Headers = values
			continue
		case len(values) > 1:
			return fmt.Errorf("%q is there twice", name)
		}
		if err := q.set(name, values[0]); err != nil {
			return err
		}
	}
	return nil
}

// set sets the member called name.
func (q *Question) set(name string, value any) error {
	if name == "headers" {
		list, ok := value.([]any)
		for _, element := range list {
			header, isText := element.(string)
			ok = ok && isText
			q.Headers = append(q.Headers, header)
		}
		if !ok {
			return errors.New(`headers is not a list of texts such as "X-Canary: yes"`)
		}
		return nil
	}
	text, ok := value.(string)
	texts := map[string]*string{
		"role": &q.Role, "listener": &q.Listener, "sni": &q.SNI, "host": &q.Host, "method": &q.Method, "path": &q.Path,
	}
	field, known := texts[name]
	switch {
	case !known && name != "chain" && name != "time":
		return fmt.Errorf("%q is no part of a question; there are chain, role, listener, time, sni, host, method, path and headers", name)
	case !ok:
		return fmt.Errorf("%s is not a text", name)
	case known:
		*field = text
	case name == "chain":
		q.Chain = []byte(text)
	default:
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return fmt.Errorf("time %q is not a time such as 2026-12-01T00:00:00Z", text)
		}
		q.Time = at
	}
	return nil
}
