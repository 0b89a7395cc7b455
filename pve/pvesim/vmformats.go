package pvesim

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"strings"
)

var (
	dnsName    = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*$`)
	tagName    = regexp.MustCompile(`(?i)^[a-z0-9_][a-z0-9_\-+.]*$`)
	unicastMAC = regexp.MustCompile(`(?i)^[a-f0-9][02468ace](?::[a-f0-9]{2}){5}$`)
	bridgeName = regexp.MustCompile(`^[-_.\w]+$`)
	sizeForm   = regexp.MustCompile(`^(\d+(?:\.\d+)?)([KMGT])?$`)
	urlencoded = regexp.MustCompile(`^[-%a-zA-Z0-9_.!~*'()]*$`)
	bootForm   = regexp.MustCompile(`^(?:(?:legacy=)?[acdn]{1,4}|order=(?:[a-z]+\d*(?:;[a-z]+\d*)*)?)$`)
	startForm  = regexp.MustCompile(`^(?:order=)?\d+$|^(?:up|down)=\d+$`)
	cpuSetForm = regexp.MustCompile(`^\s*\d+(?:-\d+)?(?:\s*,\s*\d+(?:-\d+)?)*\s*$`)
	cpuForm    = regexp.MustCompile(`^[^\s,=]+(?:,[a-z-]+=[^,]+)*$|^[a-z-]+=[^,]+(?:,[a-z-]+=[^,]+)*$`)
	partsForm  = regexp.MustCompile(`^[^\s,]+(?:,[a-zA-Z0-9_-]+=[^,]*)*$`)
	ciForm     = regexp.MustCompile(`^(?:meta|network|user|vendor)=[^,]+(?:,(?:meta|network|user|vendor)=[^,]+)*$`)
	pairForm   = regexp.MustCompile(`^[a-zA-Z][\w.-]*(?::[a-zA-Z][\w.-]*)?$`)
	volumeLike = regexp.MustCompile(`(?i)^[a-z][a-z0-9\-_.]*[a-z0-9]:\S+$`)
)

// vmFormats are the formats of a configuration's lines.
var vmFormats = map[string]func(string) string{
	"dns-name": fits(dnsName, "value does not look like a valid DNS name"),
	"mac-addr": func(v string) string {
		if !unicastMAC.MatchString(v) || strings.EqualFold(v, "00:00:00:00:00:00") {
			return "value does not look like a valid unicast MAC address"
		}
		return ""
	},
	"pve-bridge-id": fits(bridgeName, "invalid bridge ID '%s'"),
	"disk-size":     fits(sizeForm, "value does not look like a valid disk size: %s"),
	"urlencoded":    fits(urlencoded, "invalid urlencoded string: %s"),
	"pve-qm-boot":   fits(bootForm, "invalid boot order '%s'"),
	"pve-tag-list": func(v string) string {
		return each(v, fits(tagName, "invalid characters in tag"))
	},
	"pve-configid-list": func(v string) string {
		return each(v, formats["pve-configid"])
	},
	"address-list": func(v string) string {
		return each(v, func(v string) string {
			if _, err := netip.ParseAddr(v); err != nil && !dnsName.MatchString(v) {
				return "value does not look like a valid IP address or a DNS name"
			}
			return ""
		})
	},
	"pve-hotplug-features": func(v string) string {
		if v == "0" || v == "1" {
			return ""
		}
		for _, one := range splitList(v) {
			switch one {
			case "network", "disk", "cpu", "memory", "usb", "cloudinit":
			default:
				return "unable to parse hotplug option"
			}
		}
		return ""
	},
	"pve-startup-order": func(v string) string {
		for part := range strings.SplitSeq(v, ",") {
			if !startForm.MatchString(part) {
				return "unable to parse startup options"
			}
		}
		return ""
	},
	"pve-cpuset":        fits(cpuSetForm, "value does not look like a valid cpuset: %s"),
	"pve-vm-cpu-conf":   fits(cpuForm, "unable to parse cpu options"),
	"pve-qm-cicustom":   fits(ciForm, "unable to parse cicustom options"),
	"pve-qm-bootdisk":   fits(diskKey, "invalid boot disk '%s'"),
	"pve-qm-ide":        fits(partsForm, "unable to parse drive options"),
	"pve-qm-hostpci":    fits(partsForm, "unable to parse PCI device options"),
	"pve-qm-rng":        fits(partsForm, "unable to parse RNG options"),
	"pve-qm-watchdog":   fits(partsForm, "unable to parse watchdog options"),
	"pve-qemu-sev-fmt":  fits(partsForm, "unable to parse SEV options"),
	"pve-qemu-tdx-fmt":  fits(partsForm, "unable to parse TDX options"),
	"storage-pair-list": func(v string) string { return each(v, fits(pairForm, "invalid storage pair '%s'")) },
	"CIDR": func(v string) string {
		if _, err := netip.ParsePrefix(v); err != nil {
			return "value does not look like a valid CIDR network"
		}
		return ""
	},
	"ipv4": func(v string) string {
		if a, err := netip.ParseAddr(v); err != nil || !a.Is4() {
			return "value does not look like a valid ipv4 address"
		}
		return ""
	},
	"ipv6": func(v string) string {
		if a, err := netip.ParseAddr(v); err != nil || !a.Is6() {
			return "value does not look like a valid ipv6 address"
		}
		return ""
	},
	"pve-ipv4-config": func(v string) string {
		if p, err := netip.ParsePrefix(v); v != "dhcp" && (err != nil || !p.Addr().Is4()) {
			return "value does not look like a valid ipv4 network configuration"
		}
		return ""
	},
	"pve-ipv6-config": func(v string) string {
		if p, err := netip.ParsePrefix(v); v != "dhcp" && v != "auto" && (err != nil || !p.Addr().Is6()) {
			return "value does not look like a valid ipv6 network configuration"
		}
		return ""
	},
	"pve-volume-id": fits(volumeLike, "unable to parse volume ID '%s'"),
	"pve-volume-id-or-qm-path": func(v string) string {
		if v == "none" || v == "cdrom" || strings.HasPrefix(v, "/") || volumeLike.MatchString(v) {
			return ""
		}
		return fmt.Sprintf("unable to parse volume ID '%s'", v)
	},
	"pve-volume-id-or-absolute-path": func(v string) string {
		if strings.HasPrefix(v, "/") || volumeLike.MatchString(v) {
			return ""
		}
		return fmt.Sprintf("unable to parse volume ID '%s'", v)
	},
}

func init() { maps.Copy(formats, vmFormats) }

// shapedFormats are formats with a name whose parts the schema does not spell out.
var shapedFormats = map[string]*composite{
	"pve-qm-ipconfig": ipconfigShape,
	"pve-qm-smbios1":  smbiosShape,
}

// fits is a format that an expression describes; %s in the words is the value.
func fits(re *regexp.Regexp, words string) func(string) string {
	return func(v string) string {
		if re.MatchString(v) {
			return ""
		}
		return strings.ReplaceAll(words, "%s", v)
	}
}
