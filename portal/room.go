package portal

import "slices"

// Room says whether a manual backup has a place, and what could be given for it.
type Room struct {
	Allowed bool
	Reason  Text   // why not; a full sentence
	Offer   *Copy  // what "Back up now, then remove the oldest" would remove; nil = nothing may go
	Choices []Copy // all that may go, best victim first
	Counted int
}

// ManualRoom tells whether a manual backup may be made: one more than the counted copies and the running
// backups that will count has to fit the quota. A manual backup removes nothing unless the client chose it.
// What is offered goes only after the new copy is good, so it may be the newest.
func ManualRoom(copies []Copy, quota, running int) Room {
	counted := Counted(copies)
	room := Room{Counted: len(counted), Choices: candidates(counted)}
	switch {
	case quota <= 0:
		room.Choices = nil
		room.Reason = "Your package includes no new backups."
		return room
	case len(counted)+running < quota:
		room.Allowed, room.Choices = true, nil
		return room
	}
	if len(room.Choices) > 0 {
		room.Offer = &room.Choices[0]
	}
	room.Reason = Say("%s, and a manual backup removes nothing by itself.", placesUsed(len(counted)+running, quota))
	if len(counted) < quota {
		room.Reason = Say("%s with the backup that is being made.", placesUsed(quota, quota))
	}
	if room.Offer == nil && len(counted) > 0 {
		if slices.ContainsFunc(counted, func(c Copy) bool { return !c.Protected }) {
			room.Reason = Sentences(room.Reason, "Those that are not protected are in use right now.")
		} else {
			room.Reason = Sentences(room.Reason, "Every one of them is protected: end the protection of one first.")
		}
	}
	return room
}

// RemovalWarning says what a person should know before removing this copy by hand, or "".
func RemovalWarning(copies []Copy, uid string) Text {
	i := slices.IndexFunc(copies, func(c Copy) bool { return c.UID == uid })
	if i < 0 || !copies[i].Good() {
		return ""
	}
	others := slices.DeleteFunc(slices.Clone(copies), func(c Copy) bool { return c.UID == uid })
	next := Newest(others)
	switch {
	case next == nil:
		return "This is your only good backup. Without it, nothing of this machine could be restored."
	case older(*next, copies[i]) < 0:
		return Say("This is your newest good backup. The one before it is %s older.", Duration(copies[i].Start().Sub(next.Start())))
	}
	return ""
}
