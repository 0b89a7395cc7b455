package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"stowage/portal"
	"stowage/store"
)

// data are the flags of every command that works on the database.
type data struct {
	pseudo   bool   // takes the pseudo language as a login's
	Database string `default:"stowage.db" placeholder:"FILE" help:"The database (${default})."`
	KeyFile  string `placeholder:"FILE" help:"The key that seals secrets; without it, the file beside the database that ends in .key."`
}

// output is the flag of every command that prints what programs may want to read.
type output struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// keyFile gives the path of the key.
func (d data) keyFile() string {
	if d.KeyFile != "" {
		return d.KeyFile
	}
	return strings.TrimSuffix(d.Database, filepath.Ext(d.Database)) + ".key"
}

// exists tells whether there is a database already. An empty file is none.
func (d data) exists() (bool, error) {
	info, err := os.Stat(d.Database)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("the database: %w", err)
	case info.IsDir():
		return false, fmt.Errorf("the database %s is a folder", d.Database)
	}
	return info.Size() > 0, nil
}

// open opens the database that exists, without changing its schema.
func (d data) open(ctx context.Context, now func() time.Time) (*store.DB, error) {
	exists, err := d.exists()
	if err != nil {
		return nil, err
	}
	if !exists {
		return nil, fmt.Errorf("there is no database %s; name it with --database, or make it with: stowage migrate", d.Database)
	}
	db, err := d.connect(now)
	if err != nil {
		return nil, err
	}
	if err := db.Ready(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// openUpToDate opens the database and brings its schema up to date first. A new database is made with a new key;
// an existing one never gets a new key, for its secrets could not be read with it.
func (d data) openUpToDate(ctx context.Context, now func() time.Time) (db *store.DB, from, to int64, err error) {
	exists, err := d.exists()
	if err != nil {
		return nil, 0, 0, err
	}
	if !exists {
		if err := d.found(); err != nil {
			return nil, 0, 0, err
		}
	}
	if db, err = d.connect(now); err != nil {
		return nil, 0, 0, err
	}
	if from, to, err = db.Migrate(ctx); err == nil {
		err = db.Ready(ctx)
	}
	if err != nil {
		return nil, 0, 0, errors.Join(err, db.Close())
	}
	return db, from, to, nil
}

// found makes the key of a new database, unless there is one, and an empty file for the database itself: it will
// hold names, addresses and password hashes, so nobody else may read it.
func (d data) found() error {
	if _, err := os.Stat(d.keyFile()); errors.Is(err, fs.ErrNotExist) {
		if err := store.CreateKey(d.keyFile()); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(d.Database, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("the database: %w", err)
	}
	return f.Close()
}

func (d data) connect(now func() time.Time) (*store.DB, error) {
	keys, err := store.ReadKey(d.keyFile())
	if errors.Is(err, store.ErrNoKey) {
		return nil, fmt.Errorf("the key file %s is missing; give the one that was made with this database (--key-file)", d.keyFile())
	}
	if err != nil {
		return nil, err
	}
	return store.Open(store.Options{Path: d.Database, Keys: keys, Now: now, Pseudo: d.pseudo})
}

// with runs fn on the opened database and closes it.
func (d data) with(a *app, fn func(*store.DB) error) error {
	db, err := d.open(a.ctx, a.now)
	if err != nil {
		return err
	}
	return errors.Join(fn(db), db.Close())
}

// print writes v as JSON, or what text writes.
func (o output) print(a *app, v any, text func(io.Writer)) error {
	if !o.JSON {
		var all bytes.Buffer
		w := tabwriter.NewWriter(&all, 0, 4, 2, ' ', 0)
		text(w)
		if err := w.Flush(); err != nil {
			return err
		}
		_, err := io.WriteString(a.out, harmless(all.String()))
		return err
	}
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// harmless is text that a terminal only shows: what came from Proxmox or was typed may hold codes that move the
// cursor, rename the window, or make a line read backwards.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// row writes one line of a table.
func row(w io.Writer, cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = fmt.Sprint(c)
	}
	fmt.Fprintln(w, strings.Join(texts, "\t"))
}

// secret reads a secret from a file, or from standard input where the file is "-": its first line.
func secret(a *app, file string) (string, error) {
	in := a.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }() // only read
		in = f
	}
	line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", fmt.Errorf("%s holds no secret in its first line", file)
	}
	return line, nil
}

// zoneName is a flag that names a time zone.
type zoneName string

// UnmarshalText reads the name of a zone that exists.
func (z *zoneName) UnmarshalText(text []byte) error {
	if _, err := portal.Zone(string(text)); err != nil {
		return errors.New(explain(err))
	}
	*z = zoneName(text)
	return nil
}

// language is a flag that names a language.
type language string

// UnmarshalText reads the tag of a language that people may choose.
func (l *language) UnmarshalText(text []byte) error {
	tag, err := portal.CleanLanguage(string(text), false)
	if err != nil {
		return errors.New(explain(err))
	}
	*l = language(tag)
	return nil
}

// stamp writes an instant for people and programs alike; "" for the zero time.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
