package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// put sends a question and returns status and body of the answer.
func put(t *testing.T, address, contentType, query, body string) (int, string) {
	t.Helper()
	status, header, answer := ask(t, "POST", address, "/explain"+query, func(r *http.Request) {
		r.Header.Set("Content-Type", contentType)
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	})
	if status == http.StatusOK && header.Get("Content-Type") != "application/json" {
		t.Errorf("Content-Type of an answer is %q, want application/json", header.Get("Content-Type"))
	}
	return status, answer
}

// echo answers with the question.
func echo(_ context.Context, q *Question) (any, error) { return q, nil }

func TestQuestionsArriveAsTheyWerePut(t *testing.T) {
	t.Parallel()
	address := start(t, Options{Explain: echo})
	const pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
	at := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	all := Question{
		Chain: []byte(pem), Role: "client", Listener: "edge", Time: at, SNI: "pay.example", Host: "pay.example:8443", Method: "POST", Path: "/v1/x?y=z",
		Headers: []string{"X-Canary: yes", "Accept: */*"},
	}
	quoted, err := json.Marshal(pem)
	if err != nil {
		t.Fatal(err)
	}
	query := "?" + url.Values{
		"role": {"client"}, "listener": {"edge"}, "time": {"2026-12-01T00:00:00Z"}, "sni": {"pay.example"}, "host": {"pay.example:8443"},
		"method": {"POST"}, "path": {"/v1/x?y=z"}, "headers": {"X-Canary: yes", "Accept: */*"},
	}.Encode()
	tests := []struct {
		claim, contentType, query, body string
		want                            Question
	}{
		{"a chain alone", typePEM, "", pem, Question{Chain: []byte(pem)}},
		{"by the older name of its type", typePEMOlder, "", pem, Question{Chain: []byte(pem)}},
		{"a chain with the rest in the query string", typePEM, query, pem, all},
		{"a chain alone in JSON", typeJSON, "", `{"chain":` + string(quoted) + `}`, Question{Chain: []byte(pem)}},
		{"everything in JSON", typeJSON + "; charset=UTF-8", "", `{"chain":` + string(quoted) + `,"role":"client","listener":"edge","time":"2026-12-01T00:00:00Z",
			"sni":"pay.example","host":"pay.example:8443","method":"POST","path":"/v1/x?y=z","headers":["X-Canary: yes","Accept: */*"]}`, all},
	}
	for _, tt := range tests {
		t.Run(tt.claim, func(t *testing.T) {
			t.Parallel()
			status, body := put(t, address, tt.contentType, tt.query, tt.body)
			var got Question
			if err := json.Unmarshal([]byte(body), &got); status != http.StatusOK || err != nil || fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("POST /explain = %d, the question arrived as %+v (%v), want %+v", status, got, err, tt.want)
			}
		})
	}
}

