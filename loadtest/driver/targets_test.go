package main

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// bodies stands for the files that targets name.
func bodies(name string) ([]byte, error) {
	if name == "body.json" {
		return []byte(`{"n":1}`), nil
	}
	return nil, errors.New("no such file")
}

func TestHTTPTargets(t *testing.T) {
	t.Parallel()
	text := `# all of them
GET https://localhost:8443/1k?a=b
Accept: text/plain
X-Odd-name:value: with a colon

POST https://localhost:8443/1k
Content-Type: application/json
@body.json
GET http://plain.example
HEAD https://[::1]/
Host: other.example
`
	got, err := parseHTTPTargets("x.targets", strings.NewReader(text), bodies)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"GET /1k?a=b HTTP/1.1\r\nHost: localhost:8443\r\nAccept: text/plain\r\nX-Odd-name: value: with a colon\r\nUser-Agent: verigate-driver\r\n\r\n",
		"POST /1k HTTP/1.1\r\nHost: localhost:8443\r\nContent-Type: application/json\r\nUser-Agent: verigate-driver\r\nContent-Length: 7\r\n\r\n{\"n\":1}",
		"GET / HTTP/1.1\r\nHost: plain.example\r\nUser-Agent: verigate-driver\r\n\r\n",
		"HEAD / HTTP/1.1\r\nHost: other.example\r\nUser-Agent: verigate-driver\r\n\r\n",
	}
	if len(got) != len(want) {
		t.Fatalf("%d targets, want %d", len(got), len(want))
	}
	for i := range want {
		if sent := string(got[i].http1(true)); sent != want[i] {
			t.Errorf("target %d is sent as %q, want %q", i, sent, want[i])
		}
	}
	if sent := string(got[0].http1(false)); !strings.Contains(sent, "\r\nConnection: close\r\n") {
		t.Errorf("without keep-alive %q is sent, which does not say that the connection is to be closed", sent)
	}
	for i, address := range []string{"localhost:8443", "localhost:8443", "plain.example:80", "[::1]:443"} {
		if got[i].address() != address {
			t.Errorf("target %d is at %s, want %s", i, got[i].address(), address)
		}
	}
}

func TestHTTPTargetsThatAreWrong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, want string }{
		{"", "x.targets: there is no target"},
		{"# nothing\n", "x.targets: there is no target"},
		{"\nGET\n", `x.targets:2: expected a method and a URL`},
		{"GET /x\n", `x.targets:1: "/x" is not an absolute URL`},
		{"GET ftp://a.example/\n", "x.targets:1: \"ftp://a.example/\" is not an absolute URL"},
		{"GET https://a.example/ b\n", "x.targets:1:"},
		{"GET https://u:p@a.example/\n", "has a user in it"},
		{"GET https://a.example/%zz\n", "x.targets:1:"},
		{"get https://a.example/\n", "x.targets:1: expected a method"},
		{"GET https://a.example/\nAccept\n", `x.targets:2: header "Accept" has no value`},
		{"GET https://a.example/\nAccept: \n", `x.targets:2: header "Accept" has no value`},
		{"GET https://a.example/\n: x\n", "cannot be a header"},
		{"GET https://a.example/\na b: x\n", "cannot be a header"},
		{"GET https://a.example/\nContent-Length: 3\n", "header Content-Length cannot be set: it is the length of the body"},
		{"GET https://a.example/\nconnection: close\n", "header connection cannot be set"},
		{"POST https://a.example/\n@body.json\nAccept: x\n", `x.targets:3: "Accept: x" follows the body`},
		{"POST https://a.example/\n@missing\n", "x.targets:2: body: no such file"},
		{"POST https://a.example/\n@\n", "x.targets:2: body:"},
		{"Accept: x\n", "x.targets:1: expected a method and a URL"},
	} {
		got, err := parseHTTPTargets("x.targets", strings.NewReader(tt.text), bodies)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("parseHTTPTargets(%q) = %+v, %v; want the error %q", tt.text, got, err, tt.want)
		}
	}
}

