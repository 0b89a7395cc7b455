package portal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Mark stands on the first line of an archive's notes and says whose the archive is:
// stowage:<installation>:<service>:<operation>:<tag>. The tag is an HMAC over the rest, so that nobody who may
// write notes can make an archive ours, or ours somebody else's.
type Mark struct {
	Installation string
	Service      string
	Operation    string
}

const (
	markPrefix = "stowage:"
	tagLength  = 20 // hex digits: 80 bits
)

// Sign gives the mark as it is written, for the installation's key.
func (m Mark) Sign(key []byte) string {
	body := markPrefix + m.Installation + ":" + m.Service + ":" + m.Operation
	return body + ":" + tag(key, body)
}

func tag(key []byte, body string) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(body))
	return hex.EncodeToString(h.Sum(nil))[:tagLength]
}

// ReadMark finds a mark in the first line of notes. Marked tells whether the line is a mark at all; valid
// whether its tag is ours. A marked line that isn't valid belongs to another installation or was forged:
// external in both cases.
func ReadMark(notes string, key []byte) (m Mark, marked, valid bool) {
	line, _, _ := strings.Cut(notes, "\n")
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, markPrefix) {
		return Mark{}, false, false
	}
	parts := strings.Split(line, ":")
	if len(parts) != 5 {
		return Mark{}, true, false
	}
	m = Mark{Installation: parts[1], Service: parts[2], Operation: parts[3]}
	body := strings.Join(parts[:4], ":")
	return m, true, hmac.Equal([]byte(tag(key, body)), []byte(parts[4]))
}
