package portal

import "errors"

// Code says what kind of refusal an Error is; the HTTP edge maps it to a status and nothing else does.
type Code string

// The kinds of refusal, each with the HTTP status that the edge answers.
const (
	CodeBusy        Code = "busy"        // 409: the machine is busy or locked
	CodeQuota       Code = "quota"       // 409: all places are used
	CodeConflict    Code = "conflict"    // 409: the state no longer allows it
	CodeInvalid     Code = "invalid"     // 422: what was sent can't be used; Field names the form field
	CodeForbidden   Code = "forbidden"   // 403: the login may not do this
	CodeNotFound    Code = "not_found"   // 404: not there, or not yours; both look the same
	CodeTooLarge    Code = "too_large"   // 413
	CodeTooOften    Code = "too_often"   // 429
	CodeUnavailable Code = "unavailable" // 503: the portal itself can't do it now (disk full, shutting down)
)

// WayOut is the one button that solves a refusal. Action is an open word of the page's vocabulary
// ("replace_oldest", "choose_other", "cancel_operation", "open_operation", "set_schedule", "sign_in");
// UID names what the action is about, where it needs one.
type WayOut struct {
	Action string
	Label  Text
	UID    string
}

// Error is the one error type with words for people. Sentence is complete, ends with a full stop and may be
// shown to a client; Staff is the exact reason, in English, and is never shown to a client.
type Error struct {
	Code     Code
	Sentence Text
	Field    string
	Staff    string
	WayOuts  []WayOut
	Err      error
}

// Error gives the exact reason for logs, in English.
func (e *Error) Error() string {
	text := string(e.Code) + ": " + e.Sentence.String()
	if e.Staff != "" {
		text += " (" + e.Staff + ")"
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Invalid is a refusal of one form field, with a sentence as Say makes it.
func Invalid(field, key string, args ...any) *Error {
	return &Error{Code: CodeInvalid, Field: field, Sentence: Say(key, args...)}
}

// Refuse is a refusal with a sentence for the client, as Say makes it.
func Refuse(code Code, key string, args ...any) *Error {
	return &Error{Code: code, Sentence: Say(key, args...)}
}

// NotFound answers alike for what does not exist and for what belongs to somebody else.
func NotFound() *Error {
	return &Error{Code: CodeNotFound, Sentence: "We can't find that page. It may have been removed, or the address may be mistyped."}
}

// With adds a way out and returns the same error.
func (e *Error) With(w WayOut) *Error {
	e.WayOuts = append(e.WayOuts, w)
	return e
}

// CodeOf gives the code of the first Error in the chain, or "".
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
