package jobs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-co-op/gocron/v2"

	"stowage/store"
)

// paces at which the parts are woken. What is due stands in the database; waking late loses nothing.
const (
	driveEvery    = 500 * time.Millisecond
	watchEvery    = time.Second
	tickEvery     = 15 * time.Second
	syncEvery     = 10 * time.Second
	notesEvery    = 5 * time.Second
	listEvery     = 10 * time.Minute
	recoverEvery  = time.Minute // listings while recovering: two are needed before anything is deleted
	configsEvery  = time.Minute
	cleanEvery    = time.Hour
	mailEvery     = 5 * time.Second
	checkEvery    = 5 * time.Second // looks which check is due; a server's own comes every hour
	leaseRetry    = 2 * time.Second
	stopAfter     = 8 * time.Second
	configsAtOnce = 10 // of each server
)

// Run drives everything until ctx ends: it waits for the lease, then wakes each part at its pace. It returns
// when the turns in hand are done or parked, within ten seconds.
func (e *Engine) Run(ctx context.Context) error {
	lease, err := e.awaitLease(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if err := lease.Release(); err != nil {
			e.log.Warn("giving the lease back", "error", err)
		}
	}()
	scheduler, err := gocron.NewScheduler(gocron.WithStopTimeout(stopAfter))
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	lost := make(chan error, 1)
	for _, job := range []struct {
		name  string
		every time.Duration
		do    func(context.Context) error
	}{
		{"sync", syncEvery, e.Sync},
		{"list", recoverEvery, e.listWhenDue},
		{"tick", tickEvery, e.Tick},
		{"drive", driveEvery, func(ctx context.Context) error { _, err := e.Drive(ctx); return err }},
		{"watch", watchEvery, e.Watch},
		{"notes", notesEvery, e.MirrorNotes},
		{"archives", notesEvery, e.ReadArchives},
		{"configs", configsEvery, func(ctx context.Context) error { return e.CheckConfigs(ctx, configsAtOnce) }},
		{"check", checkEvery, e.CheckAll},
		{"mail", mailEvery, e.SendMail},
		{"clean", cleanEvery, e.Clean},
	} {
		_, err := scheduler.NewJob(gocron.DurationJob(job.every), gocron.NewTask(func() {
			err := e.safely(ctx, job.do)
			switch {
			case err == nil || ctx.Err() != nil:
			case errors.Is(err, store.ErrStale) && job.name == "tick":
				select {
				case lost <- errors.New("jobs: another process has taken the lease"):
				default:
				}
			default:
				e.log.ErrorContext(ctx, "job failed", "job", job.name, "error", err)
			}
		}), gocron.WithSingletonMode(gocron.LimitModeReschedule), gocron.WithStartAt(gocron.WithStartImmediately()), gocron.WithName(job.name))
		if err != nil {
			return errors.Join(fmt.Errorf("jobs: %w", err), scheduler.Shutdown())
		}
	}
	scheduler.Start()
	select {
	case <-ctx.Done():
		err = nil
	case err = <-lost:
	}
	if stop := scheduler.Shutdown(); stop != nil && !errors.Is(stop, gocron.ErrStopJobsTimedOut) {
		err = errors.Join(err, stop)
	}
	return err
}

// safely keeps a panic of one job from taking the process down.
func (e *Engine) safely(ctx context.Context, do func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return do(ctx)
}

// awaitLease takes the lease, waiting while another process on this database has it.
func (e *Engine) awaitLease(ctx context.Context) (*store.Lease, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	holder := fmt.Sprintf("%s/%d", host, os.Getpid())
	said := false
	for {
		lease, err := e.db.TakeLease(ctx, holder)
		if err == nil || !errors.Is(err, store.ErrLeaseHeld) {
			return lease, err
		}
		if !said {
			e.log.InfoContext(ctx, "another process drives this database; standing by")
			said = true
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(leaseRetry):
		}
	}
}

// listWhenDue lists archives every ten minutes, and every minute while recovery waits for it.
func (e *Engine) listWhenDue(ctx context.Context) error {
	pulse, err := e.db.Pulse(ctx)
	if err != nil {
		return err
	}
	if e.now().Sub(e.listedAt) < listEvery && !pulse.Recovering && !e.listedAt.IsZero() {
		return nil
	}
	e.listedAt = e.now()
	return errors.Join(e.SyncArchives(ctx), e.CloseWatches(ctx))
}

// Clean removes what is kept for a while only: old slots and ended operations, task logs, spent sessions.
func (e *Engine) Clean(ctx context.Context) error {
	history, err := e.db.SettingInt(ctx, store.HistoryDays)
	if err != nil {
		return err
	}
	logs, err := e.db.SettingInt(ctx, store.TaskLogDays)
	if err != nil {
		return err
	}
	if err := e.expireSafety(ctx); err != nil {
		return err
	}
	now := e.now()
	return e.db.Clean(ctx, now.AddDate(0, 0, -history), now.AddDate(0, 0, -logs))
}
