package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"stowage/pve/pvesim"
	"stowage/store"
)

// measureMemory lets 2,000 backups run at 100,000 services, while a thousand pages are open.
func measureMemory(t *testing.T, l *limits) {
	const running, streams, nodes = 2000, 1000, 50
	e := l.large(t).copy(t)
	e.nothingDue(t)
	e.write(t, // each of them on one of 2,000 hosts; the copies of the nights before are gone, for the simulated storages hold none
		fmt.Sprintf(`UPDATE services SET node = 'pve' || (1 + id / 40 %% %d), seen_at = strftime('%%s', 'now')`, nodes),
		`UPDATE backups SET removed_at = ended_at, removed_how = 'evicted'`)
	worlds := make([]pvesim.World, estateServers)
	for c := range worlds {
		worlds[c] = e.world(c, nodes)
	}
	_, up := playing(t, e.dir, yardWorlds{0.01, worlds})
	for c, u := range up {
		e.write(t, fmt.Sprintf(`UPDATE servers SET checked_at = strftime('%%s', 'now'), endpoints = json_array('%s'), fingerprints = json_array('%s') WHERE name = 'cluster%02d'`, u.URL, u.Fingerprint, c+1))
	}
	db := e.open(t, time.Now)
	if err := db.SetSetting(t.Context(), "cli", store.PerServer, strconv.Itoa(nodes)); err != nil {
		t.Fatal(err)
	}
	var open []*watcher
	for client := int64(1); len(open) < streams; client++ {
		token := sessionOf(t, db, client)
		for i := range int64(5) {
			open = append(open, &watcher{service: fmt.Sprintf("01service%017d", 5*(client-1)+i+1), token: token, seen: map[string]time.Time{}})
		}
	}

	p := launch(t, standInNamed(t, "stowage"), newFast(1), "serve", "--listen", "127.0.0.1:0", "--database", e.path("stowage.db"), "--log-format", "json")
	defer p.kill()
	address := p.says(&p.log, `"msg":"listening","url":"([^"]+)"`)
	time.Sleep(20 * time.Second) // the servers were looked at, and so were their storages
	alone, cpu := p.memory(t), p.load(t, 10*time.Second)
	for i := range running {
		service := fmt.Sprintf("01service%017d", e.services-running+i+1) // one on each host
		if _, err := db.Enqueue(t.Context(), 0, service, byHand()); err != nil {
			t.Fatal(err)
		}
	}
	count := func() (n int) {
		f, err := db.Figures(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range f.Operations {
			if o.State == "running" {
				n += o.Count
			}
		}
		return n
	}
	patiently(t, 2*time.Minute, fmt.Sprintf("%d running backups", running), func() bool { return count() == running })
	time.Sleep(12 * time.Second) // each was looked at
	working, cpuWorking := p.memory(t), p.load(t, 10*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, w := range open {
		w.listen(t, ctx, address)
	}
	patiently(t, time.Minute, "stream that has sent its page", func() bool {
		for _, w := range open {
			if w.events.Load() == 0 {
				return false
			}
		}
		return true
	})
	time.Sleep(5 * time.Second)
	cpuBoth := p.load(t, 15*time.Second)
	steady, peak := p.memory(t), p.peak(t)
	if n := count(); n != running {
		t.Fatalf("%d still run at the end, want %d", n, running)
	}
	l.figure(fmt.Sprintf("Memory of the portal at 100,000 services on %d hosts, with %d running backups and %d open pages", estateServers*nodes, running, streams),
		fmt.Sprintf("%d MiB, %d MiB at most; before the pages %d MiB, before the backups %d MiB", steady>>20, peak>>20, working>>20, alone>>20),
		"what open pages hold; then Go's collector, which lets what is in use double, and SQLite's page caches")
	l.figure("The same: processor of the portal", fmt.Sprintf("%.0f %% of a core; before the pages %.0f %%, before the backups %.0f %%", 100*cpuBoth, 100*cpuWorking, 100*cpu),
		"each open page's machine is looked at every second, each backup every ten, each server of 2,500 machines every ten")
}

// world is one cluster of the estate: its services' machines as their rows say they are.
func (e *estate) world(c, nodes int) pvesim.World {
	w := pvesim.ContractWorld(nodes, 2)
	w.Guests = nil
	w.Storages = []pvesim.Storage{{Name: "local", Type: "dir", Path: "/var/lib/vz", Content: []string{"images", "backup"}, Total: 400 << 40, Used: 4 << 30}}
	made := e.now.AddDate(-1, 0, 0).Unix()
	for i := 1; i <= e.services; i++ {
		if i%estateServers != c {
			continue
		}
		w.Guests = append(w.Guests, pvesim.Guest{
			VMID: 100 + i, Node: fmt.Sprintf("pve%d", 1+i/40%nodes), Name: fmt.Sprintf("h%d", 100+i), Running: true, UUID: fmt.Sprintf("%08x-0000-4000-8000-%012x", i, i),
			Config: map[string]string{
				"boot": "order=scsi0", "meta": fmt.Sprintf("creation-qemu=10.0.2,ctime=%d", made), "ostype": "l26",
				"net0": fmt.Sprintf("virtio=BC:24:11:%02X:%02X:%02X,bridge=vmbr0", i/65536, i/256%256, i%256),
			},
			Disks: []pvesim.Disk{{Key: "scsi0", Storage: "local", Size: 32 << 30, Used: 20 << 30, Ratio: 0.5}},
		})
	}
	return w
}

// load gives the share of a core that a process uses.
func (p *program) load(t *testing.T, lasts time.Duration) float64 {
	t.Helper()
	cpu, began := p.cpu(t), time.Now()
	time.Sleep(lasts)
	return (p.cpu(t) - cpu).Seconds() / time.Since(began).Seconds()
}

// peak gives the most bytes that a process has had in memory.
func (p *program) peak(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
