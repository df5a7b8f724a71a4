package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// phase is how far a request came before it failed.
type phase string

const (
	phaseDial      phase = "connect"   // there is no connection
	phaseHandshake phase = "handshake" // the TLS handshake ended with an error
	phaseFirst     phase = "first"     // a new connection ended before the first octet of an answer
	phaseStale     phase = "stale"     // a connection that was kept ended before the first octet; the request may be sent again
	phaseLost      phase = "lost"      // the same, but the request must not be sent again
	phaseAnswer    phase = "answer"    // the answer broke off
	phaseWait      phase = "wait"      // all connections stayed busy
)

// failure is why there is no answer.
type failure struct {
	phase phase
	err   error
}

func (f *failure) Error() string { return string(f.phase) + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// alert returns the TLS alert that the other side sent, such as "bad certificate".
// crypto/tls does not export the type of alerts outside of QUIC; the operation is
// what tells them from errors of this side.
func alert(err error) (string, bool) {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return strings.TrimPrefix(op.Err.Error(), "tls: "), true
	}
	return "", false
}

// refused reports whether the other side turned the client away before it
// answered anything: by an alert, or by closing a connection that was new.
func refused(err error) bool {
	f, ok := errors.AsType[*failure](err)
	if !ok || f.phase != phaseHandshake && f.phase != phaseFirst {
		return false
	}
	if _, ok := alert(err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// reasonOf says in a few words, without addresses, why there was no answer.
func reasonOf(err error) string {
	if text, ok := alert(err); ok {
		return "alert: " + text
	}
	where := ""
	if f, ok := errors.AsType[*failure](err); ok {
		where = string(f.phase) + ": "
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return where + "timeout"
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return where + errno.Error()
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return where + op.Err.Error()
	}
	return err.Error()
}

// answer is what came back.
type answer struct {
	status int
	// header looks a header up; nil without an answer.
	header func(name string) string
	bytes  int // of the body
}

// expectation is what makes an answer right. The zero value wants any status from
// 200 to 399.
type expectation struct {
	statuses []string // such as "200", "2xx"
	headers  []header // with an empty value: any
	refusal  string   // "refused", "alert", or the text of an alert
}

// parseExpectation reads the values of -expect; all have to hold.
func parseExpectation(texts []string) (expectation, error) {
	var e expectation
	for _, text := range texts {
		name, value, isHeader := strings.Cut(text, ":")
		switch {
		case text == "refused" || text == "alert":
			e.refusal = text
		case strings.HasPrefix(text, "alert "):
			e.refusal = strings.TrimSpace(strings.TrimPrefix(text, "alert "))
		case isHeader && name != "" && !strings.Contains(name, " "):
			e.headers = append(e.headers, header{name, strings.TrimSpace(value)})
		default:
			for status := range strings.SplitSeq(text, ",") {
				if !validStatus(status) {
					return e, fmt.Errorf("-expect %q: expected a status such as 200 or 2xx, a header such as \"Name: value\", "+
						"refused, alert, or the text of an alert such as \"alert bad certificate\"", text)
				}
				e.statuses = append(e.statuses, status)
			}
		}
	}
	if e.refusal != "" && len(e.statuses)+len(e.headers) > 0 {
		return e, errors.New("-expect: a client that is refused gets neither status nor header; expect one or the other")
	}
	return e, nil
}

func validStatus(text string) bool {
	if len(text) == 3 && text[0] >= '1' && text[0] <= '5' && text[1:] == "xx" {
		return true
	}
	n, err := strconv.Atoi(text)
	return err == nil && n >= 100 && n <= 599
}

// judge says why an outcome is wrong, "" if it is right.
func (e *expectation) judge(a answer, err error) string {
	switch {
	case e.refusal != "":
		return e.judgeRefusal(a, err)
	case err != nil:
		return reasonOf(err)
	case len(e.statuses) == 0 && (a.status < 200 || a.status > 399):
		return "status " + strconv.Itoa(a.status)
	case len(e.statuses) > 0 && !slices.ContainsFunc(e.statuses, func(s string) bool { return matches(s, a.status) }):
		return "status " + strconv.Itoa(a.status)
	}
	for _, h := range e.headers {
		if got := a.header(h.name); got == "" || h.value != "" && got != h.value {
			return fmt.Sprintf("header %s: %q", h.name, got)
		}
	}
	return ""
}

func (e *expectation) judgeRefusal(a answer, err error) string {
	if err == nil {
		return fmt.Sprintf("not refused: status %d", a.status)
	}
	text, isAlert := alert(err)
	if !refused(err) || e.refusal != "refused" && !isAlert || e.refusal != "refused" && e.refusal != "alert" && e.refusal != text {
		return reasonOf(err)
	}
	return ""
}

func matches(pattern string, status int) bool {
	text := strconv.Itoa(status)
	return pattern == text || strings.HasSuffix(pattern, "xx") && pattern[0] == text[0]
}
