package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"stowage/portal"
	"stowage/pve"
	"stowage/store"
)

// Options say what an engine works with.
type Options struct {
	DB  *store.DB
	Now func() time.Time
	Log *slog.Logger
	// Transport, where it gives one, carries the requests to a server instead of the network. Tests and the demo
	// put a simulator there.
	Transport func(portal.Server) http.RoundTripper
	// Observe is told of every request to Proxmox.
	Observe func(server string, c pve.Call)
	// Ticked is told how long each tick of the scheduler took.
	Ticked func(time.Duration)
	// RetryPause is how long a question to Proxmox waits before it is asked again; 0 means pve's own.
	RetryPause time.Duration
	// Workers is how many operations are worked on at once; 0 means 8, 1 makes every run the same.
	Workers int
	// Mail says how mail is sent; nil: messages stay in the outbox.
	Mail *Mail
}

// Engine drives operations, plans schedules and keeps the database in step with Proxmox.
type Engine struct {
	db       *store.DB
	now      func() time.Time
	log      *slog.Logger
	opts     Options
	mu       sync.Mutex
	links    map[int64]*link
	working  map[int64]bool // operations that a worker has in hand
	watch    watch
	listedAt time.Time     // only touched by the one job that lists
	configAt map[int64]int // by server: the machine whose config was read last; only touched by the one job that reads them

	mailAfter time.Time // only touched by the one job that sends mail
}

// New makes an engine. Its methods do nothing by themselves: Run, or a test, calls them.
func New(o Options) *Engine {
	if o.Workers == 0 {
		o.Workers = 8
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Engine{db: o.DB, now: o.Now, log: o.Log, opts: o, links: map[int64]*link{}, working: map[int64]bool{}, configAt: map[int64]int{}, watch: watch{live: map[int64]time.Time{}, next: map[int64]int{}, read: map[int64]readAt{}}}
}

// Limits gives the admission limits that the settings hold.
func (e *Engine) Limits(ctx context.Context) portal.Limits {
	l := portal.DefaultLimits
	if n, err := e.db.SettingInt(ctx, store.PerStorage); err == nil && n > 0 {
		l.PerStorage = n
	}
	if n, err := e.db.SettingInt(ctx, store.PerServer); err == nil && n > 0 {
		l.PerServer = n
	}
	return l
}

// turnsAtOnce bounds the turns of one round: whoever presses a button waits for no more than those.
const turnsAtOnce = 250

// Drive makes one round: ends what may not start any more, starts what may, and takes one turn at every
// operation whose time has come. It gives how many turns were taken.
func (e *Engine) Drive(ctx context.Context) (turns int, err error) {
	if _, err := e.db.ExpireQueued(ctx); err != nil {
		return 0, err
	}
	if _, err := e.db.Claim(ctx, e.Limits(ctx)); err != nil {
		return 0, err
	}
	due, err := e.db.DueTurns(ctx, e.now(), turnsAtOnce)
	if err != nil {
		return 0, err
	}
	if e.opts.Workers == 1 {
		for _, id := range due {
			e.Turn(ctx, id)
		}
		return len(due), nil
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, e.opts.Workers)
	for _, id := range due {
		if ctx.Err() != nil {
			break
		}
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; wg.Done() }()
			e.Turn(ctx, id)
		}()
	}
	wg.Wait()
	return len(due), ctx.Err()
}

// movesAtOnce bounds how many turns follow one another without a rest.
const movesAtOnce = 12

// Turn takes a turn at an operation: look, decide, one move, save. Where that ends a step, the next turn follows at once:
// between two steps nothing has to be waited for. It never fails for the caller: what goes wrong is kept with the
// operation and tried again. A panic inside parks the operation after five in a row.
func (e *Engine) Turn(ctx context.Context, id int64) {
	e.mu.Lock()
	if e.working[id] {
		e.mu.Unlock()
		return
	}
	e.working[id] = true
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.working, id)
		e.mu.Unlock()
	}()
	more, err := true, error(nil)
	for moves := 0; more && err == nil && moves < movesAtOnce; moves++ {
		more, err = e.guardedTurn(ctx, id)
	}
	switch {
	case err == nil, ctx.Err() != nil:
	case errors.Is(err, store.ErrStale):
		e.log.DebugContext(ctx, "operation changed meanwhile", "operation_id", id)
	default:
		e.log.ErrorContext(ctx, "turn failed", "operation_id", id, "error", err)
	}
}

