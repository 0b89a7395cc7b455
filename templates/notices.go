package templates

import "stowage/portal"

// The banners that last, in the portal's words. since and until are times as the page shows them ("02:09").

// NoticeUnreachable says that the host does not answer.
func NoticeUnreachable(since portal.Text) Notice {
	return Notice{
		Kind: "unreachable", Tone: ToneWarn,
		Title:    portal.Say("We can't reach your host since %s.", since),
		Sentence: "You see its state from then. Scheduled backups will be caught up.",
	}
}

// NoticeTick says that the scheduler has not run.
func NoticeTick(since portal.Text) Notice {
	return Notice{
		Kind: "tick", Tone: ToneWarn,
		Title:    portal.Say("Automatic backups have been standing still since %s.", since),
		Sentence: "Our team has been told. What is due will be caught up; Backup now works.",
	}
}

// NoticePaused says that automatic backups pause, why and until when; until may be empty.
func NoticePaused(reason, until portal.Text) Notice {
	n := Notice{Kind: "paused", Tone: ToneInfo, Title: portal.Say("Automatic backups pause: %s.", reason), Sentence: "Your copies stay as they are."}
	if until != "" {
		n.Title = portal.Say("Automatic backups pause until %s: %s.", until, reason)
	}
	return n
}

// NoticeSuspended says that the service is suspended.
func NoticeSuspended() Notice {
	return Notice{
		Kind: "suspended", Tone: ToneWarn, Title: "This service is suspended.",
		Sentence: "You can look, but nothing can be changed and no backups are taken. Your copies are kept.",
	}
}

// NoticeGone says that the machine is no longer there.
func NoticeGone() Notice {
	return Notice{
		Kind: "gone", Tone: ToneBad, Title: "We can't find this machine on its host any more.",
		Sentence: "Nothing is sent to the host for it. Your copies are kept, and our team has been told.",
	}
}

// NoticeReplaced says that another machine stands where this one was.
func NoticeReplaced() Notice {
	return Notice{
		Kind: "replaced", Tone: ToneBad, Title: "Another machine stands in this one's place.",
		Sentence: "So that nothing is mixed up, nothing is sent to the host. Your copies are kept, and our team has been told.",
	}
}

// NoticeLocked says that Proxmox holds a lock on the machine; what says for what ("backup").
func NoticeLocked(what, since portal.Text) Notice {
	return Notice{
		Kind: "locked", Tone: ToneInfo, Title: portal.Say("Your machine is locked on its host (%s) since %s.", what, since),
		Sentence: "Backups wait until the lock is gone. If it stays, our team looks after it.",
	}
}

// NoticeStaleLock says that a lock was left behind by work that is dead.
func NoticeStaleLock(what, since portal.Text) Notice {
	return Notice{
		Kind: "locked", Tone: ToneWarn, Title: portal.Say("Your machine is locked on its host (%s) since %s.", what, since),
		Sentence: "The work behind it is over, and the lock was left behind. Our team has been told and releases it; until then backups wait, and nothing can be done with the machine.",
	}
}
