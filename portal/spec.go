package portal

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Spec is what is sold: the machine as it should be. What is not said (zero, nil, "") is left as it is on the machine. A
// product has one, and a service has one of its own whose every value goes before the product's; only a service's
// holds a MAC and addresses.
type Spec struct {
	Templates []Template `json:"templates,omitempty"`
	Clone     string     `json:"clone,omitempty"` // full, linked; "" = full

	Sockets  int     `json:"sockets,omitempty"`
	Cores    int     `json:"cores,omitempty"`     // of each socket
	CPULimit float64 `json:"cpu_limit,omitempty"` // in cores' worth of time; NoLimit = none
	MemoryMB int     `json:"memory_mb,omitempty"` // MiB
	System   Drive   `json:"system,omitzero"`
	Data     Drive   `json:"data,omitzero"` // the additional disk; sold where it has a size
	Net      Card    `json:"net,omitzero"`

	Name   string `json:"name,omitempty"` // the machine's name on its host
	Boot   string `json:"boot,omitempty"` // "order=scsi0;net0"
	OnBoot *bool  `json:"onboot,omitempty"`

	// Kept are disks that the machine had before its config was replaced. Where they hang on no drive now, they are
	// attached again.
	Kept []Kept `json:"kept,omitempty"`
}

// NoLimit is a limit that says: none, also where the machine has one.
const NoLimit = -1

// Template is a machine that new ones are cloned from.
type Template struct {
	Name   string `json:"name"`             // as people choose it: "Debian 13"
	Server string `json:"server,omitempty"` // name of the server it is on; "" = it has the same number on all
	VMID   int    `json:"vmid"`
}

// Drive is a disk as sold. Each limit is 0 where it is not said, and NoLimit for none.
type Drive struct {
	Device    string  `json:"device,omitempty"` // scsi0
	Storage   string  `json:"storage,omitempty"`
	SizeGiB   int64   `json:"size_gib,omitempty"`
	ReadMB    float64 `json:"read_mb,omitempty"` // MB/s as Proxmox counts them: MiB
	WriteMB   float64 `json:"write_mb,omitempty"`
	ReadIOPS  int     `json:"read_iops,omitempty"`
	WriteIOPS int     `json:"write_iops,omitempty"`
	Least     int64   `json:"least,omitempty"` // bytes; the size that the machine had before, where none is sold
}

// Bytes gives the size that the disk must have at least, or 0 where nothing is said.
func (d Drive) Bytes() int64 {
	if d.SizeGiB > 0 {
		return d.SizeGiB << 30
	}
	return d.Least
}

// Card is the network card net0 as sold, with the addresses that cloud-init gives it.
type Card struct {
	Model    string  `json:"model,omitempty"` // virtio
	MAC      string  `json:"mac,omitempty"`
	Bridge   string  `json:"bridge,omitempty"`
	VLAN     int     `json:"vlan,omitempty"`    // NoLimit = none
	RateMB   float64 `json:"rate_mb,omitempty"` // MB/s; NoLimit = none
	Firewall *bool   `json:"firewall,omitempty"`
	IP4      string  `json:"ip4,omitempty"` // dhcp, or 192.0.2.7/24
	Gateway4 string  `json:"gateway4,omitempty"`
	IP6      string  `json:"ip6,omitempty"` // auto, dhcp, or 2001:db8::7/64
	Gateway6 string  `json:"gateway6,omitempty"`
}

// Kept is a disk that a machine had: its key, its volume, and the options of its line, which a detached volume loses.
type Kept struct {
	Key     string  `json:"key"`
	Volid   string  `json:"volid"`
	Options Options `json:"options,omitempty"`
}

// Wanted gives what a service's machine should be: its product's values, and before them its own.
func Wanted(p Product, s Service) Spec { return p.Spec.With(s.Own) }

