package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"stowage/portal"
)

// machineFlags say what a machine is made of: of a product, or of one service in place of its product's. What is not
// said stays as it is; 0 and "" take a value back.
type machineFlags struct {
	Sockets  *int   `placeholder:"COUNT" help:"Machine: CPU sockets."`
	Cores    *int   `placeholder:"COUNT" help:"Machine: cores of each socket."`
	CPULimit *limit `name:"cpu-limit" placeholder:"CPUS" help:"Machine: limit of CPU time in cores, as 1.5; none for no limit."`
	Memory   *int   `placeholder:"MB" help:"Machine: memory in MB."`

	Disk          *int64  `placeholder:"GIB" help:"Machine: size of the system disk in GiB. Disks grow and never shrink."`
	DiskStorage   *string `placeholder:"STORAGE" help:"Machine: storage of the system disk."`
	DiskDevice    *string `placeholder:"DEVICE" help:"Machine: device of the system disk, as scsi0; without it, the one that the machine starts from."`
	DiskReadMB    *limit  `name:"disk-read-mb" placeholder:"MBPS" help:"Machine: limit of reading from the system disk in MB/s; none for no limit."`
	DiskWriteMB   *limit  `name:"disk-write-mb" placeholder:"MBPS" help:"Machine: limit of writing to the system disk in MB/s; none for no limit."`
	DiskReadIOPS  *limit  `name:"disk-read-iops" placeholder:"IOPS" help:"Machine: limit of read operations of the system disk in a second; none for no limit."`
	DiskWriteIOPS *limit  `name:"disk-write-iops" placeholder:"IOPS" help:"Machine: limit of write operations of the system disk in a second; none for no limit."`

	DataDisk      *int64  `placeholder:"GIB" help:"Machine: size of the additional disk in GiB; none where it is left out."`
	DataStorage   *string `placeholder:"STORAGE" help:"Machine: storage of the additional disk; without it, the system disk's."`
	DataDevice    *string `placeholder:"DEVICE" help:"Machine: device of the additional disk; without it, scsi1."`
	DataReadMB    *limit  `name:"data-read-mb" placeholder:"MBPS" help:"Machine: limit of reading from the additional disk in MB/s; none for no limit."`
	DataWriteMB   *limit  `name:"data-write-mb" placeholder:"MBPS" help:"Machine: limit of writing to the additional disk in MB/s; none for no limit."`
	DataReadIOPS  *limit  `name:"data-read-iops" placeholder:"IOPS" help:"Machine: limit of read operations of the additional disk in a second; none for no limit."`
	DataWriteIOPS *limit  `name:"data-write-iops" placeholder:"IOPS" help:"Machine: limit of write operations of the additional disk in a second; none for no limit."`

	NetModel *string `placeholder:"MODEL" help:"Machine: model of the network card, as virtio."`
	Bridge   *string `placeholder:"BRIDGE" help:"Machine: bridge of the network card."`
	VLAN     *limit  `name:"vlan" placeholder:"TAG" help:"Machine: VLAN of the network card; none for an untagged one."`
	NetRate  *limit  `placeholder:"MBPS" help:"Machine: limit of the network card in MB/s; none for no limit."`
	Firewall *bool   `negatable:"" help:"Machine: the network card is behind the host's firewall."`
	IP4      *string `name:"ip4" placeholder:"ADDRESS" help:"Machine: IPv4 address by cloud-init: dhcp, or one service's with its length."`
	IP6      *string `name:"ip6" placeholder:"ADDRESS" help:"Machine: IPv6 address by cloud-init: auto, dhcp, or one service's with its length."`
}

