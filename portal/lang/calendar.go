package lang

import "strings"

// calendars put a language's names of days and months in place of the English ones. Longer names come first.
var calendars = map[string]*strings.Replacer{
	German: strings.NewReplacer(
		"Monday", "Montag", "Tuesday", "Dienstag", "Wednesday", "Mittwoch", "Thursday", "Donnerstag",
		"Friday", "Freitag", "Saturday", "Samstag", "Sunday", "Sonntag",
		"January", "Januar", "February", "Februar", "March", "März", "June", "Juni", "July", "Juli",
		"October", "Oktober", "December", "Dezember",
		"April", "April", "August", "August", "September", "September", "November", "November",
		"Mon", "Mo", "Tue", "Di", "Wed", "Mi", "Thu", "Do", "Fri", "Fr", "Sat", "Sa", "Sun", "So",
		"Mar", "März", "May", "Mai", "Oct", "Okt", "Dec", "Dez",
	),
}
