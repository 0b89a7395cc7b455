package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/sqlite/*.sql
var migrations embed.FS

// ErrNewer says that the database was written by a newer version of the portal.
var ErrNewer = errors.New("the database is of a newer version of stowage; install that version, or put a copy of the database from before the upgrade back")

// ErrWrongKey says that the key file does not belong to this database.
var ErrWrongKey = errors.New("the key file does not belong to this database; give the one that was made with it (--key-file)")

// ErrNotMigrated says that the database has no or an older schema.
var ErrNotMigrated = errors.New("the database is not up to date; run: stowage migrate")

func (db *DB) provider() (*goose.Provider, error) {
	sub, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectSQLite3, db.write, sub)
}

// Migrate brings the schema up to date, after a copy of the database beside it (path + ".before-<version>")
// where there is anything to lose. It gives the versions before and after, and ErrNewer where the database is
// ahead of this program.
func (db *DB) Migrate(ctx context.Context) (from, to int64, err error) {
	p, err := db.provider()
	if err != nil {
		return 0, 0, fmt.Errorf("store: migrate: %w", err)
	}
	from, err = p.GetDBVersion(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("store: migrate: %w", err)
	}
	sources := p.ListSources()
	to = sources[len(sources)-1].Version
	if from > to {
		return from, to, ErrNewer
	}
	if from == to {
		return from, to, nil
	}
	if from > 0 {
		copyPath := fmt.Sprintf("%s.before-%d", db.path, to)
		if err := os.Remove(copyPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return from, to, fmt.Errorf("store: migrate: %w", err)
		}
		if err := db.CopyTo(ctx, copyPath); err != nil {
			return from, to, err
		}
	}
	if _, err := p.Up(ctx); err != nil {
		return from, to, fmt.Errorf("store: migrate: %w", err)
	}
	db.unsealed = from > 0 && from < auditHeadSince
	return from, to, nil
}

// Ready checks that schema and key fit this program and learns who this installation is; the first time it
// makes that up. It gives ErrNotMigrated, ErrNewer or ErrWrongKey.
func (db *DB) Ready(ctx context.Context) error {
	p, err := db.provider()
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	version, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	sources := p.ListSources()
	switch want := sources[len(sources)-1].Version; {
	case version > want:
		return ErrNewer
	case version < want:
		return ErrNotMigrated
	}
	var sealed []byte
	err = db.write.QueryRowContext(ctx, `SELECT uid, mark_key FROM installation WHERE id = 1`).Scan(&db.installation, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return db.found(ctx)
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if db.markKey, err = db.keys.open("installation/mark_key/"+db.installation, sealed); err != nil {
		return ErrWrongKey
	}
	if db.unsealed {
		return db.adoptHead(ctx)
	}
	return nil
}

// found makes up a new installation.
func (db *DB) found(ctx context.Context) error {
	uid, key := db.UID(), make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	sealed, err := db.keys.seal("installation/mark_key/"+uid, key)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	err = db.update(ctx, "found", func(t *tx) error {
		_, err := t.exec(`INSERT INTO installation (id, uid, created_at, mark_key) VALUES (1, $1, $2, $3)`, uid, t.now.Unix(), sealed)
		if err != nil {
			return err
		}
		_, err = t.exec(`INSERT INTO lease (id, epoch, holder, renewed_at) VALUES (1, 0, '', 0)`)
		return err
	})
	if err != nil {
		return err
	}
	db.installation, db.markKey = uid, key
	return nil
}

// CopyTo writes a consistent copy of the database to a new file, while it is in use.
func (db *DB) CopyTo(ctx context.Context, path string) error {
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("store: %s exists already", path)
	}
	if _, err := db.write.ExecContext(ctx, `VACUUM INTO $1`, path); err != nil {
		return explain("backup", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	return nil
}

// Schema gives the statements of the schema, sorted by name: what schema.golden.sql holds.
func (db *DB) Schema(ctx context.Context) ([]string, error) {
	return collect(ctx, db.read, func(s scanner) (v string, err error) { return v, s.Scan(&v) },
		`SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%' ORDER BY tbl_name, type DESC, name`)
}
