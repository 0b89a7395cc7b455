package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"stowage/portal"
)

// Message is something to be told to somebody outside: written in the transaction that made it true, sent later
// at least once, with a stable uid. On the channel mail it goes to the logins of the service's client, or to the login
// that the payload names; on the channel staff to staff.
type Message struct {
	UID       string
	Channel   string // mail, staff, webhook
	ServiceID int64
	Topic     string // one of portal's Topic…
	Payload   any    // a portal.Notice, or a map with some of its fields
	CreatedAt time.Time
}

// The channels of messages that become mail.
const (
	ToClient = "mail"
	ToStaff  = "staff"
)

// Post puts a message into the outbox that belongs to no other change.
func (db *DB) Post(ctx context.Context, m Message) error {
	return db.update(ctx, "post message", func(t *tx) error { return t.post(m) })
}

// post puts a message into the outbox within the transaction whose change it tells of.
func (t *tx) post(m Message) error {
	payload := tojson(m.Payload)
	bundle := ""
	if m.Channel == ToStaff && m.Topic != portal.TopicMorningReport {
		var n portal.Notice
		_ = json.Unmarshal([]byte(payload), &n) // our own
		bundle = fmt.Sprintf("%s/%d", m.Topic, m.ServiceID)
		if n.Server != 0 || n.Storage != "" {
			bundle += fmt.Sprintf("/%d/%s", n.Server, n.Storage)
		}
	}
	_, err := t.exec(`INSERT INTO outbox (uid, channel, service_id, topic, payload, created_at, run_after, bundle) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		t.db.UID(), m.Channel, idOrNull(m.ServiceID), m.Topic, payload, t.now.Unix(), t.now.Unix(), bundle)
	return err
}
