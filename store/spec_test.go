package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"stowage/portal"
)

// What is sold and what is a machine's own keep through the database, change by themselves, and leave an audit row each.
func TestSpecKeeps(t *testing.T) {
	t.Parallel()
	db, _ := openPeople(t)
	ctx := t.Context()
	on := true
	p := portal.NewProduct("VPS")
	p.Spec = portal.Spec{Templates: []portal.Template{{Name: "Debian 13", VMID: 9000}}, Clone: "linked", Cores: 2, CPULimit: portal.NoLimit, MemoryMB: 2048,
		System: portal.Drive{Device: "scsi0", Storage: "local", SizeGiB: 20, ReadIOPS: 300}, Net: portal.Card{Bridge: "vmbr0", VLAN: 7, Firewall: &on, IP4: "dhcp"}}
	p, err := db.AddProduct(ctx, "cli", p)
	if err != nil {
		t.Fatal(err)
	}
	same := func(what string) {
		t.Helper()
		got, err := db.Product(ctx, p.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	same("as added")
	p.Name, p.SafetyCopy, p.SnapMemory, p.Quota, p.Storage, p.Spec.Cores = "VPS L", false, false, 4, "local", 8
	if err := db.SetProduct(ctx, "cli", p); err != nil {
		t.Fatal(err)
	}
	same("as changed")
	for _, wrong := range []func(*portal.Product){
		func(p *portal.Product) { p.Spec.Net.MAC = "BC:24:11:00:00:01" },
		func(p *portal.Product) { p.Spec.Net.IP4 = "192.0.2.7/24" },
		func(p *portal.Product) { p.Spec.System.Device = "floppy0" },
		func(p *portal.Product) { p.Spec.Data = portal.Drive{Device: "scsi0", SizeGiB: 1} },
	} {
		bad := p
		wrong(&bad)
		if err := db.SetProduct(ctx, "cli", bad); portal.CodeOf(err) != portal.CodeInvalid {
			t.Errorf("%+v: %v", bad.Spec, err)
		}
	}
	same("after refusals")
	var rows int
	if err := db.read.QueryRowContext(ctx, `SELECT count(*) FROM audit WHERE action = 'product.set' AND before LIKE '%"cores":2%' AND after LIKE '%"cores":8%'`).Scan(&rows); err != nil || rows != 1 {
		t.Errorf("%d audit rows, %v", rows, err)
	}
}

// A product of before the fourth migration keeps what it said of the machine.
func TestSpecMigrates(t *testing.T) {
	t.Parallel()
	old, clock := openPeople(t)
	ctx := t.Context()
	p, err := old.AddProduct(ctx, "cli", portal.NewProduct("VPS"))
	if err != nil {
		t.Fatal(err)
	}
	silent, err := old.AddProduct(ctx, "cli", portal.NewProduct("silent"))
	if err != nil {
		t.Fatal(err)
	}
	f := forger{t, old}
	for _, statement := range undo[1:] {
		f.sql(statement)
	}
	f.sql(`UPDATE products SET hardware = '{"cores":2,"memory_mb":2048,"disks":[{"key":"scsi0","size":21474836480,"storage":"local","backup":true}],"nets":[{"key":"net0","bridge":"vmbr0","tag":7}]}' WHERE id = $1`, p.ID)
	f.sql(`DELETE FROM goose_db_version WHERE version_id >= 4`)
	db, err := Open(Options{Path: old.Path(), Keys: old.keys, Now: clock.now, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, _, err := db.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	p.Spec = portal.Spec{Cores: 2, MemoryMB: 2048, System: portal.Drive{Device: "scsi0", Storage: "local", SizeGiB: 20}, Net: portal.Card{Bridge: "vmbr0", VLAN: 7}}
	for _, want := range []portal.Product{p, silent} {
		got, err := db.Product(ctx, want.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
