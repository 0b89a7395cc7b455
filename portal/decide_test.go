package portal

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestDecide goes through the engine's table row by row, and where two rows meet, sees that the first one wins.
func TestDecide(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)
	giveUp := now.Add(time.Hour)
	const upid = "UPID:pve1:00001:00001:00001:vzdump:100:x:"
	task := Operation{UPID: upid, IntentAt: now.Add(-time.Minute), ProgressAt: now.Add(-time.Minute), GiveUpAt: giveUp}
	young := Operation{IntentAt: now.Add(-SettleWindow + time.Second), GiveUpAt: giveUp}
	old := Operation{IntentAt: now.Add(-SettleWindow), GiveUpAt: giveUp}
	with := func(o Operation, edit func(*Operation)) Operation { edit(&o); return o }
	late := func(o Operation) Operation { return with(o, func(o *Operation) { o.GiveUpAt = now }) }
	looked := func(o Operation, n int) Operation { return with(o, func(o *Operation) { o.CleanLooks = n }) }

	for _, c := range []struct {
		name string
		op   Operation
		seen Sight
		want Do
	}{
		// UPID | task running
		{"running", task, Sight{Task: TaskRunning}, DoWait},
		{"running, the log grows", with(task, func(o *Operation) { o.ProgressAt = now.Add(-StuckAfter) }), Sight{Task: TaskRunning, Grew: true}, DoWait},
		{"running, silent for almost two hours", with(task, func(o *Operation) { o.ProgressAt = now.Add(-StuckAfter + time.Second) }), Sight{Task: TaskRunning}, DoWait},
		{"running, silent for two hours", with(task, func(o *Operation) { o.ProgressAt = now.Add(-StuckAfter) }), Sight{Task: TaskRunning}, DoHold},
		{"running, past its time", late(task), Sight{Task: TaskRunning}, DoWait},
		{"running, though the effect is there", task, Sight{Task: TaskRunning, Done: true}, DoWait},
		// anything | the effect is there
		{"done before anything was sent", Operation{GiveUpAt: giveUp}, Sight{Done: true}, DoNext},
		{"done, ended", task, Sight{Task: TaskEnded, Done: true}, DoNext},
		{"done, failed", task, Sight{Task: TaskFailed, Done: true}, DoNext},
		{"done, refused", task, Sight{Task: TaskRefused, Done: true}, DoNext},
		{"done, unknown", task, Sight{Task: TaskLost, Done: true}, DoNext},
		{"done, an answer was lost", young, Sight{Done: true}, DoNext},
		{"done, past its time", late(old), Sight{Done: true}, DoNext},
		// UPID | refused
		{"refused", task, Sight{Task: TaskRefused}, DoQueue},
		{"refused, past its time", late(task), Sight{Task: TaskRefused}, DoQueue},
		// UPID | failed, without effect, or unknown
		{"failed", task, Sight{Task: TaskFailed}, DoRetry},
		{"ended without effect", task, Sight{Task: TaskEnded}, DoRetry},
		{"unknown to Proxmox", task, Sight{Task: TaskLost}, DoRetry},
		{"failed, and the list is clean", task, Sight{Task: TaskFailed, Clean: true, Repeatable: true}, DoRetry},
		// UPID | can't look
		{"can't look", task, Sight{Task: TaskUnreachable}, DoWait},
		{"can't look, past its time", late(task), Sight{Task: TaskUnreachable}, DoGiveUp},
		// no intent
		{"nothing sent", Operation{GiveUpAt: giveUp}, Sight{}, DoIntend},
		{"nothing sent, past its time", Operation{GiveUpAt: now}, Sight{}, DoIntend},
		{"nothing sent, a task of somebody", Operation{GiveUpAt: giveUp}, Sight{Found: upid}, DoIntend},
		// intent, OK without a task
		{"OK without a task", with(young, func(o *Operation) { o.NoTask = true }), Sight{}, DoAgain},
		{"OK without a task, found all the same", with(young, func(o *Operation) { o.NoTask = true }), Sight{Found: upid}, DoAgain},
		// intent | found
		{"found", young, Sight{Found: upid}, DoAdopt},
		{"found late", late(old), Sight{Found: upid, Clean: true}, DoAdopt},
		{"found, repeatable", young, Sight{Found: upid, Repeatable: true, Clean: true}, DoAdopt},
		// intent, repeatable
		{"repeatable, clean", young, Sight{Repeatable: true, Clean: true}, DoForget},
		{"repeatable, not clean", young, Sight{Repeatable: true}, DoWait},
		// intent within the settle window
		{"young", young, Sight{Clean: true}, DoWait},
		{"young, looked often", looked(young, 9), Sight{Clean: true}, DoWait},
		// intent older
		{"old, first clean look", old, Sight{Clean: true}, DoWait},
		{"old, second clean look", looked(old, CleanNeeded-1), Sight{Clean: true}, DoForget},
		{"old, looked often, not clean now", looked(old, 9), Sight{}, DoWait},
		{"old, no clean look, past its time", late(looked(old, 9)), Sight{}, DoGiveUp},
		{"old, first clean look, past its time", late(old), Sight{Clean: true}, DoGiveUp},
		{"old, second clean look, past its time", late(looked(old, CleanNeeded-1)), Sight{Clean: true}, DoForget},
	} {
		if got := Decide(c.op, c.seen, now); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestDecideAlways holds what is true whatever the row and the world say.
func TestDecideAlways(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	now := time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)
	flip := func() bool { return r.IntN(2) == 0 }
	tasks := []TaskSight{TaskNone, TaskRunning, TaskEnded, TaskRefused, TaskFailed, TaskLost, TaskUnreachable}
	moves := []Do{DoWait, DoNext, DoQueue, DoRetry, DoIntend, DoAdopt, DoForget, DoAgain, DoHold, DoGiveUp}
	for range 20000 {
		o := Operation{GiveUpAt: now.Add(time.Duration(r.IntN(7200)-3600) * time.Second), CleanLooks: r.IntN(4), NoTask: flip()}
		if flip() {
			o.IntentAt = now.Add(-time.Duration(r.IntN(900)) * time.Second)
		}
		if flip() {
			o.UPID = "UPID"
		}
		seen := Sight{Task: tasks[r.IntN(len(tasks))], Done: flip(), Grew: flip(), Clean: flip(), Repeatable: flip()}
		if flip() {
			seen.Found = "UPID"
		}
		do := Decide(o, seen, now)
		open := o.UPID != "" || !o.IntentAt.IsZero()
		switch {
		case !slices.Contains(moves, do):
			t.Fatalf("%q is no move: %+v %+v", do, o, seen)
		case do == DoIntend && open:
			t.Fatalf("sends although a request may be under way: %+v %+v", o, seen)
		case do == DoNext && !seen.Done:
			t.Fatalf("goes on without the effect: %+v %+v", o, seen)
		case (do == DoForget || do == DoGiveUp && o.UPID == "") && seen.Found != "":
			t.Fatalf("%s although the request was found: %+v %+v", do, o, seen)
		case do == DoForget && !seen.Clean:
			t.Fatalf("forgets without a clean look: %+v %+v", o, seen)
		case do == DoForget && !seen.Repeatable && now.Sub(o.IntentAt) < SettleWindow:
			t.Fatalf("forgets within the settle window: %+v %+v", o, seen)
		case do == DoGiveUp && now.Before(o.GiveUpAt):
			t.Fatalf("gives up early: %+v %+v", o, seen)
		case do == DoQueue && seen.Task != TaskRefused:
			t.Fatalf("queues what wasn't refused: %+v %+v", o, seen)
		}
	}
}

// TestKinds holds what each state and kind means for others.
func TestKinds(t *testing.T) {
	t.Parallel()
	for s, want := range map[State][2]bool{
		StateQueued: {false, false}, StateRunning: {false, true}, StateHeld: {false, true},
		StateSucceeded: {true, false}, StateFailed: {true, false}, StateCancelled: {true, false},
	} {
		if got := [2]bool{s.Final(), s.Active()}; got != want {
			t.Errorf("%s: final, active = %v", s, got)
		}
	}
	for k, want := range map[Kind]bool{KindBackup: true, KindDelete: false, KindProtect: false} {
		if k.Exclusive() != want {
			t.Errorf("%s exclusive: %t", k, k.Exclusive())
		}
	}
	if (Operation{}).Scheduled() || !(Operation{SlotDate: "2026-11-20"}).Scheduled() {
		t.Error("an operation is scheduled exactly when it has a slot")
	}
}
