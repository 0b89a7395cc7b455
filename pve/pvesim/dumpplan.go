package pvesim

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// plan decides all that a backup will do if nobody disturbs it.
func (s *Sim) plan(t *task, g *guest, at int64) *turn {
	o := t.Dump.Options
	r := s.random("turn", fmt.Sprint(t.Seq, " ", t.Dump.Next))
	tu := &turn{VMID: g.VMID, Begin: at, Mode: o.Mode, WasRunning: g.Running, Shelf: s.keyOf(o.Storage, t.Node)}
	if !g.Running {
		tu.Mode = "stop"
	}
	var packed, holes float64
	for _, disk := range g.sorted() {
		if disk.NoBackup {
			continue
		}
		ratio := 1.0
		if disk.Ratio > 0 && o.Compress != "0" {
			ratio = disk.Ratio
		}
		used := s.data(&disk)
		tu.Total += disk.Size
		tu.Data += used
		packed += ratio * float64(used)
		holes += float64(disk.Size) / float64(gib)
	}
	disks := slices.ContainsFunc(g.sorted(), func(d Disk) bool { return !d.NoBackup })
	tu.Diskless, tu.Empty = !disks, disks && tu.Total == 0
	tu.Archive = Archive{
		Node: tu.Shelf.Node, Storage: o.Storage, VMID: g.VMID, Time: fromMS((at + t.Skew) / 1000 * 1000),
		Format: formatOf(o.Compress), Protected: o.Protected, Config: g.archived(),
		Disks: s.archivedDisks(g), Blank: g.Blank, Deaf: g.Deaf,
	}
	tu.Archive.Volid = archiveVolid(tu.Archive, s.local(t.Node, at+t.Skew))
	// Beside the data: headers and the map of every cluster, some 36 KB for an
	// empty GiB with zstd, 41 with gzip, 148 without compression (recorded).
	perGiB := map[string]float64{"0": 148_000, "gzip": 41_500, "lzo": 46_000, "zstd": 35_800}[o.Compress]
	tu.Archive.Size = 493 + int64(packed*1.00013+holes*perGiB) + int64(r.Uint64()%1200)
	if tu.Diskless {
		tu.Archive.Size = 493 + int64(r.Uint64()%4)
	}

	lead := map[string]int64{"snapshot": 300, "suspend": 1200, "stop": 1500}[tu.Mode]
	if tu.Mode == "stop" && tu.WasRunning {
		lead = 2500 // the guest is shut down first
	}
	tu.ReadAt = at + lead
	tu.DataRate, tu.HoleRate = dataSpeed*s.speed, holeSpeed*s.speed
	if o.BWLimit > 0 {
		limit := float64(o.BWLimit*kib) / 1000
		tu.DataRate, tu.HoleRate = min(tu.DataRate, limit), min(tu.HoleRate, limit)
	}
	// The end is seen by a look every second.
	ms := float64(tu.Data)/tu.DataRate + float64(tu.Total-tu.Data)/tu.HoleRate
	tu.ReadEnd = tu.ReadAt + int64(math.Ceil(ms/1000))*1000
	if tu.Diskless {
		tu.ReadAt, tu.ReadEnd = at, at
	}
	s.describe(t, g, tu, r)
	return tu
}

// read is how many bytes of the disks are through at a moment.
func (tu *turn) read(at int64) int64 {
	ms := float64(min(at, tu.ReadEnd) - tu.ReadAt)
	if ms <= 0 {
		return 0
	}
	if at >= tu.ReadEnd {
		return tu.Total
	}
	dataTime := float64(tu.Data) / tu.DataRate
	if ms < dataTime {
		return int64(ms * tu.DataRate)
	}
	return min(tu.Total, tu.Data+int64((ms-dataTime)*tu.HoleRate))
}

// occupied is what the unfinished archive takes at a moment.
func (tu *turn) occupied(at int64) int64 {
	of, n := tu.Total, tu.read(at)
	if tu.Data > 0 {
		of, n = tu.Data, min(n, tu.Data)
	}
	if of == 0 {
		return 0
	}
	return blocks(int64(float64(tu.Archive.Size) * (float64(n) / float64(of))))
}

func formatOf(compress string) string {
	switch compress {
	case "zstd":
		return "vma.zst"
	case "gzip":
		return "vma.gz"
	case "lzo":
		return "vma.lzo"
	}
	return "vma"
}

// archiveVolid names an archive by machine and wall clock.
func archiveVolid(a Archive, wall time.Time) string {
	return fmt.Sprintf("%s:backup/vzdump-qemu-%d-%s.%s", a.Storage, a.VMID, wall.Format("2006_01_02-15_04_05"), a.Format)
}