// said puts what the flags say into a spec.
func (f machineFlags) said(s *portal.Spec) {
	take(&s.Sockets, f.Sockets)
	take(&s.Cores, f.Cores)
	take(&s.CPULimit, (*float64)(f.CPULimit))
	take(&s.MemoryMB, f.Memory)
	take(&s.System.SizeGiB, f.Disk)
	take(&s.System.Storage, f.DiskStorage)
	take(&s.System.Device, f.DiskDevice)
	take(&s.System.ReadMB, (*float64)(f.DiskReadMB))
	take(&s.System.WriteMB, (*float64)(f.DiskWriteMB))
	take(&s.System.ReadIOPS, f.DiskReadIOPS.whole())
	take(&s.System.WriteIOPS, f.DiskWriteIOPS.whole())
	take(&s.Data.SizeGiB, f.DataDisk)
	take(&s.Data.Storage, f.DataStorage)
	take(&s.Data.Device, f.DataDevice)
	take(&s.Data.ReadMB, (*float64)(f.DataReadMB))
	take(&s.Data.WriteMB, (*float64)(f.DataWriteMB))
	take(&s.Data.ReadIOPS, f.DataReadIOPS.whole())
	take(&s.Data.WriteIOPS, f.DataWriteIOPS.whole())
	if f.DataDisk != nil && *f.DataDisk == 0 {
		s.Data = portal.Drive{}
	}
	take(&s.Net.Model, f.NetModel)
	take(&s.Net.Bridge, f.Bridge)
	take(&s.Net.VLAN, f.VLAN.whole())
	take(&s.Net.RateMB, (*float64)(f.NetRate))
	if f.Firewall != nil {
		s.Net.Firewall = f.Firewall
	}
	take(&s.Net.IP4, f.IP4)
	take(&s.Net.IP6, f.IP6)
}

// sold puts what the flags say into what a product sells.
func (f machineFlags) sold(s *portal.Spec) {
	f.said(s)
	if (s.Data != portal.Drive{}) && s.Data.Device == "" {
		s.Data.Device = "scsi1"
	}
}

// limit is a number, or none.
type limit float64

// UnmarshalText reads a flag.
func (l *limit) UnmarshalText(text []byte) error {
	if string(text) == "none" {
		*l = portal.NoLimit
		return nil
	}
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return fmt.Errorf("%q is neither a number nor none", text)
	}
	*l = limit(v)
	return nil
}

// whole gives the limit as a whole number; one that isn't becomes what no field takes.
func (l *limit) whole() *int {
	if l == nil {
		return nil
	}
	n := int(*l)
	if float64(n) != float64(*l) {
		n = math.MinInt32
	}
	return &n
}

// take puts what a flag says in a value's place.
func take[T any](place, said *T) {
	if said != nil {
		*place = *said
	}
}

// cloneFlags say what a product's new machines are made from.
type cloneFlags struct {
	Template []string `placeholder:"NAME=VMID" help:"Machine: a template that new ones are cloned from, as 'Debian 13=9000', or '=9000@SERVER' behind the name where it is on one server alone. May be repeated."`
	Clone    *string  `placeholder:"TYPE" help:"Machine: how a template is cloned: full or linked."`
}

func (f cloneFlags) said(s *portal.Spec) error {
	take(&s.Clone, f.Clone)
	var all []portal.Template
	for _, t := range f.Template {
		name, where, _ := strings.Cut(t, "=")
		number, server, _ := strings.Cut(where, "@")
		vmid, err := strconv.Atoi(number)
		if err != nil {
			return wrongUse("--template is a name and the number of a machine, as 'Debian 13=9000'")
		}
		all = append(all, portal.Template{Name: strings.TrimSpace(name), Server: server, VMID: vmid})
	}
	if len(all) > 0 {
		s.Templates = all
	}
	return nil
}

// ownFlags say what is one machine's alone.
type ownFlags struct {
	machineFlags
	MAC      *string `name:"mac" placeholder:"ADDRESS" help:"Machine: address of its network card; the one found where it is left out."`
	Gateway4 *string `name:"gateway4" placeholder:"ADDRESS" help:"Machine: gateway of the IPv4 address."`
	Gateway6 *string `name:"gateway6" placeholder:"ADDRESS" help:"Machine: gateway of the IPv6 address."`
}

func (f ownFlags) said(s *portal.Spec) {
	f.machineFlags.said(s)
	take(&s.Net.MAC, f.MAC)
	take(&s.Net.Gateway4, f.Gateway4)
	take(&s.Net.Gateway6, f.Gateway6)
}
