package pve

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// VzdumpLog is what the log of a backup task of one machine tells, half-way or at its end.
type VzdumpLog struct {
	Mark    string // the value of --notes-template in the first line: there before any archive is
	Storage string // the value of --storage there
	VMID    int    // the machine being backed up; 0 until it says so
	Waiting bool   // waits for another backup on this node

	Archive string // the volid, "" until it says where it writes
	Path    string // as logged: a file, or vm/100/2026-11-20T09:38:53Z on a Proxmox Backup Server

	Mode            string // as done, not as asked: a stopped machine is always backed up in mode stop
	GuestWasStopped bool
	FSFreeze        FSFreeze
	Disks           []VzdumpDisk
	Diskless        bool // no disk went in at all: an archive of half a kilobyte that restores to nothing

	Percent          int   // of the data read, 0 to 100
	TransferredBytes int64 // read so far, as precise as the log's three digits
	TotalBytes       int64
	ReadRate         int64 // bytes/s, of the last line that tells it
	WriteRate        int64
	SizeBytes        int64 // the archive's size, as precise as the log's three digits; 0 on a Proxmox Backup Server

	Warnings    []string
	ErrorText   string // why the backup failed; "" while nothing failed
	StorageFull bool   // something wrote into a full file system; ErrorText speaks of a broken pipe then
	Finished    bool   // the machine's backup is complete. Its notes and protection may still be to be written
	Ended       bool   // the task has written its last line
}

// FSFreeze says whether the guest's file systems stood still at the moment of the copy.
type FSFreeze string

// How it can have gone.
const (
	FreezeUnknown FSFreeze = ""
	Frozen        FSFreeze = "frozen"  // through the guest agent
	NotFrozen     FSFreeze = "skipped" // no agent, switched off, or not running
	FreezeFailed  FSFreeze = "failed"  // tried in vain; the backup goes on all the same
)

// VzdumpDisk is a drive that went into the backup, or was left out.
type VzdumpDisk struct {
	Key       string
	Volid     string
	SizeBytes int64 // 0 where the log doesn't say
	Included  bool
	Why       string // for one left out, as Proxmox words it: backup=no
}

// Consistent tells whether the copy shows file systems as after a clean stop or a freeze. Otherwise it is like after a
// power cut, which journals survive and some databases regret. Meaningful once the log says how (Mode is known).
func (l VzdumpLog) Consistent() bool {
	return l.GuestWasStopped || l.Mode == "stop" || l.FSFreeze == Frozen
}

const newJob = "starting new backup job: vzdump "

var (
	logStarting = regexp.MustCompile(`^Starting Backup of VM (\d{1,9}) \(`)
	logIncluded = regexp.MustCompile(`^include disk '([^']+)' '([^']+)'(?: (\S+))?`)
	logExcluded = regexp.MustCompile(`^exclude disk '([^']+)' '([^']+)'(?: \((.*)\))?`)
	logArchive  = regexp.MustCompile(`^creating (?:vzdump|Proxmox Backup Server) archive '([^']+)'`)
	logProgress = regexp.MustCompile(`^\s*(\d{1,3})% \(([\d.]+ \w+) of ([\d.]+ \w+)\) in [^,]*(?:, read: ([\d.]+ \w+)/s)?(?:, write: ([\d.]+ \w+)/s)?`)
	logSize     = regexp.MustCompile(`^archive file size: (\S+)`)
	logTransfer = regexp.MustCompile(`^transferred ([\d.]+ \w+) in `)
	logFailed   = regexp.MustCompile(`^Backup of VM \d+ failed - (.*)`)
	logJob      = regexp.MustCompile(`^Backup job failed - (.*)`)
	logNoFreeze = regexp.MustCompile(`^skipping guest(?: filesystem freeze|-agent 'fs-freeze')`)
)

// ParseVzdumpLog reads a backup task's log, whole or in part. Lines it doesn't know are skipped; the words of 8.4 and
// 9.x differ in places and both are known.
func ParseVzdumpLog(lines []LogLine) VzdumpLog {
	var l VzdumpLog
	var jobError, taskError, lastError string
	started := false
	last := lastProgress(lines)
	for i, line := range lines {
		if i < last && isProgress(line.Text) {
			continue // only the last one counts, and a log has a hundred of them
		}
		kind, said, _ := strings.Cut(line.Text, ": ")
		l.StorageFull = l.StorageFull || strings.Contains(line.Text, "No space left on device")
		switch kind {
		case "INFO":
			l.info(said)
			started = started || strings.HasPrefix(said, "started backup task")
		case "WARN":
			l.Warnings = append(l.Warnings, strings.TrimSpace(said))
		case "ERROR":
			if m := logFailed.FindStringSubmatch(said); m != nil {
				l.ErrorText = strings.TrimSpace(m[1])
			} else if m := logJob.FindStringSubmatch(said); m != nil {
				jobError = strings.TrimSpace(m[1])
			} else if strings.Contains(said, "guest-fsfreeze-freeze") {
				l.FSFreeze = FreezeFailed // no reason for the backup to fail
			} else if !strings.Contains(said, "guest-fsfreeze-thaw") {
				lastError = strings.TrimSpace(said)
			}
		case "TASK ERROR":
			taskError, l.Ended = strings.TrimSpace(said), true
		case "TASK OK", "TASK WARNINGS":
			l.Ended = true
		}
	}
	if taskError == "job errors" || taskError == "unexpected status" {
		taskError = "" // says only that something is wrong
	}
	if l.Finished {
		lastError, l.Percent = "", 100 // complained about something else, a notification perhaps
	} else if !l.Ended && l.VMID != 0 {
		lastError = "" // the backup may survive it
	}
	l.ErrorText = cmp.Or(l.ErrorText, jobError, lastError, taskError)
	l.Waiting = l.Waiting && !l.Ended && l.ErrorText == ""
	if started && l.FSFreeze == FreezeUnknown && !l.GuestWasStopped {
		l.FSFreeze = NotFrozen // 8.4 says nothing about a machine without an agent
	}
	if l.Path != "" {
		l.Archive, _ = VolidOfPath(l.Storage, l.Path)
	}
	return l
}