func TestQuestionsThatAreNone(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	address := start(t, Options{Explain: func(context.Context, *Question) (any, error) {
		asked.Add(1)
		return nil, errors.New("it was asked")
	}})
	tests := []struct {
		claim, contentType, query, body string
		status                          int
		says                            string
	}{
		{"no content type", "", "", "x", 415, typePEM},
		{"what curl sends by default", "application/x-www-form-urlencoded", "", "x", 415, typePEM},
		{"what a foreign page may send", "text/plain", "", "{}", 415, typePEM},
		{"another character set", typeJSON + "; charset=utf-16", "", `{"chain":"x"}`, 415, typeJSON},
		{"another parameter", typeJSON + "; profile=x", "", `{"chain":"x"}`, 415, typeJSON},
		{"no body", typePEM, "", "", 400, "chain is missing"},
		{"a blank body", typePEM, "", " \n", 400, "chain is missing"},
		{"too long a body", typePEM, "", strings.Repeat("x", questionBytes+1), 413, "longer than"},
		{"an unknown parameter", typePEM, "?listner=edge", "x", 400, `"listner"`},
		{"a parameter twice", typePEM, "?role=client&role=server", "x", 400, "twice"},
		{"a chain in the query string", typePEM, "?chain=x", "x", 400, "the chain is the body"},
		{"a malformed query string", typePEM, "?role=%zz", "x", 400, "malformed"},
		{"a query string with JSON", typeJSON, "?role=client", `{"chain":"x"}`, 400, "leave the query string out"},
		{"a time that is none", typePEM, "?time=tomorrow", "x", 400, `"tomorrow"`},
		{"an array", typeJSON, "", `["x"]`, 400, "not a JSON object"},
		{"no JSON", typeJSON, "", `-----BEGIN`, 400, "not a JSON object"},
		{"half an object", typeJSON, "", `{"chain":"x"`, 400, "not JSON"},
		{"an unknown member", typeJSON, "", `{"chain":"x","Listener":"edge"}`, 400, `"Listener"`},
		{"a member twice", typeJSON, "", `{"chain":"x","chain":"y"}`, 400, "twice"},
		{"a member of another type", typeJSON, "", `{"chain":["x"]}`, 400, "chain is not a text"},
		{"null", typeJSON, "", `{"chain":"x","role":null}`, 400, "role is not a text"},
		{"headers that are no list", typeJSON, "", `{"chain":"x","headers":"X: y"}`, 400, "headers"},
		{"headers that are not all texts", typeJSON, "", `{"chain":"x","headers":["X: y",1]}`, 400, "headers"},
		{"two objects", typeJSON, "", `{"chain":"x"}{"chain":"y"}`, 400, "behind the question"},
		{"no chain", typeJSON, "", `{"role":"client"}`, 400, "chain is missing"},
	}
	for _, tt := range tests {
		status, body := put(t, address, tt.contentType, tt.query, tt.body)
		if status != tt.status || !strings.Contains(body, tt.says) {
			t.Errorf("%s: POST /explain = %d %q, want %d with %q", tt.claim, status, body, tt.status, tt.says)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d questions that are none were asked", n)
	}
}

func TestAnswersThatAreErrors(t *testing.T) {
	t.Parallel()
	for claim, tt := range map[string]struct {
		result any
		err    error
		status int
		says   string
	}{
		"whoever asked is told of their mistake": {nil, fmt.Errorf("reading: %w", &QuestionError{errors.New(`listener "edg" does not exist`)}), 400, `listener "edg" does not exist`},
		"nobody is told of ours":                 {nil, errors.New("/etc/verigate/secret is gone"), 500, "the log says why"},
		"half an answer is none":                 {nan(), nil, 500, "cannot be encoded"},
	} {
		address := start(t, Options{Explain: func(context.Context, *Question) (any, error) { return tt.result, tt.err }})
		if status, body := put(t, address, typePEM, "", "x"); status != tt.status || !strings.Contains(body, tt.says) || strings.Contains(body, "secret") {
			t.Errorf("%s: POST /explain = %d %q, want %d with %q", claim, status, body, tt.status, tt.says)
		}
	}
}

func TestExplainIsThereOnlyIfSomebodyAnswers(t *testing.T) {
	t.Parallel()
	without, with := start(t, Options{}), start(t, Options{Explain: echo})
	if status, _ := put(t, without, typePEM, "", "x"); status != http.StatusNotFound {
		t.Errorf("POST /explain = %d where nobody answers, want 404", status)
	}
	if status, _, _ := ask(t, "GET", with, "/explain", nil); status != http.StatusMethodNotAllowed {
		t.Errorf("GET /explain = %d, want 405", status)
	}
	for address, want := range map[string]bool{without: false, with: true} {
		if _, _, body := ask(t, "GET", address, "/", nil); strings.Contains(body, "/explain") != want {
			t.Errorf("the first page says %q, want /explain in it: %v", body, want)
		}
	}
}

// A page that an operator's browser shows must not be able to ask.
func TestForeignPagesCannotAsk(t *testing.T) {
	t.Parallel()
	address := start(t, Options{Explain: echo})
	status, _, _ := ask(t, "POST", address, "/explain", func(r *http.Request) {
		r.Header.Set("Content-Type", typeJSON)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Body = io.NopCloser(strings.NewReader(`{"chain":"x"}`))
	})
	if status != http.StatusForbidden {
		t.Errorf("POST /explain of a foreign page = %d, want 403", status)
	}
}

// However many ask at once, callers of the gateway keep their processors.
func TestQuestionsWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const questions = 8
		var now atomic.Int64
		release := make(chan struct{})
		explain := explainHandler(&Options{Explain: func(context.Context, *Question) (any, error) {
			now.Add(1)
			<-release
			now.Add(-1)
			return "answered", nil
		}})
		answered := make(chan int, questions)
		for range questions {
			go func() {
				r, w := httptest.NewRequest("POST", "/explain", strings.NewReader("x")), httptest.NewRecorder()
				r.Header.Set("Content-Type", typePEM)
				explain(w, r)
				answered <- w.Code
			}()
		}
		for left := questions; left > 0; left-- {
			synctest.Wait() // until all who are left are being answered, or wait for that
			if got, want := now.Load(), int64(min(left, questionsAtOnce)); got != want {
				t.Errorf("%d of %d questions are answered at once, want %d", got, left, want)
			}
			release <- struct{}{}
			if status := <-answered; status != http.StatusOK {
				t.Errorf("POST /explain = %d, want 200 in the end", status)
			}
		}
	})
}

// Whoever has gone does not have to be answered when its turn would come.
func TestQuestionsOfThoseWhoHaveGoneAreNotAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		release := make(chan struct{})
		explain := explainHandler(&Options{Explain: func(context.Context, *Question) (any, error) {
			asked.Add(1)
			<-release
			return "answered", nil
		}})
		ctx, leave := context.WithCancel(t.Context())
		put := func(ctx context.Context) {
			r := httptest.NewRequestWithContext(ctx, "POST", "/explain", strings.NewReader("x"))
			r.Header.Set("Content-Type", typePEM)
			explain(httptest.NewRecorder(), r)
		}
		for range questionsAtOnce {
			go put(t.Context())
		}
		synctest.Wait()
		go put(ctx)
		synctest.Wait()
		leave()
		synctest.Wait()
		close(release)
		synctest.Wait()
		if n := asked.Load(); n != questionsAtOnce {
			t.Errorf("%d questions were asked, want only the %d of those who waited", n, questionsAtOnce)
		}
	})
}

func FuzzQuestion(f *testing.F) {
	f.Add([]byte(`{"chain":"x","time":"2026-12-01T00:00:00Z","headers":["A: b"]}`))
	f.Add([]byte(`{"chain":"x","chain":"y"}`))
	f.Add([]byte(`{"chain":"\ud800"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		q := new(Question)
		if q.parseJSON(body) != nil {
			return
		}
		// What was taken is JSON as others read it, and says the same to them.
		var other struct {
			Chain, Role, Listener, SNI, Host, Method, Path string
			Headers                                        []string
		}
		if err := json.Unmarshal(body, &other); err != nil {
			t.Fatalf("%q was taken, but is not a question to others: %v", body, err)
		}
		if string(q.Chain) != other.Chain || q.Role != other.Role || q.Listener != other.Listener || q.SNI != other.SNI || q.Host != other.Host ||
			q.Method != other.Method || q.Path != other.Path || fmt.Sprint(q.Headers) != fmt.Sprint(other.Headers) {
			t.Errorf("%q was taken as %+v, others read %+v", body, q, other)
		}
	})
}