func TestJSONTargets(t *testing.T) {
	t.Parallel()
	text := `{"method":"POST","url":"https://localhost:8443/1k","body":"aGVsbG8=","header":{"X-A":["1","2"]}}

{"method":"GET","url":"https://localhost:8443/"}
`
	got, err := parseJSONTargets("x.json", strings.NewReader(text))
	if err != nil || len(got) != 2 {
		t.Fatalf("parseJSONTargets() = %+v, %v, want two targets", got, err)
	}
	want := "POST /1k HTTP/1.1\r\nHost: localhost:8443\r\nX-A: 1\r\nX-A: 2\r\nUser-Agent: verigate-driver\r\nContent-Length: 5\r\n\r\nhello"
	if sent := string(got[0].http1(true)); sent != want {
		t.Errorf("sent as %q, want %q", sent, want)
	}
	for _, tt := range []struct{ text, want string }{
		{"", "x.json: there is no target"},
		{"{\"method\":\"GET\",\"url\":\"https://a.example/\"}\n{\n", "x.json:2: unexpected EOF"},
		{`{"method":"GET","url":"https://a.example/"} {}`, "x.json:1: there is more than one object"},
		{`{"method":"GET","url":"https://a.example/","bodi":""}`, `x.json:1: json: unknown field "bodi"`},
		{`{"url":"https://a.example/"}`, `x.json:1: "" is no method`},
		{`{"method":"GET","url":"https://a.example/","header":{"A\nb":["x"]}}`, "cannot be a header"},
	} {
		if got, err := parseJSONTargets("x.json", strings.NewReader(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("parseJSONTargets(%q) = %+v, %v; want the error %q", tt.text, got, err, tt.want)
		}
	}
}

// A body comes from a file that has an end, and not too far away.
func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, size := range map[string]int64{"most": maxTargetLineBytes, "more": maxTargetLineBytes + 1} {
		if err := os.WriteFile(path(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path(name), size); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ body, want string }{
		{"most", ""},
		{"more", "x.targets:2: body: " + path("more") + " is longer than 16777216 octets"},
		{"pipe", "pipe is no regular file"},
		{".", " is no regular file"},
		{"/dev/zero", "x.targets:2: body: /dev/zero is no regular file"},
		{"/dev/null", "/dev/null is no regular file"},
	} {
		if err := os.WriteFile(path("x.targets"), []byte("POST https://a.example/\n@"+tt.body+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		targets, err := loadTargets(path("x.targets"), "http")
		if tt.want == "" {
			if err != nil || len(targets[0].body) != maxTargetLineBytes {
				t.Errorf("loadTargets() with the body %s = %v, want it accepted", tt.body, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("loadTargets() with the body %s = %v, want the error %q", tt.body, err, tt.want)
		}
	}
}

// Every file of the scenarios can be read, names files that are there, and goes to
// the host that run.sh and run redirect.
func TestShippedTargets(t *testing.T) {
	t.Parallel()
	files := shipped(t)
	if len(files) == 0 {
		t.Fatal("there are no target files")
	}
	for _, file := range files {
		targets, err := loadTargets(file, "http")
		if err != nil {
			t.Error(err)
		}
		for _, target := range targets {
			if target.url.Scheme != "https" || target.address() != "localhost:8443" || target.url.Path != "/1k" {
				t.Errorf("%s: %s %s, want https://localhost:8443/1k, which is what the scenarios' gateway forwards", file, target.method, target.url)
			}
		}
	}
}

func shipped(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("../vegeta/*.targets")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// FuzzHTTPTargets: what is accepted is one request as net/http reads it, with the
// method, the host and the headers that the file has; errors name file and line.
func FuzzHTTPTargets(f *testing.F) {
	for _, file := range shipped(f) {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Add("GET http://a.example\nPOST http://b.example/?q\nHost: c\n@body.json\n")
	f.Add("GET https://[::1%25eth0]:1/\nX: \ty \n#\n\n")
	f.Add("M-SEARCH https://a.example/%41?#f\nX: \xff\n")
	f.Fuzz(func(t *testing.T, text string) {
		targets, err := parseHTTPTargets("x", strings.NewReader(text), bodies)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "x:") {
				t.Errorf("the error %q does not begin with the file", err)
			}
			return
		}
		for _, target := range targets {
			sent := target.http1(true)
			r := bufio.NewReader(bytes.NewReader(sent))
			request, err := http.ReadRequest(r)
			if err != nil {
				t.Fatalf("%q is sent as %q: %v", text, sent, err)
			}
			n := 0
			for name, values := range request.Header {
				if name != "User-Agent" && name != "Content-Length" {
					n += len(values)
				}
			}
			own := 0
			for _, h := range target.headers {
				if !strings.EqualFold(h.name, "Host") && !strings.EqualFold(h.name, "User-Agent") {
					own++
				}
			}
			if request.Method != target.method || request.RequestURI != target.url.RequestURI() || n != own {
				t.Errorf("%q is sent as %q, which is another request", text, sent)
			}
		}
	})
}
