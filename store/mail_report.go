package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"stowage/portal"
)

// reportedSlots is how many of the backups that are missing a report names.
const reportedSlots = 10

// MorningReport puts the morning report into the outbox where it is due and was not written yet: what happened in the
// 24 hours before.
func (db *DB) MorningReport(ctx context.Context) error {
	zone, err := db.reportZone(ctx)
	if err != nil {
		return err
	}
	var last string
	if err := db.read.QueryRowContext(ctx, `SELECT date FROM mail_reports WHERE id = 1`).Scan(&last); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return explain("morning report", err)
	}
	date, due := portal.ReportDue(last, db.now(), zone)
	if !due {
		return nil
	}
	report, err := db.Report(ctx)
	if err != nil {
		return err
	}
	return db.update(ctx, "morning report", func(t *tx) error {
		err := t.one(errStaleRow, `INSERT INTO mail_reports (id, date) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET date = excluded.date WHERE date < excluded.date`, date)
		if errors.Is(err, errStaleRow) {
			return nil // another portal has written it
		}
		if err != nil || last == "" {
			return err
		}
		return t.post(Message{Channel: ToStaff, Topic: portal.TopicMorningReport, Payload: portal.Notice{Report: &report, At: t.now.Unix()}})
	})
}

func (db *DB) reportZone(ctx context.Context) (*time.Location, error) {
	name, err := db.Setting(ctx, ReportZone)
	if err != nil {
		return nil, err
	}
	zone, err := portal.Zone(name)
	if err != nil {
		return time.UTC, nil //nolint:nilerr // a zone that has gone from the zone data
	}
	return zone, nil
}

// Report gives what a morning report would say now.
func (db *DB) Report(ctx context.Context) (portal.Report, error) {
	warn, err := db.SettingInt(ctx, WarnPercent)
	if err != nil {
		return portal.Report{}, err
	}
	n, err := db.Needs(ctx, warn)
	if err != nil {
		return portal.Report{}, err
	}
	mail, err := db.MailState(ctx)
	if err != nil {
		return portal.Report{}, err
	}
	now := db.now()
	r := portal.Report{
		From: now.Add(-24 * time.Hour).Unix(), Until: now.Unix(), Done: n.Day[portal.SlotDone], Late: n.Day[portal.SlotLate],
		Skipped: n.Day[portal.SlotSkipped], Failed: n.Day[portal.SlotFailed], Missed: n.Day[portal.SlotMissed],
	}
	for _, s := range n.Failed.First {
		if len(r.Bad) < reportedSlots {
			r.Bad = append(r.Bad, portal.ReportSlot{Machine: s.Service, Client: s.Client, State: s.State, Reason: string(s.Reason)})
		}
	}
	for _, need := range []portal.ReportNeed{
		{Kind: "held", Count: n.Held.Count}, {Kind: "servers", Count: len(n.Servers)}, {Kind: "nodes", Count: n.Nodes.Count}, {Kind: "machines", Count: n.Machines.Count},
		{Kind: "doubted", Count: n.Doubted.Count}, {Kind: "braked", Count: n.Braked.Count}, {Kind: "full", Count: n.Full.Count}, {Kind: "locked", Count: n.Locked.Count},
		{Kind: "unprotected", Count: n.Unprotected.Count}, {Kind: "external", Count: n.External.Count}, {Kind: "mails", Count: mail.Failed},
	} {
		if need.Count > 0 {
			r.Needs = append(r.Needs, need)
		}
	}
	return r, nil
}
