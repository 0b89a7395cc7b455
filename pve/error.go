package pve

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Class says what an error means for the caller's next move.
type Class string

// The classes.
const (
	Refused     Class = "refused"     // Proxmox said no; nothing was changed
	Gone        Class = "gone"        // the thing named does not exist
	Ambiguous   Class = "ambiguous"   // a change was sent, its answer is lost; it may have happened
	Unreachable Class = "unreachable" // no answer to a question, or a change that never left this machine
)

// Reason says why Proxmox refused. It is empty for every class but Refused.
type Reason string

// The reasons.
const (
	Locked     Reason = "locked"     // the machine's config carries a lock
	LockFile   Reason = "lock file"  // a lock file was held by somebody: try again later, nothing was changed
	Running    Reason = "running"    // the machine runs
	Protected  Reason = "protected"  // the machine or the archive is protected
	Quota      Reason = "quota"      // a limit of the storage or of the call
	Permission Reason = "permission" // the token may not
	Parameter  Reason = "parameter"  // a value Proxmox does not take; Params names it
	Auth       Reason = "auth"       // the token itself was not accepted
	Digest     Reason = "digest"     // somebody changed the configuration since it was read: read it again
	Exists     Reason = "exists"     // what was to be made is there already: a machine, a snapshot's name
	NotRunning Reason = "not running"
	Feature    Reason = "feature" // the storage or the kind of disk can't: snapshots, linked clones, shrinking
	Agent      Reason = "agent"   // no guest agent is configured, or it doesn't answer
	Other      Reason = "other"
)

// ErrNothingStarted means that Proxmox took a backup request with the answer OK and did nothing: the machine lives
// on another node by now.
var ErrNothingStarted = errors.New("proxmox answered OK without starting a task")

// ErrCertificate means that the server showed a certificate other than the one that was pinned or signed by the CA.
var ErrCertificate = errors.New("the server's certificate is not the expected one")

// Error is every failure of this package.
type Error struct {
	Class   Class
	Reason  Reason
	Status  int               // HTTP status, 0 without an answer; 595 to 599 are Proxmox' own for a node it could not reach
	Message string            // Proxmox' words, or ours where it had none; one line
	Params  map[string]string // what Proxmox found wrong, by parameter
	Call    string            // method and path without ids, as "POST /nodes/{node}/vzdump"

	cause error
}

// Error gives one line for logs and staff.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("proxmox: ")
	if e.Call != "" {
		b.WriteString(e.Call + ": ")
	}
	b.WriteString(string(e.Class))
	if e.Reason != "" {
		b.WriteString(" (" + string(e.Reason) + ")")
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	for i, name := range sortedKeys(e.Params) {
		b.WriteString([]string{"; ", ": "}[b2i(i == 0)] + name + ": " + e.Params[name])
	}
	return b.String()
}

// Unwrap gives the cause, for errors.Is with ErrCertificate, ErrNothingStarted, context.Canceled and the like.
func (e *Error) Unwrap() error { return e.cause }

// ClassOf gives the class of an error of this package, and "" for any other error and for nil.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return ""
}

