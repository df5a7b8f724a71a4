package http1gate

import (
	"fmt"
	"slices"

	"github.com/valyala/fasthttp"
)

// Violation is why a request was refused. Violations are shared constants: they
// carry nothing of what the peer sent, and must not be modified.
type Violation struct {
	Code   string // one of [Codes]
	Status int    // what the peer is told
	Detail string // a phrase for an operator
}

// Error returns the detail, so that a violation in a body can be the error of a
// read.
func (v *Violation) Error() string { return "http1gate: " + v.Detail }

// Code values of a [Violation]. They are metric labels and audit values; the
// list is closed.
const (
	BareCR                    = "bare_cr"
	BareLF                    = "bare_lf"
	BlankLines                = "too_many_blank_lines"
	MethodSyntax              = "method_syntax"
	MethodNotAllowed          = "method_not_allowed"
	RequestLine               = "request_line"
	VersionNotSupported       = "version_not_supported"
	TargetTooLong             = "target_too_long"
	TargetForm                = "target_form"
	TargetOctet               = "target_octet"
	TargetFragment            = "target_fragment"
	AmbiguousPath             = "ambiguous_path"
	Userinfo                  = "userinfo"
	HostMissing               = "host_missing"
	HostDuplicate             = "host_duplicate"
	HostInvalid               = "host_invalid"
	HostMismatch              = "host_mismatch"
	ObsFold                   = "obs_fold"
	FieldSyntax               = "field_syntax"
	FieldName                 = "field_name"
	FieldValue                = "field_value"
	SpaceBeforeColon          = "space_before_colon"
	DuplicateField            = "duplicate_field"
	ConnectionOption          = "connection_option"
	ContentLengthInvalid      = "content_length_invalid"
	ContentLengthDuplicate    = "content_length_duplicate"
	TransferEncodingInvalid   = "transfer_encoding_invalid"
	TransferEncodingDuplicate = "transfer_encoding_duplicate"
	TransferEncodingHTTP10    = "transfer_encoding_http10"
	TEAndCL                   = "te_and_cl"
	ExpectationFailed         = "expectation_failed"
	ReservedName              = "reserved_name"
	HeaderTooLarge            = "header_too_large"
	TooManyFields             = "too_many_fields"
	HeaderTimeout             = "header_timeout"
	ChunkSize                 = "chunk_size"
	ChunkExtension            = "chunk_extension"
	ChunkData                 = "chunk_data"
	TrailerSyntax             = "trailer_syntax"
	TrailerForbidden          = "trailer_forbidden"
	TrailerTooLarge           = "trailer_too_large"
)

// Violations are made once: a refusal must not cost more than the request that
// asks for it.
var (
	bareCR                    = violation(BareCR, 400, "a carriage return without a line feed")
	bareLF                    = violation(BareLF, 400, "a line ends in a line feed alone")
	blankLines                = violation(BlankLines, 400, "too many blank lines before the request")
	methodSyntax              = violation(MethodSyntax, 400, "the request does not begin with a method")
	methodNotAllowed          = violation(MethodNotAllowed, 501, "the method is not on the list")
	requestLine               = violation(RequestLine, 400, "the request line is not method, target and version")
	versionNotSupported       = violation(VersionNotSupported, 505, "the version is neither HTTP/1.1 nor HTTP/1.0")
	targetTooLong             = violation(TargetTooLong, 414, "the request line is too long")
	targetForm                = violation(TargetForm, 400, "the target's form does not fit the method")
	targetOctet               = violation(TargetOctet, 400, "the target has an octet that a URI cannot have")
	targetFragment            = violation(TargetFragment, 400, "the target has a fragment")
	ambiguousPath             = violation(AmbiguousPath, 400, "the path can be read in more than one way")
	userinfo                  = violation(Userinfo, 400, "the authority has userinfo")
	hostMissing               = violation(HostMissing, 400, "there is no Host field")
	hostDuplicate             = violation(HostDuplicate, 400, "there is more than one Host field")
	hostInvalid               = violation(HostInvalid, 400, "the host is not a host with an optional port")
	hostMismatch              = violation(HostMismatch, 400, "the target's authority differs from the Host field")
	obsFold                   = violation(ObsFold, 400, "a header line begins with white space")
	fieldSyntax               = violation(FieldSyntax, 400, "a header line has no colon")
	fieldName                 = violation(FieldName, 400, "a field name is not a token")
	fieldValue                = violation(FieldValue, 400, "a field value has a control octet")
	spaceBeforeColon          = violation(SpaceBeforeColon, 400, "white space between a field name and its colon")
	duplicateField            = violation(DuplicateField, 400, "a field that may occur once occurs again")
	connectionOption          = violation(ConnectionOption, 400, "the Connection field is not a short list of names")
	contentLengthInvalid      = violation(ContentLengthInvalid, 400, "the Content-Length is not a plain number")
	contentLengthDuplicate    = violation(ContentLengthDuplicate, 400, "there is more than one Content-Length field")
	transferEncodingInvalid   = violation(TransferEncodingInvalid, 501, "the Transfer-Encoding is not exactly chunked")
	transferEncodingDuplicate = violation(TransferEncodingDuplicate, 400, "there is more than one Transfer-Encoding field")
	transferEncodingHTTP10    = violation(TransferEncodingHTTP10, 400, "Transfer-Encoding in an HTTP/1.0 request")
	teAndCL                   = violation(TEAndCL, 400, "both Transfer-Encoding and Content-Length")
	expectationFailed         = violation(ExpectationFailed, 417, "the expectation is not 100-continue")
	reservedName              = violation(ReservedName, 400, "an underscore or the like spells a name that has a meaning here")
	headerTooLarge            = violation(HeaderTooLarge, 431, "the header block is too large")
	tooManyFields             = violation(TooManyFields, 431, "the header block has too many fields")
	headerTimeout             = violation(HeaderTimeout, 408, "the header block took too long to arrive")
	chunkSize                 = violation(ChunkSize, 400, "a chunk size is not a plain hexadecimal number")
	chunkExtension            = violation(ChunkExtension, 400, "a chunk extension is malformed or too long")
	chunkData                 = violation(ChunkData, 400, "chunk data does not end where its size says")
	trailerSyntax             = violation(TrailerSyntax, 400, "a trailer line is malformed")
	trailerForbidden          = violation(TrailerForbidden, 400, "a trailer field that must not be a trailer field")
	trailerTooLarge           = violation(TrailerTooLarge, 431, "the trailer section is too large")
)

var violations []*Violation

func violation(code string, status int, detail string) *Violation {
	v := &Violation{Code: code, Status: status, Detail: detail}
	violations = append(violations, v)
	return v
}

// Codes returns every code that a [Violation] can have, sorted.
func Codes() []string {
	codes := make([]string, len(violations))
	for i, v := range violations {
		codes[i] = v.Code
	}
	slices.Sort(codes)
	return codes
}

// response returns what a peer is told when the caller has nothing to say.
func (v *Violation) response() []byte {
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		v.Status, fasthttp.StatusMessage(v.Status))
}
