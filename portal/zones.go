package portal

import (
	"archive/zip"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// Zone data comes with the binary, so that a schedule means the same on every host. It is the archive of the
// Go release that the product is built with, each file one zone.
//
//go:generate install -m 644 $GOROOT/lib/time/zoneinfo.zip zoneinfo.zip
//go:embed zoneinfo.zip
var zoneArchive string

var zoneFiles = sync.OnceValue(func() map[string]*zip.File {
	files := map[string]*zip.File{}
	archive, err := zip.NewReader(strings.NewReader(zoneArchive), int64(len(zoneArchive)))
	if err != nil {
		return files
	}
	for _, f := range archive.File {
		if !strings.HasSuffix(f.Name, "/") {
			files[f.Name] = f
		}
	}
	return files
})

var zoneCache sync.Map // name → *time.Location

// Zone gives the time zone with exactly this IANA name, from the embedded data alone. "" and "Local" are no
// zones. It may be called from many goroutines.
func Zone(name string) (*time.Location, error) {
	if loc, ok := zoneCache.Load(name); ok {
		return loc.(*time.Location), nil
	}
	file := zoneFiles()[name]
	if name == "" {
		return nil, Invalid("zone", "Choose a time zone, such as Europe/Berlin.")
	}
	if file == nil {
		return nil, Invalid("zone", "%s is no time zone that we know. Choose one from the list, such as Europe/Berlin.", quoted(name))
	}
	data, err := readZone(file)
	if err != nil {
		return nil, &Error{Code: CodeUnavailable, Field: "zone", Sentence: "This time zone can't be read. Our team has been told.", Err: err}
	}
	loc, err := time.LoadLocationFromTZData(name, data)
	if err != nil {
		return nil, &Error{Code: CodeUnavailable, Field: "zone", Sentence: "This time zone can't be read. Our team has been told.", Err: err}
	}
	kept, _ := zoneCache.LoadOrStore(name, loc)
	return kept.(*time.Location), nil
}

func readZone(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// ZoneVersion is a short name of the embedded zone data. Due instants that were computed with another version
// have to be computed anew.
var ZoneVersion = sync.OnceValue(func() string {
	sum := sha256.Sum256([]byte(zoneArchive))
	return hex.EncodeToString(sum[:6])
})

// AllZones gives every name that Zone knows, sorted, old spellings and abbreviations included.
func AllZones() []string {
	names := make([]string, 0, len(zoneFiles()))
	for name := range zoneFiles() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Zones gives the names for a picker, sorted: one Region/City for each place, and UTC.
func Zones() []string { return slices.Clone(pickerZones()) }

var pickerZones = sync.OnceValue(func() []string {
	var names []string
	for _, name := range AllZones() {
		region, _, isPlace := strings.Cut(name, "/")
		if name == "UTC" || isPlace && slices.Contains(regions, region) && !slices.Contains(oldNames, name) {
			names = append(names, name)
		}
	}
	return names
})

var regions = []string{
	"Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific",
}

// oldNames are spellings that the zone database keeps for the sake of old settings; each means the same as
// another name that the picker has.
var oldNames = strings.Fields(`
	Africa/Asmera Africa/Timbuktu
	America/Argentina/ComodRivadavia America/Atka America/Buenos_Aires America/Catamarca America/Coral_Harbour
	America/Cordoba America/Ensenada America/Fort_Wayne America/Godthab America/Indianapolis America/Jujuy
	America/Knox_IN America/Louisville America/Mendoza America/Montreal America/Nipigon America/Pangnirtung
	America/Porto_Acre America/Rainy_River America/Rosario America/Santa_Isabel America/Shiprock
	America/Thunder_Bay America/Virgin America/Yellowknife
	Antarctica/South_Pole
	Asia/Ashkhabad Asia/Calcutta Asia/Choibalsan Asia/Chongqing Asia/Chungking Asia/Dacca Asia/Harbin
	Asia/Istanbul Asia/Kashgar Asia/Katmandu Asia/Macao Asia/Rangoon Asia/Saigon Asia/Tel_Aviv Asia/Thimbu
	Asia/Ujung_Pandang Asia/Ulan_Bator
	Atlantic/Faeroe Atlantic/Jan_Mayen
	Australia/ACT Australia/Canberra Australia/Currie Australia/LHI Australia/NSW Australia/North
	Australia/Queensland Australia/South Australia/Tasmania Australia/Victoria Australia/West Australia/Yancowinna
	Europe/Belfast Europe/Kiev Europe/Nicosia Europe/Tiraspol Europe/Uzhgorod Europe/Zaporozhye
	Pacific/Enderbury Pacific/Johnston Pacific/Ponape Pacific/Samoa Pacific/Truk Pacific/Yap`)

// No zone has ever been further from UTC than this, so whatever decides about a wall time lies so close to it.
const farthestOffset = 16 * 3600

// instant gives the moment at which the wall clock of loc shows the date and time, by rule 1 of the schedule
// rules: of a time that occurs twice the first; for a time inside a gap the first moment after the gap on the
// same date, or else the last whole minute before the gap on that date; for a date that the zone skips, none.
//
// It walks the stretches of constant offset around the wanted wall time, because time.Date promises nothing
// about times that occur twice or not at all.
func instant(loc *time.Location, date Date, at TimeOfDay) (time.Time, bool) {
	wall := date.midnight().Unix() + int64(at)*60 // the wanted wall time, as if it were UTC

	var gap, before, offset int64 // the first gap around the wall time: its instant, and the offset before it
	inGap := false
	from := wall - farthestOffset
	for start := from; start <= wall+farthestOffset; {
		previous, end := offset, int64(0)
		offset, end = stretch(loc, start)
		if t := wall - offset; t >= start && t < end {
			return time.Unix(t, 0).In(loc), true
		}
		if !inGap && start > from && start+previous <= wall && wall < start+offset {
			inGap, gap, before = true, start, previous
		}
		start = end
	}
	if !inGap {
		return time.Time{}, false
	}
	if t := time.Unix(gap, 0).In(loc); DateOf(t) == date {
		return t, true
	}
	last := gap + before - 1 // the last second on the wall before the gap
	last -= (last%60 + 60) % 60
	if t := time.Unix(last-before, 0).In(loc); DateOf(t) == date {
		return t, true
	}
	return time.Time{}, false
}

// stretch gives the offset that holds at the unix second t, and a second up to which it surely holds.
func stretch(loc *time.Location, t int64) (offset, end int64) {
	at := time.Unix(t, 0).In(loc)
	_, off := at.Zone()
	_, until := at.ZoneBounds()
	switch {
	case until.IsZero():
		return int64(off), 1<<62 - 1
	case until.Unix() > t:
		return int64(off), until.Unix()
	default:
		// For years that only the zone's rule covers, Go's bounds are those of a year of 365 days: on the last
		// day of a leap year the end lies behind us. No rule changes clocks on that day.
		return int64(off), t + 900
	}
}
