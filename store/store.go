package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/oklog/ulid/v2"

	"stowage/portal"
)

// DB is the opened database.
type DB struct {
	write *sql.DB
	read  *sql.DB
	path  string
	now   func() time.Time
	keys  *Keyring
	bell  bell
	lines lines // of backups
	turns turns

	overLines lines // of snapshots whose time is over

	pseudo bool

	// Hook, when set, is called with the name of every write transaction before it begins and after its commit.
	// Tests let it panic, to be where a crash would be.
	Hook func(point string)

	uidMu     sync.Mutex
	uid       *ulid.MonotonicEntropy
	reference func() string // makes short names of operations

	installation string
	markKey      []byte
	unsealed     bool // just upgraded from a schema whose audit log had no sealed end
	epoch        atomic.Int64
}

// Options say how to open a database.
type Options struct {
	Path string           // file; created when it does not exist
	Keys *Keyring         // seals secrets
	Now  func() time.Time // required
	// Readers is the size of the pool of query-only connections; 0 means 4.
	Readers int
	// MaxPages bounds the file (PRAGMA max_page_count); 0 means no bound. Tests fill a disk with it.
	MaxPages int
	// Pseudo lets logins have portal.PseudoLanguage. Only for tests and the demo.
	Pseudo bool
	// NoSync leaves out the wait for the disk at each commit. Only for tests that crash processes, not machines.
	NoSync bool
}

// writerPragmas hold for the one connection that writes. A transaction of thousands of rows changes thousands of pages:
// what one statement may have to undo stays in memory, and the log is brought into the file every 32 MiB, by when most
// of those pages were changed more than once.
const writerPragmas = `PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 8000`

// Open opens the database as it is; Migrate brings its schema up to date and Ready must follow before use.
func Open(o Options) (*DB, error) {
	if o.Now == nil {
		return nil, errors.New("store: Options.Now is missing")
	}
	abs, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if _, err := os.Stat(filepath.Dir(abs)); err != nil {
		return nil, fmt.Errorf("store: the folder of the database: %w", err)
	}
	sync := "FULL"
	if o.NoSync {
		sync = "OFF"
	}
	// Each connection is one goroutine's at a time, as database/sql has it: SQLite needs no lock of its own around it.
	file := (&url.URL{Scheme: "file", Path: abs, RawQuery: "_mutex=no"}).String()
	write, err := sql.Open("sqlite3", file+"&_journal_mode=WAL&_busy_timeout=5000&_synchronous="+sync+
		"&_txlock=immediate&_foreign_keys=1&_stmt_cache_size=256&_cache_size=-65536")
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	write.SetMaxOpenConns(1)
	write.SetConnMaxLifetime(0)
	if _, err := write.Exec(writerPragmas); err != nil {
		return nil, errors.Join(fmt.Errorf("store: %w", err), write.Close())
	}
	if o.MaxPages > 0 {
		if _, err := write.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", o.MaxPages)); err != nil {
			return nil, errors.Join(fmt.Errorf("store: %w", err), write.Close())
		}
	}
	if err := write.Ping(); err != nil {
		return nil, errors.Join(fmt.Errorf("store: %w", err), write.Close())
	}
	read, err := sql.Open("sqlite3", file+"&mode=ro&_query_only=1&_busy_timeout=5000&_stmt_cache_size=256")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: %w", err), write.Close())
	}
	if o.Readers == 0 {
		o.Readers = 4
	}
	read.SetMaxOpenConns(o.Readers)
	read.SetMaxIdleConns(o.Readers)
	return &DB{write: write, read: read, path: abs, now: o.Now, keys: o.Keys, pseudo: o.Pseudo, uid: ulid.Monotonic(rand.Reader, 0), reference: reference, overLines: lines{head: headOfLine}}, nil
}

// Close ends all connections.
func (db *DB) Close() error { return errors.Join(db.read.Close(), db.write.Close()) }

// Now is the portal's clock.
func (db *DB) Now() time.Time { return db.now() }

// Path is the database's file.
func (db *DB) Path() string { return db.path }

// Installation is the uid of this installation, which stands in the marks of its archives.
func (db *DB) Installation() string { return db.installation }

// MarkKey is the key of the marks' tags.
func (db *DB) MarkKey() []byte { return db.markKey }

// tx is one write transaction: its clock reading and what it changed.
type tx struct {
	*sql.Tx
	ctx     context.Context
	db      *DB
	now     time.Time
	changed map[int64]struct{}
	head    *auditHead // the end of the audit log, once this transaction has added to it
}

