package workloadid

// Octet classes, one table for the whole grammar (ID-06 to ID-08): every
// octet that is in no class, such as '%', '?', '#', '@', ':', '[', a control or
// a non-ASCII octet, is refused by not being there.
const (
	inTrustDomain = 1 << iota
	inSpiffeSegment
	inWimseSegment
)

var class = func() (t [256]uint8) {
	for c := 'a'; c <= 'z'; c++ {
		t[c] = inTrustDomain | inSpiffeSegment | inWimseSegment
	}
	for c := '0'; c <= '9'; c++ {
		t[c] = inTrustDomain | inSpiffeSegment | inWimseSegment
	}
	for _, c := range "-._" {
		t[c] = inTrustDomain | inSpiffeSegment | inWimseSegment
	}
	for c := 'A'; c <= 'Z'; c++ {
		t[c] = inSpiffeSegment | inWimseSegment
	}
	t['~'] = inWimseSegment
	return t
}()

// scan judges a whole identifier and returns where its path begins.
func scan[T string | []byte](s T) (path int, fault *Error) {
	if len(s) > MaxIDBytes {
		return 0, &Error{Reason: ReasonTooLong, Offset: MaxIDBytes}
	}
	path, fault = scanAuthority(s)
	if fault != nil {
		return 0, fault
	}
	segment := uint8(inSpiffeSegment)
	if s[0] == 'w' {
		segment = inWimseSegment
		if path == len(s) {
			// A wimse identifier always has a path (ID 4.4, OQ-16).
			return 0, &Error{Reason: ReasonNoPath, Offset: path}
		}
	}
	if fault = scanPath(s, path, segment); fault != nil {
		return 0, fault
	}
	return path, nil
}

// scanAuthority judges scheme and trust domain and returns the offset behind
// them.
func scanAuthority[T string | []byte](s T) (end int, fault *Error) {
	var start int
	switch {
	case hasPrefix(s, spiffePrefix):
		start = len(spiffePrefix)
	case hasPrefix(s, wimsePrefix):
		start = len(wimsePrefix)
	default:
		return 0, &Error{Reason: ReasonScheme}
	}
	end = start
	for end < len(s) && s[end] != '/' {
		if class[s[end]]&inTrustDomain == 0 {
			return 0, &Error{Reason: ReasonTrustDomain, Offset: end}
		}
		end++
	}
	switch {
	case end == start:
		return 0, &Error{Reason: ReasonNoTrustDomain, Offset: start}
	case end-start > MaxTrustDomainBytes:
		return 0, &Error{Reason: ReasonTooLong, Offset: start + MaxTrustDomainBytes}
	case s[end-1] == '.':
		// Banned for wimse (ID 4.4). SPIFFE's alphabet has it, Go's certificate
		// parser refuses it; one rule for both.
		return 0, &Error{Reason: ReasonTrustDomain, Offset: end - 1}
	}
	return end, nil
}

// scanPath judges the segments of s from path to its end. No path at all is
// fine here.
func scanPath[T string | []byte](s T, path int, segment uint8) *Error {
	for at := path; at < len(s); {
		start := at + 1 // s[at] is the slash
		for at = start; at < len(s) && s[at] != '/'; at++ {
			if class[s[at]]&segment == 0 {
				return &Error{Reason: ReasonPath, Offset: at}
			}
		}
		switch {
		case at == start:
			return &Error{Reason: ReasonEmptySegment, Offset: start}
		case at == start+1 && s[start] == '.',
			at == start+2 && s[start] == '.' && s[start+1] == '.':
			return &Error{Reason: ReasonDotSegment, Offset: start}
		}
	}
	return nil
}

func hasPrefix[T string | []byte](s T, prefix string) bool {
	return len(s) >= len(prefix) && string(s[:len(prefix)]) == prefix
}
