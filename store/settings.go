package store

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"

	"stowage/portal"
)

// The keys of the settings.
const (
	PerStorage   = "per_storage"
	PerServer    = "per_server"
	CatchUpHours = "catch_up_hours"
	WarnPercent  = "warn_percent"
	HistoryDays  = "history_days"
	TaskLogDays  = "task_log_days"
	Brand        = "brand"
	Support      = "support"
	ReportZone   = "report_zone"
)

// Setting is one value that staff may change for the whole installation. A number has bounds; a text has none
// (Low and High both 0).
type Setting struct {
	Key       string
	Value     string // what holds: the default where nobody said otherwise
	Default   string
	Low, High int
	Text      portal.Text // what it does, one sentence
}

func (s Setting) number() bool { return s.Low != 0 || s.High != 0 }

var knownSettings = []Setting{
	{Key: PerStorage, Default: "4", Low: 1, High: 64, Text: "Backups that may write to one storage at the same time."},
	{Key: PerServer, Default: "8", Low: 1, High: 256, Text: "Backups that may run on one server at the same time; each node runs one at most."},
	{Key: CatchUpHours, Default: "6", Low: 1, High: 24, Text: "Hours after its time within which a scheduled backup may still start. New products begin with it."},
	{Key: WarnPercent, Default: "85", Low: 50, High: 99, Text: "Staff are told when a storage is fuller than so many percent."},
	{Key: HistoryDays, Default: "400", Low: 31, High: 4000, Text: "Days that ended operations and past slots are kept."},
	{Key: TaskLogDays, Default: "90", Low: 1, High: 4000, Text: "Days that the logs of Proxmox tasks are kept."},
	{Key: ReportZone, Default: "UTC", Text: "The time zone in which the morning report is written at 07:00."},
	{Key: Brand, Default: "Stowage", Text: "The name of the portal, as pages show it."},
	{Key: Support, Default: "", Text: "Where customers find help: a web address, or mailto: and an e-mail address."},
}

func knownSetting(key string) (Setting, error) {
	for _, s := range knownSettings {
		if s.Key == key {
			return s, nil
		}
	}
	keys := make([]string, len(knownSettings))
	for i, s := range knownSettings {
		keys[i] = s.Key
	}
	return Setting{}, portal.Invalid("key", "There is no setting %q. There are: %s.", key, strings.Join(keys, ", "))
}

// Settings gives every setting with the value that holds.
func (db *DB) Settings(ctx context.Context) ([]Setting, error) {
	type row struct{ key, value string }
	rows, err := collect(ctx, db.read, func(s scanner) (r row, err error) { return r, s.Scan(&r.key, &r.value) }, `SELECT key, value FROM settings`)
	if err != nil {
		return nil, explain("settings", err)
	}
	out := make([]Setting, len(knownSettings))
	for i, s := range knownSettings {
		s.Value = s.Default
		for _, r := range rows {
			if r.key == s.Key {
				s.Value = r.value
			}
		}
		out[i] = s
	}
	return out, nil
}

// Setting gives the value of a setting that holds.
func (db *DB) Setting(ctx context.Context, key string) (string, error) {
	s, err := knownSetting(key)
	if err != nil {
		return "", err
	}
	value := s.Default
	err = db.read.QueryRowContext(ctx, `SELECT value FROM settings WHERE key = $1`, key).Scan(&value)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", explain("setting", err)
	}
	return value, nil
}

// SettingInt gives the value of a setting that is a number.
func (db *DB) SettingInt(ctx context.Context, key string) (int, error) {
	value, err := db.Setting(ctx, key)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return 0, explain("setting "+key, err)
	}
	return n, nil
}

// SetSetting changes a setting. It gives an Error on "key" for an unknown one and on "value" for a value that
// is out of bounds.
func (db *DB) SetSetting(ctx context.Context, actor, key, value string) error {
	s, err := knownSetting(key)
	if err != nil {
		return err
	}
	if value, err = s.clean(value); err != nil {
		return err
	}
	return db.update(ctx, "set setting", func(t *tx) error {
		before := s.Default
		err := t.QueryRowContext(t.ctx, `SELECT value FROM settings WHERE key = $1`, key).Scan(&before)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		_, err = t.exec(`INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value`, key, value)
		if err != nil {
			return err
		}
		return t.audit(Entry{Actor: actor, Action: "setting.set", Entity: "setting", EntityUID: key, Before: before, After: value})
	})
}

func (s Setting) clean(value string) (string, error) {
	value = strings.TrimSpace(value)
	switch {
	case s.number():
		n, err := strconv.Atoi(value)
		if err != nil || n < s.Low || n > s.High {
			return "", portal.Invalid("value", "%s is a whole number from %d to %d.", s.Key, s.Low, s.High)
		}
		return strconv.Itoa(n), nil
	case s.Key == ReportZone:
		if _, err := portal.Zone(value); err != nil {
			return "", portal.Invalid("value", "There is no time zone %s.", value)
		}
		return value, nil
	case s.Key == Support:
		if value != "" && !strings.HasPrefix(value, "https://") && !strings.HasPrefix(value, "http://") && !strings.HasPrefix(value, "mailto:") {
			return "", portal.Invalid("value", "%s begins with https:// or mailto:, or is empty.", s.Key)
		}
		if len(value) > 500 || strings.ContainsAny(value, " \t\r\n\"'<>") {
			return "", portal.Invalid("value", "That is not an address.")
		}
		return value, nil
	default:
		return portal.CleanName("value", value)
	}
}
