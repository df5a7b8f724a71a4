package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// header is one line of a request's header, with its name spelled as in the file.
type header struct{ name, value string }

// target is one request of a target file.
type target struct {
	method  string
	url     *url.URL
	headers []header
	body    []byte
}

// address is the host and port that the target names, and that its connection goes
// to unless -connect-to says otherwise.
func (t *target) address() string {
	port := t.url.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[t.url.Scheme]
	}
	return net.JoinHostPort(t.url.Hostname(), port)
}

// host is what the Host header says.
func (t *target) host() string {
	for _, h := range t.headers {
		if strings.EqualFold(h.name, "Host") {
			return h.value
		}
	}
	return t.url.Host
}

// repeatable reports whether the request may be sent again when a connection that
// was kept turns out to be closed (RFC 9110 §9.2.2).
func (t *target) repeatable() bool {
	switch t.method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete, http.MethodTrace:
		return true
	}
	return false
}

// loadTargets reads the targets of a file in one of vegeta's formats: "http" or
// "json". Files of bodies are looked up in the folder of the target file.
func loadTargets(file, format string) ([]target, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("targets: %w", err)
	}
	defer f.Close()
	read := func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(file), name)
		}
		return readBody(name)
	}
	switch format {
	case "http":
		return parseHTTPTargets(file, f, read)
	case "json":
		return parseJSONTargets(file, f)
	}
	return nil, fmt.Errorf("-format %q: expected http or json", format)
}

// readBody reads the file of a body.
func readBody(name string) ([]byte, error) { return readFile(name, maxTargetLineBytes) }

// methodLine begins a target: a method in capitals and something after it.
var methodLine = regexp.MustCompile(`^[A-Z]+[ \t]`)

// parseHTTPTargets reads vegeta's HTTP format: a request is a line with method and
// URL, then header lines, then perhaps one line with @ and the file of its body. An
// empty line or the next request ends it. Lines that begin with # are comments.
// Errors begin with name and the number of the line.
func parseHTTPTargets(name string, r io.Reader, read func(string) ([]byte, error)) ([]target, error) {
	var targets []target
	var current *target
	bodied := false
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxTargetLineBytes)
	number := 0
	for scanner.Scan() {
		number++
		line := strings.TrimSpace(scanner.Text())
		fail := func(format string, args ...any) ([]target, error) {
			return nil, fmt.Errorf("%s:%d: %s", name, number, fmt.Sprintf(format, args...))
		}
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "":
			current = nil
		case methodLine.MatchString(line):
			method, address, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
			t, err := newTarget(method, strings.TrimSpace(address))
			if err != nil {
				return fail("%v", err)
			}
			targets = append(targets, t)
			current, bodied = &targets[len(targets)-1], false
		case current == nil:
			return fail("expected a method and a URL, such as GET https://localhost:8443/, got %q", line)
		case bodied:
			return fail("%q follows the body; expected an empty line or the next request", line)
		case strings.HasPrefix(line, "@"):
			body, err := read(strings.TrimSpace(line[1:]))
			if err != nil {
				return fail("body: %v", err)
			}
			current.body, bodied = body, true
		default:
			key, value, _ := strings.Cut(line, ":")
			if err := current.add(strings.TrimSpace(key), strings.TrimSpace(value)); err != nil {
				return fail("%v", err)
			}
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, number+1, err)
	}
	if len(targets) == 0 {
		return nil, fmt.Errorf("%s: there is no target; expected lines such as GET https://localhost:8443/", name)
	}
	return targets, nil
}

// parseJSONTargets reads vegeta's JSON format: one object a line, with its body in
// base64.
func parseJSONTargets(name string, r io.Reader) ([]target, error) {
	var targets []target
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxTargetLineBytes)
	number := 0
	for scanner.Scan() {
		number++
		line := bytes.TrimSpace(scanner.Bytes())
		if len(line) == 0 {
			continue
		}
		var written struct {
			Method string              `json:"method"`
			URL    string              `json:"url"`
			Body   []byte              `json:"body"`
			Header map[string][]string `json:"header"`
		}
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		err := d.Decode(&written)
		if err == nil && d.More() {
			err = errors.New("there is more than one object in the line")
		}
		var t target
		if err == nil {
			t, err = newTarget(written.Method, written.URL)
		}
		t.body = written.Body
		for key, values := range written.Header {
			for _, value := range values {
				err = errors.Join(err, t.add(key, value))
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, number, err)
		}
		targets = append(targets, t)
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, number+1, err)
	}
	if len(targets) == 0 {
		return nil, fmt.Errorf(`%s: there is no target; expected lines such as {"method": "GET", "url": "https://localhost:8443/"}`, name)
	}
	return targets, nil
}

