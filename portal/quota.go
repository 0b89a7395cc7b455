package portal

import "fmt"

// Counter is the counter of the backups page in its parts.
type Counter struct {
	Count    int // complete copies
	Quota    int
	Running  int // being made
	Over     int // copies above the quota
	Full     bool
	Hidden   bool // nothing is sold and nothing is kept: the page is not offered
	ReadOnly bool // quota 0, but copies exist: list and restore stay, nothing new is made
}

// CounterOf counts a service's copies against its quota. running is how many backups are being made.
func CounterOf(copies []Copy, quota, running int) Counter {
	c := Counter{Count: len(Counted(copies)), Quota: max(quota, 0), Running: running}
	if c.Quota == 0 {
		c.ReadOnly = hasRestorable(copies)
		c.Hidden = !c.ReadOnly && running == 0
		return c
	}
	c.Full = c.Count >= c.Quota
	c.Over = max(c.Count-c.Quota, 0)
	return c
}

// Text gives "3/10".
func (c Counter) Text() string { return fmt.Sprintf("%d/%d", c.Count, c.Quota) }

// Remove gives "remove 7" where there are more copies than the quota, else "".
func (c Counter) Remove() Text {
	if c.Over == 0 {
		return ""
	}
	return Say("remove %d", c.Over)
}

// Progress gives "1 in progress" while backups are being made, else "".
func (c Counter) Progress() Text {
	if c.Running == 0 {
		return ""
	}
	return Count(c.Running, "%d in progress", "%d in progress")
}

// Words gives all parts: "3/10", "10/3, remove 7", "3/10, 1 in progress".
func (c Counter) Words() Text {
	parts := []Text{Verbatim(c.Text())}
	for _, part := range []Text{c.Remove(), c.Progress()} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return join(", ", parts)
}

// String gives all parts in English.
func (c Counter) String() string { return c.Words().String() }

// QuotaZero tells what a quota of 0 means for a service: no new backups and no slots; the page, the list and
// restore stay while copies exist (show), and the sentence says so.
func QuotaZero(copies []Copy) (show bool, sentence Text) {
	if !hasRestorable(copies) {
		return false, "Your package includes no backups."
	}
	return true, "Your package includes no new backups. Those you have stay, and you can restore them."
}

// hasRestorable tells whether there is anything to list: complete copies of ours, those made before a restore
// included.
func hasRestorable(copies []Copy) bool {
	for _, c := range copies {
		if (c.Class == ClassGood || c.Class == ClassSuspect) && c.Origin != OriginExternal {
			return true
		}
	}
	return false
}