// With gives the spec with every value that own says in place of the spec's.
func (s Spec) With(own Spec) Spec {
	if len(own.Templates) > 0 {
		s.Templates = own.Templates
	}
	if len(own.Kept) > 0 {
		s.Kept = own.Kept
	}
	if own.OnBoot != nil {
		s.OnBoot = own.OnBoot
	}
	if own.Net.Firewall != nil {
		s.Net.Firewall = own.Net.Firewall
	}
	prefer(&s.Clone, own.Clone)
	prefer(&s.Sockets, own.Sockets)
	prefer(&s.Cores, own.Cores)
	prefer(&s.CPULimit, own.CPULimit)
	prefer(&s.MemoryMB, own.MemoryMB)
	s.System, s.Data = s.System.with(own.System), s.Data.with(own.Data)
	prefer(&s.Net.Model, own.Net.Model)
	prefer(&s.Net.MAC, own.Net.MAC)
	prefer(&s.Net.Bridge, own.Net.Bridge)
	prefer(&s.Net.VLAN, own.Net.VLAN)
	prefer(&s.Net.RateMB, own.Net.RateMB)
	if own.Net.IP4 != "" { // an address and its gateway are one thing
		s.Net.IP4, s.Net.Gateway4 = own.Net.IP4, own.Net.Gateway4
	}
	if own.Net.IP6 != "" {
		s.Net.IP6, s.Net.Gateway6 = own.Net.IP6, own.Net.Gateway6
	}
	prefer(&s.Name, own.Name)
	prefer(&s.Boot, own.Boot)
	return s
}

func (d Drive) with(own Drive) Drive {
	prefer(&d.Device, own.Device)
	prefer(&d.Storage, own.Storage)
	prefer(&d.SizeGiB, own.SizeGiB)
	prefer(&d.ReadMB, own.ReadMB)
	prefer(&d.WriteMB, own.WriteMB)
	prefer(&d.ReadIOPS, own.ReadIOPS)
	prefer(&d.WriteIOPS, own.WriteIOPS)
	prefer(&d.Least, own.Least)
	return d
}

// prefer puts a value in another's place where it says something.
func prefer[T comparable](place *T, value T) {
	var silent T
	if value != silent {
		*place = value
	}
}

// Validate gives the first thing that is wrong with a spec. Of a product (own is false) it also refuses what is
// a single machine's.
func (s Spec) Validate(own bool) error {
	for _, t := range s.Templates {
		if _, err := CleanName("template", t.Name); err != nil {
			return err
		}
		if t.VMID < 100 || t.VMID > 999999999 {
			return Invalid("template", "A template is a name and the number of a machine, from 100 on.")
		}
	}
	switch {
	case !slices.Contains([]string{"", "full", "linked"}, s.Clone):
		return Invalid("clone", "A clone is full or linked.")
	case s.Sockets < 0 || s.Sockets > 16:
		return Invalid("sockets", "The number of sockets is 1 to 16.")
	case s.Cores < 0 || s.Cores > 512:
		return Invalid("cores", "The number of cores is 1 to 512.")
	case !(s.CPULimit == NoLimit || s.CPULimit >= 0 && s.CPULimit <= 128):
		return Invalid("cpu-limit", "The CPU limit is a number up to 128, or none.")
	case s.MemoryMB != 0 && (s.MemoryMB < 16 || s.MemoryMB > 4<<20):
		return Invalid("memory", "The memory is 16 to 4194304 MB.")
	case !own && s.Data != Drive{} && s.Data.Device == "":
		return Invalid("data-device", "The additional disk needs a device, such as scsi1.")
	case s.Data.Device != "" && s.Data.Device == s.System.Device:
		return Invalid("data-device", "The additional disk needs another device than the system disk.")
	case !own && s.Data != Drive{} && s.Data.SizeGiB == 0:
		return Invalid("data-disk", "The additional disk needs a size.")
	}
	if err := s.System.validate("disk"); err != nil {
		return err
	}
	if err := s.Data.validate("data"); err != nil {
		return err
	}
	if !own && (s.Net.MAC != "" || s.Name != "" || s.Boot != "" || len(s.Kept) > 0) {
		return Invalid("mac", "A MAC address, a name and a boot order belong to one machine, not to a product.")
	}
	return s.Net.validate(own)
}