// isProgress tells whether a line may say how far the backup is: it begins with a percentage.
func isProgress(text string) bool {
	said, ok := strings.CutPrefix(text, "INFO: ")
	said = strings.TrimLeft(said, " \t")
	return ok && said != "" && said[0] >= '0' && said[0] <= '9' && strings.Contains(said, "% (")
}

// lastProgress gives the place of the last line that says how far the backup is, 0 where there is none.
func lastProgress(lines []LogLine) int {
	for i, line := range slices.Backward(lines) {
		if isProgress(line.Text) && logProgress.MatchString(strings.TrimPrefix(line.Text, "INFO: ")) {
			return i
		}
	}
	return 0
}

func (l *VzdumpLog) info(said string) {
	switch {
	case strings.HasPrefix(said, newJob):
		args := shellWords(strings.TrimPrefix(said, newJob))
		l.Waiting = false
		for i := 0; i+1 < len(args); i++ {
			switch args[i] {
			case "--notes-template":
				l.Mark = args[i+1]
			case "--storage":
				l.Storage = args[i+1]
			}
		}
	case strings.HasPrefix(said, "trying to get global lock"):
		l.Waiting = true
	case strings.HasPrefix(said, "got global lock"):
		l.Waiting = false
	case strings.HasPrefix(said, "status = "):
		l.GuestWasStopped = said == "status = stopped"
	case strings.HasPrefix(said, "backup mode: "):
		l.Mode = strings.TrimPrefix(said, "backup mode: ")
	case strings.HasPrefix(said, "issuing guest-agent 'fs-freeze'"), strings.HasPrefix(said, "issuing guest agent 'fs-freeze'"):
		l.FSFreeze = Frozen // unless an error follows
	case logNoFreeze.MatchString(said):
		l.FSFreeze = NotFrozen
	case strings.HasPrefix(said, "backup contains no disks"), strings.HasPrefix(said, "starting diskless backup"):
		l.Diskless = true
	case strings.HasPrefix(said, "Finished Backup of VM "):
		l.Finished = true
	default:
		l.figures(said)
	}
}

func (l *VzdumpLog) figures(said string) {
	if m := logStarting.FindStringSubmatch(said); m != nil {
		l.VMID = atoi(m[1])
	} else if m := logIncluded.FindStringSubmatch(said); m != nil {
		size, _ := ParseSize(m[3])
		l.Disks = append(l.Disks, VzdumpDisk{Key: m[1], Volid: m[2], SizeBytes: size, Included: true})
	} else if m := logExcluded.FindStringSubmatch(said); m != nil {
		l.Disks = append(l.Disks, VzdumpDisk{Key: m[1], Volid: m[2], Why: m[3]})
	} else if m := logArchive.FindStringSubmatch(said); m != nil {
		l.Path = m[1]
	} else if m := logProgress.FindStringSubmatch(said); m != nil {
		l.Percent = min(atoi(m[1]), 100)
		l.TransferredBytes, _ = parseHumanSize(m[2])
		l.TotalBytes, _ = parseHumanSize(m[3])
		l.ReadRate, _ = parseHumanSize(m[4])
		l.WriteRate, _ = parseHumanSize(m[5])
	} else if m := logTransfer.FindStringSubmatch(said); m != nil {
		if n, ok := parseHumanSize(m[1]); ok {
			l.TransferredBytes = n
			l.TotalBytes = max(l.TotalBytes, n)
		}
	} else if m := logSize.FindStringSubmatch(said); m != nil {
		l.SizeBytes, _ = parseHumanSize(m[1])
	}
}

// Refusal tells whether a backup task that ended did nothing but meet a lock, and which: the machine's (Locked) or a
// lock file's (LockFile, also another backup on the node). Such a task has changed nothing and may be sent again later.
func Refusal(exit string, log VzdumpLog) (Reason, bool) {
	if succeeded(exit) || log.Finished {
		return "", false
	}
	for _, said := range []string{log.ErrorText, exit} {
		switch class, reason, _ := meaningOf(said); {
		case class != Refused, strings.Contains(said, "interrupted by signal"): // somebody stopped it while it waited
		case reason == Locked, reason == LockFile:
			return reason, true
		}
	}
	return "", false
}

// shellWords splits a command line as a POSIX shell does, without expansion: Proxmox quotes what isn't plain.
func shellWords(s string) []string {
	var out []string
	var word strings.Builder
	in, quoted, escaped := false, false, false
	for _, r := range s {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case quoted:
			if r == '\'' {
				quoted = false
			} else {
				word.WriteRune(r)
			}
		case r == '\'':
			in, quoted = true, true
		case r == '\\':
			in, escaped = true, true
		case r == ' ' || r == '\t':
			if in {
				out = append(out, word.String())
				word.Reset()
				in = false
			}
		default:
			in = true
			word.WriteRune(r)
		}
	}
	if in {
		out = append(out, word.String())
	}
	return out
}
