package jobs

import (
	"context"
	"fmt"
	"time"
)

// Tick plans what fell due. It is the heartbeat by which pages know that scheduling works.
func (e *Engine) Tick(ctx context.Context) error {
	if e.opts.Ticked != nil {
		defer func(began time.Time) { e.opts.Ticked(e.now().Sub(began)) }(e.now())
	}
	if _, err := e.db.ReplanZones(ctx); err != nil {
		return fmt.Errorf("jobs: zones: %w", err)
	}
	if _, err := e.db.PlanDue(ctx); err != nil {
		return fmt.Errorf("jobs: plan: %w", err)
	}
	if _, err := e.db.ExpireSnapshots(ctx); err != nil {
		return fmt.Errorf("jobs: expiry: %w", err)
	}
	if _, err := e.db.WarnOfExpiry(ctx); err != nil {
		return fmt.Errorf("jobs: expiry: %w", err)
	}
	return e.db.Renew(ctx, true)
}

// Round does one of everything, in the order in which one feeds the next. Tests live on it; a process wakes each
// part at its own pace.
func (e *Engine) Round(ctx context.Context) error {
	if err := e.Sync(ctx); err != nil {
		return err
	}
	if err := e.Tick(ctx); err != nil {
		return err
	}
	if _, err := e.Drive(ctx); err != nil {
		return err
	}
	if err := e.MirrorNotes(ctx); err != nil {
		return err
	}
	return e.CloseWatches(ctx)
}

// CloseWatches ends the watch over operations of unknown outcome whose day is over: nothing came of them.
func (e *Engine) CloseWatches(ctx context.Context) error {
	watched, err := e.db.WatchedOperations(ctx, 1000)
	if err != nil {
		return err
	}
	for _, op := range watched {
		if e.now().Before(op.WatchUntil) {
			continue
		}
		if err := e.db.EndWatch(ctx, op); err != nil {
			return err
		}
	}
	return nil
}
