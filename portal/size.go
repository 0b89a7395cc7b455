package portal

import "fmt"

// Bytes writes a size as people read it: "41 GiB", "1.4 GiB", "513 B".
func Bytes(n int64) string {
	if n < 0 {
		n = 0
	}
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), 0
	for value >= 1023.5 && unit < 5 {
		value /= 1024
		unit++
	}
	name := [...]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}[unit]
	if value < 9.95 {
		return fmt.Sprintf("%.1f %s", value, name)
	}
	return fmt.Sprintf("%.0f %s", value, name)
}