// ReasonOf gives the reason of a refusal, and "" for anything else.
func ReasonOf(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

// refusal is one of ours, before anything was sent.
func refusal(name, message string) *Error {
	return &Error{Class: Refused, Reason: Parameter, Message: message, Params: map[string]string{name: message}}
}

// wording maps Proxmox' sentences to a meaning. The first match wins. All were recorded, except those marked.
type wording struct {
	re     *regexp.Regexp
	class  Class
	reason Reason
}

var wordings = []wording{
	{regexp.MustCompile(`got no worker upid`), Ambiguous, ""}, // the task may be registered all the same
	{regexp.MustCompile(`can't lock file .*got timeout`), Refused, LockFile},
	{regexp.MustCompile(`can't acquire lock `), Refused, LockFile},
	{regexp.MustCompile(`cfs-lock .*(request timeout|got timeout|no quorum)`), Refused, LockFile}, // source: pve-cluster
	{regexp.MustCompile(`VM is locked \(`), Refused, Locked},
	{regexp.MustCompile(`(?i)vm is running|VM \d+ is running|already running`), Refused, Running},
	{regexp.MustCompile(`VM \d+ (is )?not running`), Refused, NotRunning},
	{regexp.MustCompile(`No QEMU guest agent configured|QEMU guest agent is not running`), Refused, Agent},
	{regexp.MustCompile(`checksum mismatch|detected modified configuration`), Refused, Digest}, // the second: source, pve-common
	{regexp.MustCompile(`VM \d+ already exists|unable to create VM \d+: config file already exists|snapshot name '.*' already used`), Refused, Exists},
	{regexp.MustCompile(`snapshot feature is not available|feature is not supported for|shrinking disks is not supported|is not most recent snapshot`), Refused, Feature},
	{regexp.MustCompile(`protected volume|protection mode enabled`), Refused, Protected},
	{regexp.MustCompile(`max backup limit|(?i)protected backups per guest`), Refused, Quota},
	{regexp.MustCompile(`only root can|Only root (may|can)|Permission check failed`), Refused, Permission},
	{regexp.MustCompile(`hostname lookup '.*' failed|no such cluster node`), Unreachable, ""},
	{regexp.MustCompile(`[Cc]onfiguration file '.*' does not exist`), Gone, ""},
	{regexp.MustCompile(`unable to find configuration file for|unable to find VM '`), Gone, ""},
	{regexp.MustCompile(`(storage|volume|snapshot|disk) '.*' does not exist`), Gone, ""},
	{regexp.MustCompile(`volume_size_info on '.*' failed`), Gone, ""}, // what asking for a missing archive says
	{regexp.MustCompile(`no such task|[Nn]o such storage`), Gone, ""},
	{regexp.MustCompile(`invalid format|unable to parse`), Refused, Parameter},
}

// timeoutWords in a 500 to a change mean that Proxmox gave up waiting for itself, with the work perhaps going on.
var timeoutWords = regexp.MustCompile(`(?i)\btime(d[ -]?)?[ -]?out\b`)

// meaningOf classifies what Proxmox wrote, in an answer or as the end of a task.
func meaningOf(text string) (Class, Reason, bool) {
	for _, w := range wordings {
		if w.re.MatchString(text) {
			return w.class, w.reason, true
		}
	}
	return "", "", false
}

// Meaning classifies how a task ended (TaskStatus.Exit) or why a backup failed (VzdumpLog.ErrorText). Class is "" for
// OK and for words that mean nothing more than a failure. A task that is Refused by a lock has changed nothing; other
// refusals may come half-way.
func Meaning(exit string) (Class, Reason) {
	if succeeded(exit) {
		return "", ""
	}
	class, reason, _ := meaningOf(exit)
	return class, reason
}

// answerError reads an answer that isn't a success.
func answerError(status int, phrase string, body []byte, mutation bool) *Error {
	e := &Error{Status: status, Message: phrase}
	var said struct {
		Message text            `json:"message"`
		Errors  json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(body, &said) == nil {
		if m := oneLine(string(said.Message)); m != "" {
			e.Message = m
		}
		var params map[string]text
		if json.Unmarshal(said.Errors, &params) == nil {
			for name, why := range params {
				if e.Params == nil {
					e.Params = map[string]string{}
				}
				e.Params[name] = oneLine(string(why))
			}
		}
	}
	if e.Message == "" {
		e.Message = http.StatusText(status)
	}
	e.Class, e.Reason = classify(e, mutation)
	return e
}

func classify(e *Error, mutation bool) (Class, Reason) {
	lost := Unreachable
	if mutation {
		lost = Ambiguous
	}
	switch {
	case e.Status == http.StatusUnauthorized:
		return Refused, Auth
	case e.Status == http.StatusForbidden:
		return Refused, Permission
	case e.Status == http.StatusBadRequest:
		for _, why := range e.Params {
			if class, _, ok := meaningOf(why); ok && class == Gone {
				return Gone, ""
			}
		}
		return Refused, Parameter
	case e.Status >= 595 && e.Status <= 599,
		e.Status == http.StatusBadGateway, e.Status == http.StatusServiceUnavailable, e.Status == http.StatusGatewayTimeout:
		return lost, "" // the last three come from a proxy in front of Proxmox, never from itself
	case e.Status < 400:
		return lost, "" // a redirect or an interim answer: not the API
	}
	if class, reason, ok := meaningOf(e.Message); ok {
		if class == Ambiguous {
			class = lost
		}
		return class, reason
	}
	if mutation && timeoutWords.MatchString(e.Message) {
		return Ambiguous, ""
	}
	return Refused, Other
}

func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
