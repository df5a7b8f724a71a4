package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"verigate/certpath"
)

// reasonMalformedCase answers a line that is not a case.
const reasonMalformedCase = "malformed_case"

// maxCaseBytes bounds a line; chains that are over the limits of certpath must
// still fit, to be refused for the right reason.
const maxCaseBytes = 16 << 20

// caseAnswer is the answer to one line.
type caseAnswer struct {
	ID     string `json:"id"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason"`
	Depth  int    `json:"depth"`
	Err    string `json:"err"`
}

// explainBatch answers every line of in with a line on out, at once. A blank line
// has no answer. It ends with in.
func explainBatch(in io.Reader, out io.Writer, cached bool) error {
	judge, err := newCaseJudge(cached)
	if err != nil {
		return err
	}
	defer judge.close()
	lines := bufio.NewReaderSize(in, 64<<10)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	var line []byte
	for {
		var tooLong bool
		var end error
		line, tooLong, end = readLine(lines, line[:0])
		if end != nil && end != io.EOF {
			return fmt.Errorf("standard input: %w", end)
		}
		answer := caseAnswer{Reason: reasonMalformedCase, Err: fmt.Sprintf("the line has more than %d octets", maxCaseBytes)}
		if !tooLong {
			line = bytes.TrimSpace(line)
			if len(line) > 0 {
				answer = judge.answer(line)
			}
		}
		if tooLong || len(line) > 0 {
			if err := encoder.Encode(answer); err != nil {
				return err
			}
		}
		if end == io.EOF {
			return nil
		}
	}
}

// readLine appends the next line to buffer, at most maxCaseBytes of it: the rest of
// a longer one is read over, so that the line after it is found.
func readLine(r *bufio.Reader, buffer []byte) (line []byte, tooLong bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if len(buffer)+len(part) > maxCaseBytes {
			tooLong = true
		}
		if !tooLong {
			buffer = append(buffer, part...)
		}
		if err != bufio.ErrBufferFull {
			return buffer, tooLong, err
		}
	}
}

func (j *caseJudge) answer(line []byte) caseAnswer {
	var c certpath.Case
	if err := json.Unmarshal(line, &c); err != nil {
		// The id may be readable all the same.
		var id struct{ ID string }
		_ = json.Unmarshal(line, &id)
		return caseAnswer{ID: id.ID, Reason: reasonMalformedCase, Err: err.Error()}
	}
	err := j.verify(&c)
	if err == nil {
		return caseAnswer{ID: c.ID, OK: true}
	}
	a := caseAnswer{ID: c.ID, Reason: reasonMalformedCase, Err: err.Error()}
	if fault, ok := errors.AsType[*certpath.Error](err); ok {
		a.Reason, a.Depth = fault.Reason.String(), fault.Depth
	}
	return a
}
