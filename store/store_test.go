package store_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stowage/portal"
	"stowage/store"
)

var updateGolden = flag.Bool("update-schema", false, "write schema.golden.sql anew")

// open makes a new, migrated database.
func open(t *testing.T, o store.Options) *store.DB {
	t.Helper()
	dir := t.TempDir()
	if o.Keys == nil {
		if err := store.CreateKey(filepath.Join(dir, "key")); err != nil {
			t.Fatal(err)
		}
		keys, err := store.ReadKey(filepath.Join(dir, "key"))
		if err != nil {
			t.Fatal(err)
		}
		o.Keys = keys
	}
	if o.Path == "" {
		o.Path = filepath.Join(dir, "stowage.db")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	db, err := store.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx := context.Background()
	if _, _, err := db.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	if err := db.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return db
}

// TestSchemaGolden holds the file that people read against what the migrations make.
func TestSchemaGolden(t *testing.T) {
	t.Parallel()
	statements, err := open(t, store.Options{}).Schema(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	got := "-- The final schema, as the migrations make it. Written by: go test ./store -run TestSchemaGolden -update-schema\n\n" +
		strings.Join(statements, ";\n\n") + ";\n"
	if *updateGolden {
		if err := os.WriteFile("schema.golden.sql", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("schema.golden.sql")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("schema.golden.sql (-file +migrations):\n%s", d)
	}
}

func TestWrongKeyIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "stowage.db")
	open(t, store.Options{Path: path})
	if err := store.CreateKey(filepath.Join(dir, "other")); err != nil {
		t.Fatal(err)
	}
	other, err := store.ReadKey(filepath.Join(dir, "other"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(store.Options{Path: path, Keys: other, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Ready(context.Background()); err != store.ErrWrongKey {
		t.Errorf("Ready with another key: %v, want ErrWrongKey", err)
	}
}

// TestFullDisk fills the disk under the database: the change is refused with a sentence, and what was there stays.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "stowage.db")
	if err := store.CreateKey(filepath.Join(dir, "key")); err != nil {
		t.Fatal(err)
	}
	keys, err := store.ReadKey(filepath.Join(dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	open(t, store.Options{Path: path, Keys: keys})
	db, err := store.Open(store.Options{Path: path, Keys: keys, Now: time.Now, MaxPages: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	var failed error
	added := 0
	for i := 0; i < 200 && failed == nil; i++ {
		p := portal.NewProduct(strings.Repeat("x", 90) + string(rune('a'+i%26)) + string(rune('a'+i/26)))
		p.Quota, p.Storage = 3, "local"
		if _, failed = db.AddProduct(ctx, "cli", p); failed == nil {
			added++
		}
	}
	if portal.CodeOf(failed) != portal.CodeUnavailable {
		t.Fatalf("after %d products: %v, want unavailable", added, failed)
	}
	products, err := db.Products(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(products) != added {
		t.Errorf("%d products are there, %d were added", len(products), added)
	}
	if broken, err := db.VerifyAudit(ctx); err != nil || broken != 0 {
		t.Errorf("audit chain: row %d, %v", broken, err)
	}
}