// touch notes that a service's pages will look different after the commit.
func (t *tx) touch(serviceID int64) { t.changed[serviceID] = struct{}{} }

// update runs fn in one write transaction. The name is what tests and metrics know it by.
func (db *DB) update(ctx context.Context, name string, fn func(*tx) error) error {
	if db.Hook != nil {
		db.Hook("before " + name)
	}
	inner, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return explain(name, err)
	}
	// Within the transaction nothing is cut off: a visitor who has gone would cost each statement a goroutine.
	t := &tx{Tx: inner, ctx: context.WithoutCancel(ctx), db: db, now: db.now(), changed: map[int64]struct{}{}}
	done := false
	defer func() {
		if !done {
			_ = inner.Rollback()
		}
	}()
	if err := fn(t); err != nil {
		return explain(name, err)
	}
	if err := t.saveHead(); err != nil {
		return explain(name, err)
	}
	if err := inner.Commit(); err != nil {
		return explain(name, err)
	}
	done = true
	for id := range t.changed {
		db.bell.ring(id)
	}
	if db.Hook != nil {
		db.Hook("after " + name)
	}
	return nil
}

// explain gives an error of the database with the name of what was tried, and a full disk a sentence for people.
func explain(name string, err error) error {
	if err == nil {
		return nil
	}
	var known *portal.Error
	if errors.As(err, &known) {
		return err
	}
	var lite sqlite3.Error
	if errors.As(err, &lite) && (lite.Code == sqlite3.ErrFull || lite.Code == sqlite3.ErrIoErr) {
		return &portal.Error{
			Code: portal.CodeUnavailable, Err: fmt.Errorf("store: %s: %w", name, err),
			Sentence: "The portal can't save anything right now. Nothing was changed, and your backups are untouched.",
			Staff:    "the disk under the database is full or failing",
		}
	}
	return fmt.Errorf("store: %s: %w", name, err)
}

// unique tells whether err is the refusal of a UNIQUE index whose columns contain part.
func unique(err error, part string) bool {
	var lite sqlite3.Error
	return errors.As(err, &lite) && lite.ExtendedCode == sqlite3.ErrConstraintUnique && strings.Contains(lite.Error(), part)
}

// exec runs one statement of the transaction.
func (t *tx) exec(query string, args ...any) (sql.Result, error) {
	return t.ExecContext(t.ctx, query, args...)
}

// insert runs an INSERT and gives the new row's id.
func (t *tx) insert(query string, args ...any) (int64, error) {
	r, err := t.exec(query, args...)
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

// one runs a statement that must change exactly one row; otherwise it gives miss.
func (t *tx) one(miss error, query string, args ...any) error {
	r, err := t.exec(query, args...)
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err != nil {
		return err
	}
	if n != 1 {
		return miss
	}
	return nil
}

// querier is a transaction or the pool of readers.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// scanner is one row.
type scanner interface{ Scan(dest ...any) error }

// collect reads all rows of a query and closes them.
func collect[T any](ctx context.Context, q querier, scan func(scanner) (T, error), query string, args ...any) (_ []T, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// missing turns "no row" into the not-found that foreign and missing rows share.
func missing(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return portal.NotFound()
	}
	return err
}

// UID makes a new uid: a 26-character lower-case ULID.
func (db *DB) UID() string {
	db.uidMu.Lock()
	defer db.uidMu.Unlock()
	ms := ulid.Timestamp(db.now())
	id, err := ulid.New(ms, db.uid)
	if err != nil { // the millisecond's sequence ran over
		id = ulid.MustNew(ms, rand.Reader)
	}
	return strings.ToLower(id.String())
}

// reference makes a short name for people to read out: no letters or digits that look alike.
func reference() string {
	const letters = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
	var b [6]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err) // crypto/rand never fails
	}
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b[:3]) + "-" + string(b[3:])
}

// unix gives the seconds of t, 0 for the zero time.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// orNull gives the seconds of t, NULL for the zero time.
func orNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.Unix()
}

// idOrNull gives id, NULL for 0.
func idOrNull(id int64) any {
	if id == 0 {
		return nil
	}
	return id
}

// textOrNull gives s, NULL for "".
func textOrNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// at gives the time of a column that is 0 or NULL for the zero time.
func at(seconds sql.NullInt64) time.Time {
	if !seconds.Valid || seconds.Int64 == 0 {
		return time.Time{}
	}
	return time.Unix(seconds.Int64, 0).UTC()
}
