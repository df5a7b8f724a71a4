package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"
)

// problem is an RFC 9457 problem document. It names a stable reason and the
// request, never anything about what is behind the gateway.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail,omitempty"`
	Reason    string `json:"reason"`
	RequestID string `json:"request_id"`
}

const problemMediaType = "application/problem+json"

func (p problem) encode() []byte {
	p.Type = "about:blank"
	body, err := json.Marshal(p)
	if err != nil { // strings and an int: cannot fail
		panic(err)
	}
	return append(body, '\n')
}

// write makes p the response, whatever was in it before.
func (p problem) write(response *fasthttp.Response) {
	response.Reset() // also the switch that keeps fasthttp from adding a Date: the response is ours
	response.SetStatusCode(p.Status)
	response.Header.SetContentType(problemMediaType)
	response.Header.Set("Cache-Control", "no-store")
	response.Header.Set(requestIDName, p.RequestID)
	response.SetBodyRaw(p.encode())
}

// raw returns p as a whole response that ends the connection, for a request that
// no HTTP server has seen.
func (p problem) raw() []byte {
	body := p.encode()
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n"+
		"Cache-Control: no-store\r\n%s: %s\r\nConnection: close\r\n\r\n%s",
		p.Status, http.StatusText(p.Status), time.Now().UTC().Format(http.TimeFormat), problemMediaType, len(body),
		requestIDName, p.RequestID, body)
}
