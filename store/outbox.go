package store

import "time"

// Message is something to be told to somebody outside: written in the transaction that made it true, sent later
// at least once, with a stable uid.
type Message struct {
	UID       string
	Channel   string // mail, staff, webhook
	ServiceID int64
	Topic     string
	Payload   map[string]any
	CreatedAt time.Time
}

// post puts a message into the outbox within the transaction whose change it tells of.
func (t *tx) post(m Message) error {
	_, err := t.exec(`INSERT INTO outbox (uid, channel, service_id, topic, payload, created_at, run_after) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		t.db.UID(), m.Channel, idOrNull(m.ServiceID), m.Topic, tojson(m.Payload), t.now.Unix(), t.now.Unix())
	return err
}