// guardedTurn takes one turn. More says that the next one may follow at once.
func (e *Engine) guardedTurn(ctx context.Context, id int64) (more bool, err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		e.log.ErrorContext(ctx, "panic in a step", "operation_id", id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		more, err = false, e.afterPanic(ctx, id, p)
	}()
	op, err := e.db.Operation(ctx, id)
	if err != nil {
		return false, err
	}
	if op.State != portal.StateRunning || op.RunAfter.After(e.now()) {
		return false, nil
	}
	t, err := e.begin(ctx, op)
	if err != nil {
		return false, err
	}
	err = t.take()
	return t.more, err
}

// afterPanic counts a panic, and holds the operation after the fifth in a row.
func (e *Engine) afterPanic(ctx context.Context, id int64, p any) error {
	op, err := e.db.Operation(ctx, id)
	if err != nil || op.State != portal.StateRunning {
		return err
	}
	op.Failures++
	op.RunAfter = e.now().Add(time.Duration(op.Failures) * 10 * time.Second)
	op.StaffReason = fmt.Sprintf("panic in step %s: %v", op.Step, p)
	c := store.Changes{Steps: []store.StepNote{{Step: op.Step, What: "note", Text: "Something went wrong inside the portal; it is tried again.", Staff: op.StaffReason}}}
	if op.Failures >= portal.MaxFailures {
		op.State = portal.StateHeld
		op.Reason = "Something is wrong inside the portal. Our team has been told and looks at it; nothing was removed."
		c.Messages = []store.Message{{Channel: "staff", ServiceID: op.ServiceID, Topic: "operation.held", Payload: map[string]any{"operation": op.UID, "why": op.StaffReason}}}
	}
	return e.db.Save(ctx, "after panic", &op, c)
}

// link is the engine's connection to one server.
type link struct {
	server portal.Server
	client *pve.Client

	mu       sync.Mutex
	rights   pve.Permissions
	rightsAt time.Time
	release  pve.Version
}

// major is the server's major version; where it isn't known yet, the present one.
func (l *link) major() int {
	release := cmp.Or(l.release.Release, l.server.Release)
	if n, err := strconv.Atoi(strings.SplitN(release, ".", 2)[0]); err == nil {
		return n
	}
	return 9
}

// rightsAge is how long seen permissions count as seen in this tick.
const rightsAge = time.Minute

// link gives the connection to a server, made anew when its endpoints or its token have changed.
func (e *Engine) link(ctx context.Context, serverID int64) (*link, error) {
	server, err := e.db.Server(ctx, serverID)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.links[serverID]; l != nil && sameEndpoint(l.server, server) {
		return l, nil
	}
	secret, err := e.db.ServerSecret(ctx, serverID)
	if err != nil {
		return nil, err
	}
	client, err := e.Dial(server, secret)
	if err != nil {
		return nil, err
	}
	if old := e.links[serverID]; old != nil {
		old.client.Close()
	}
	l := &link{server: server, client: client}
	e.links[serverID] = l
	return l, nil
}

// Dial makes a client for a server: for the engine, and for commands that look before anything is saved.
func (e *Engine) Dial(server portal.Server, secret string) (*pve.Client, error) {
	return Dial(server, secret, e.opts)
}

// Dial makes a client for a server.
func Dial(server portal.Server, secret string, o Options) (*pve.Client, error) {
	pool, err := caPool(server.CA)
	if err != nil {
		return nil, err
	}
	cfg := pve.Config{
		Endpoints: server.Endpoints, TokenID: server.TokenID, Secret: secret, Fingerprints: server.Fingerprints, CAs: pool, Now: o.Now, RetryPause: o.RetryPause,
	}
	if o.Transport != nil {
		cfg.Transport = o.Transport(server)
	}
	if o.Observe != nil {
		cfg.Observe = func(c pve.Call) { o.Observe(server.Name, c) }
	}
	return pve.New(cfg)
}

// Close ends all connections.
func (e *Engine) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, l := range e.links {
		l.client.Close()
		delete(e.links, id)
	}
}

// permissions gives what the token may, as seen within the last minute.
func (e *Engine) permissions(ctx context.Context, l *link) (pve.Permissions, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rights != nil && e.now().Sub(l.rightsAt) < rightsAge && !e.now().Before(l.rightsAt) {
		return l.rights, nil
	}
	rights, err := l.client.Permissions(ctx)
	if err != nil {
		return nil, err
	}
	l.rights, l.rightsAt = rights, e.now()
	return rights, nil
}