var (
	deviceName  = regexp.MustCompile(`^(?:ide[0-3]|sata[0-5]|scsi(?:[0-9]|[12][0-9]|30)|virtio(?:[0-9]|1[0-5]))$`)
	storageName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]$`)
	bridgeName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*$`)
	macAddress  = regexp.MustCompile(`^[0-9A-Fa-f][02468ACEace](?::[0-9A-Fa-f]{2}){5}$`)
)

// cardModels are those that people are sold; Proxmox knows more.
var cardModels = []string{"", "virtio", "e1000", "e1000e", "rtl8139", "vmxnet3"}

func (d Drive) validate(field string) error {
	limit := func(v float64) bool { return v == NoLimit || v >= 0 && v <= 1e6 }
	switch {
	case d.Device != "" && !deviceName.MatchString(d.Device):
		return Invalid(field+"-device", "A disk's device is one such as scsi0, virtio1, sata0 or ide0.")
	case d.Storage != "" && !storageName.MatchString(d.Storage):
		return Invalid(field+"-storage", "The name of a storage has letters, digits, dots, dashes and underscores.")
	case d.SizeGiB < 0 || d.SizeGiB > 1<<20:
		return Invalid(field, "The size of a disk is 1 to 1048576 GiB.")
	case !limit(d.ReadMB) || !limit(d.WriteMB):
		return Invalid(field+"-read-mb", "A bandwidth limit is a number of MB/s, or none.")
	case d.ReadMB > 0 && d.ReadMB < 1 || d.WriteMB > 0 && d.WriteMB < 1:
		return Invalid(field+"-read-mb", "A bandwidth limit is at least 1 MB/s.")
	case !limit(float64(d.ReadIOPS)) || !limit(float64(d.WriteIOPS)):
		return Invalid(field+"-read-iops", "A limit of operations is a number of IOPS, or none.")
	}
	return nil
}

func (c Card) validate(own bool) error {
	switch {
	case !slices.Contains(cardModels, c.Model):
		return Invalid("net-model", "The model of the network card is virtio, e1000, e1000e, rtl8139 or vmxnet3.")
	case c.MAC != "" && !macAddress.MatchString(c.MAC):
		return Invalid("mac", "A MAC address is six pairs of hexadecimal digits such as BC:24:11:00:00:01, and its second digit is even.")
	case c.Bridge != "" && !bridgeName.MatchString(c.Bridge):
		return Invalid("bridge", "The name of a bridge has letters, digits, dots, dashes and underscores.")
	case c.VLAN < NoLimit || c.VLAN > 4094:
		return Invalid("vlan", "A VLAN is a number from 1 to 4094, or none.")
	case !(c.RateMB == NoLimit || c.RateMB >= 0 && c.RateMB <= 10240):
		return Invalid("net-rate", "The rate of the network card is a number of MB/s up to 10240, or none.")
	case !address(c.IP4, own, false, "dhcp"):
		return Invalid("ip4", "An IPv4 address is one with its length, such as 192.0.2.7/24, or dhcp; a product's is dhcp alone.")
	case !address(c.IP6, own, true, "dhcp", "auto"):
		return Invalid("ip6", "An IPv6 address is one with its length, such as 2001:db8::7/64, or auto or dhcp; a product's is auto or dhcp alone.")
	case !gateway(c.Gateway4, c.IP4, false):
		return Invalid("gateway4", "An IPv4 gateway is an address that goes with an IPv4 address.")
	case !gateway(c.Gateway6, c.IP6, true):
		return Invalid("gateway6", "An IPv6 gateway is an address that goes with an IPv6 address.")
	}
	return nil
}

func address(s string, own, six bool, words ...string) bool {
	if s == "" || slices.Contains(words, s) {
		return true
	}
	p, err := netip.ParsePrefix(s)
	return own && err == nil && p.Addr().Is6() == six && p.Addr().Zone() == ""
}

func gateway(s, ip string, six bool) bool {
	if s == "" {
		return true
	}
	a, err := netip.ParseAddr(s)
	return err == nil && strings.Contains(ip, "/") && a.Is6() == six && a.Zone() == ""
}
