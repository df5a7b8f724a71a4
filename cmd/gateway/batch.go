package main

import (
	"bufio"
	"encoding/json"
	"errors"
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

// explainBatch answers every line of in with a line on out, at once.
func explainBatch(in io.Reader, out io.Writer, cached bool) error {
	judge, err := newCaseJudge(cached)
	if err != nil {
		return err
	}
	defer judge.close()
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<20), maxCaseBytes)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		if err := encoder.Encode(judge.answer(lines.Bytes())); err != nil {
			return err
		}
	}
	return lines.Err()
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
