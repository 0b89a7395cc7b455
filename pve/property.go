package pve

import (
	"bytes"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// Property is one "key=value" of a property string, or the value alone where the key is the default one.
type Property struct{ Key, Value string }

// Properties is a property string in its order: "local:100/vm-100-disk-0.qcow2,iops_wr=300,size=1536M". The first
// value without a key has the key "".
type Properties []Property

// ParseProperties reads any string; empty parts are dropped. Values keep their characters (there is no quoting).
func ParseProperties(s string) Properties {
	var out Properties
	for _, part := range strings.Split(s, ",") {
		key, value, ok := strings.Cut(part, "=")
		if !ok {
			key, value = "", part
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if key != "" || value != "" {
			out = append(out, Property{key, value})
		}
	}
	return out
}

// Get gives the first value of a key; "" asks for the value without a key.
func (p Properties) Get(key string) (string, bool) {
	for _, pair := range p {
		if pair.Key == key {
			return pair.Value, true
		}
	}
	return "", false
}

// String writes the properties as Proxmox does.
func (p Properties) String() string {
	parts := make([]string, 0, len(p))
	for _, pair := range p {
		if pair.Key == "" && !strings.Contains(pair.Value, "=") {
			parts = append(parts, pair.Value)
		} else {
			parts = append(parts, pair.Key+"="+pair.Value)
		}
	}
	return strings.Join(parts, ",")
}

// ParseSize reads a size of the configuration in bytes: "5G", "1536M", "67109K", "5368710120", "1.5G". Units are
// powers of 1024. Proxmox doesn't normalise what was once written, so every form occurs.
func ParseSize(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, false
	}
	unit := int64(1)
	switch s[len(s)-1] {
	case 'K', 'k':
		unit = 1 << 10
	case 'M', 'm':
		unit = 1 << 20
	case 'G', 'g':
		unit = 1 << 30
	case 'T', 't':
		unit = 1 << 40
	case 'P', 'p':
		unit = 1 << 50
	}
	if unit != 1 {
		s = s[:len(s)-1]
	}
	return scaled(s, unit)
}

// parseHumanSize reads the sizes of task logs: "1.0 GiB", "409.0 MiB", "206KB", "0 B". All units are powers of 1024,
// whatever they are called. Rates end in "/s" and are read alike.
func parseHumanSize(s string) (int64, bool) {
	s = strings.TrimSuffix(strings.TrimSpace(s), "/s")
	digits := strings.TrimRight(s, "KMGTPEiBb ")
	unit := strings.TrimSpace(s[len(digits):])
	exponent := 0
	switch strings.TrimSuffix(strings.TrimSuffix(unit, "B"), "i") {
	case "":
	case "K":
		exponent = 10
	case "M":
		exponent = 20
	case "G":
		exponent = 30
	case "T":
		exponent = 40
	case "P":
		exponent = 50
	default:
		return 0, false
	}
	return scaled(digits, 1<<exponent)
}

// scaled multiplies a plain decimal number exactly and rounds down.
func scaled(digits string, unit int64) (int64, bool) {
	if digits == "" || len(digits) > 40 || strings.Trim(digits, "0123456789.") != "" {
		return 0, false
	}
	r, ok := new(big.Rat).SetString(digits)
	if !ok {
		return 0, false
	}
	r.Mul(r, new(big.Rat).SetInt64(unit))
	n := new(big.Int).Quo(r.Num(), r.Denom())
	if !n.IsInt64() || n.Int64() == math.MaxInt64 {
		return 0, false
	}
	return n.Int64(), true
}

// Disk is one drive of a machine's configuration.
type Disk struct {
	Key       string // scsi0, virtio1, efidisk0 …
	Volid     string // storage:name, an absolute path, or "none" for an empty CD drive
	Storage   string // "" for a path
	SizeBytes int64  // as configured; 0 where the configuration doesn't say
	Backup    bool   // inside a backup; drives are unless they say backup=0
	CDROM     bool   // also a cloud-init drive
	Raw       string // the whole property string
}

// Option gives one option of the drive, as "iops_wr".
func (d Disk) Option(key string) string {
	v, _ := ParseProperties(d.Raw).Get(key)
	return v
}

func parseDisk(key, raw string) Disk {
	props := ParseProperties(raw)
	d := Disk{Key: key, Raw: raw, Backup: true}
	d.Volid, _ = props.Get("")
	if d.Volid == "" {
		d.Volid, _ = props.Get("file")
	}
	if !strings.HasPrefix(d.Volid, "/") {
		if storage, _, ok := strings.Cut(d.Volid, ":"); ok {
			d.Storage = storage
		}
	}
	if size, ok := props.Get("size"); ok {
		d.SizeBytes, _ = ParseSize(size)
	}
	if backup, ok := props.Get("backup"); ok {
		d.Backup = isOn(backup)
	}
	media, _ := props.Get("media")
	d.CDROM = media == "cdrom"
	return d
}

// Net is one network card of a machine's configuration.
type Net struct {
	Key      string // net0
	Model    string // virtio, e1000 …
	MAC      string // upper case
	Bridge   string
	Tag      int     // VLAN, 0 for none
	Rate     float64 // MB/s, 0 for unlimited
	LinkDown bool
	Firewall bool
	Raw      string
}

func parseNet(key, raw string) Net {
	n := Net{Key: key, Raw: raw}
	for i, pair := range ParseProperties(raw) {
		switch pair.Key {
		case "model":
			n.Model = pair.Value
		case "macaddr":
			n.MAC = strings.ToUpper(pair.Value)
		case "bridge":
			n.Bridge = pair.Value
		case "tag":
			n.Tag, _ = strconv.Atoi(pair.Value)
		case "rate":
			if f, err := strconv.ParseFloat(pair.Value, 64); err == nil && f >= 0 && !math.IsInf(f, 0) {
				n.Rate = f
			}
		case "link_down":
			n.LinkDown = isOn(pair.Value)
		case "firewall":
			n.Firewall = isOn(pair.Value)
		default:
			// The model comes first, as "virtio=MAC" or alone.
			if i == 0 && pair.Key != "" {
				n.Model, n.MAC = pair.Key, strings.ToUpper(pair.Value)
			} else if i == 0 {
				n.Model = pair.Value
			}
		}
	}
	return n
}

func isOn(s string) bool { return s == "1" || s == "yes" || s == "true" || s == "on" }

// pairs is a property string that some answers give as an object: prune-backups.
type pairs string

func (p *pairs) UnmarshalJSON(b []byte) error {
	*p = pairs(scalar(b))
	var object map[string]text
	if len(bytes.TrimSpace(b)) > 0 && json.Unmarshal(b, &object) == nil && object != nil {
		var props Properties
		for _, key := range sortedKeys(object) {
			props = append(props, Property{key, string(object[key])})
		}
		*p = pairs(props.String())
	}
	return nil
}
