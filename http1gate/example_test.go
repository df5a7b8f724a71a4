package http1gate_test

import (
	"fmt"
	"io"
	"net"

	"verigate/http1gate"
)

// A server reads from the gate in place of the connection.
func ExampleNew() {
	client, conn := net.Pipe()
	answer := make(chan []byte)
	go func() {
		io.WriteString(client, "GET /orders HTTP/1.1\r\nHost: pay.example\r\n\r\n"+
			"GET /orders/../admin HTTP/1.1\r\nHost: pay.example\r\n\r\n")
		all, _ := io.ReadAll(client)
		answer <- all
	}()

	gate := http1gate.New(conn, nil, func(v *http1gate.Violation) []byte {
		fmt.Println("refused:", v.Code)
		return nil // the default response
	})
	passed, err := io.ReadAll(gate)
	fmt.Printf("passed: %q, %v\n", passed, err)
	gate.Close()
	fmt.Printf("the peer is told: %q\n", (<-answer)[:24])
	// Output:
	// refused: ambiguous_path
	// passed: "GET /orders HTTP/1.1\r\nHost: pay.example\r\n\r\n", <nil>
	// the peer is told: "HTTP/1.1 400 Bad Request"
}