func newTarget(method, address string) (target, error) {
	if method == "" || strings.ToUpper(method) != method || !consistsOf(method, isToken) {
		return target{}, fmt.Errorf("%q is no method; expected one in capitals, such as GET", method)
	}
	u, err := url.Parse(address)
	if err != nil {
		return target{}, fmt.Errorf("%q is no URL: %w", address, err)
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "":
		return target{}, fmt.Errorf("%q is not an absolute URL; expected one such as https://localhost:8443/", address)
	case u.User != nil:
		return target{}, fmt.Errorf("%q has a user in it; send an Authorization header instead", address)
	case strings.ContainsAny(address, " \t"):
		return target{}, fmt.Errorf("%q has a space in it; expected %%20", address)
	case !consistsOf(u.Host, isHost):
		return target{}, fmt.Errorf("%q cannot be a host", u.Host)
	}
	return target{method: method, url: u}, nil
}

// framing are headers that the driver itself sets, because it decides about bodies
// and connections.
var framing = map[string]string{
	"content-length":    "it is the length of the body",
	"transfer-encoding": "bodies are sent with their length",
	"connection":        "-keepalive decides about it",
}

func (t *target) add(name, value string) error {
	if value == "" {
		return fmt.Errorf("header %q has no value; expected Name: value, or @ and the file of the body", name)
	}
	if !consistsOf(name, isToken) || !consistsOf(value, isField) {
		return fmt.Errorf("%q: %q cannot be a header", name, value)
	}
	if why := framing[strings.ToLower(name)]; why != "" {
		return fmt.Errorf("header %s cannot be set: %s", name, why)
	}
	t.headers = append(t.headers, header{name, value})
	return nil
}

// consistsOf reports whether text has octets of a kind only, and one at least.
func consistsOf(text string, kind func(byte) bool) bool {
	for i := range len(text) {
		if !kind(text[i]) {
			return false
		}
	}
	return text != ""
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// isToken: RFC 9110 §5.6.2.
func isToken(c byte) bool { return isAlphanumeric(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 }

// isField: RFC 9110 §5.5.
func isField(c byte) bool { return c >= ' ' && c != 0x7f || c == '\t' }

// isHost is what a name, an address and a port are written with.
func isHost(c byte) bool { return isAlphanumeric(c) || strings.IndexByte("-._~%:[]", c) >= 0 }

// http1 is the request as HTTP/1.1 sends it.
func (t *target) http1(keepalive bool) []byte {
	var b bytes.Buffer
	path := t.url.RequestURI()
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", t.method, path, t.host())
	agent := false
	for _, h := range t.headers {
		if strings.EqualFold(h.name, "Host") {
			continue
		}
		agent = agent || strings.EqualFold(h.name, "User-Agent")
		fmt.Fprintf(&b, "%s: %s\r\n", h.name, h.value)
	}
	if !agent {
		b.WriteString("User-Agent: " + userAgent + "\r\n")
	}
	if len(t.body) > 0 || t.method == http.MethodPost || t.method == http.MethodPut || t.method == http.MethodPatch {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(t.body))
	}
	if !keepalive {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n")
	b.Write(t.body)
	return b.Bytes()
}

// http2 is the header as net/http takes it.
func (t *target) http2() http.Header {
	h := http.Header{"User-Agent": {userAgent}}
	for _, line := range t.headers {
		switch {
		case strings.EqualFold(line.name, "Host"):
		case strings.EqualFold(line.name, "User-Agent"):
			h.Set(line.name, line.value)
		default:
			h.Add(line.name, line.value)
		}
	}
	return h
}

const userAgent = "verigate-driver"
