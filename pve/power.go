package pve

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// Each of these starts a task, and a machine that isn't there shows in its end only, as does a lock: see Meaning. A stop
// with a start right behind it may hold the machine's lock file for 30 s on 9.x (everything ends with LockFile
// meanwhile): leave 2 s between the two.

// Start starts a machine. The task of one that runs ends Running ("already running"). A locked one's ends Locked, but a
// machine in its backup is let run on, and one that is suspended to disk wakes.
func (c *Client) Start(ctx context.Context, node string, vmid int) (UPID, error) {
	return c.guestTask(ctx, http.MethodPost, "/status/start", node, vmid, nil)
}

// Shutdown presses the power button and waits: for timeout in whole seconds, or 60 s where it is 0. When the machine
// still runs then, it is stopped hard with force, else the task fails ("got timeout"). A machine that is off is fine,
// even when it is locked; one that is paused is refused by the answer.
func (c *Client) Shutdown(ctx context.Context, node string, vmid int, timeout time.Duration, force bool) (UPID, error) {
	form, bad := waiting(timeout)
	if bad != nil {
		return UPID{}, bad
	}
	if force {
		form["forceStop"] = "1"
	}
	return c.guestTask(ctx, http.MethodPost, "/status/shutdown", node, vmid, form)
}

// Stop takes a machine's power away. One that is off is fine, even when it is locked. A shutdown that still waits holds
// the lock file, so a plain stop fails after 10 s: overrule ends that shutdown first.
func (c *Client) Stop(ctx context.Context, node string, vmid int, overrule bool) (UPID, error) {
	var form map[string]string
	if overrule {
		form = map[string]string{"overrule-shutdown": "1"}
	}
	return c.guestTask(ctx, http.MethodPost, "/status/stop", node, vmid, form)
}

// Reboot shuts a machine down and starts it anew, by which pending changes hold. timeout is as for Shutdown. Its task
// ends OK while the machine is off: the start is a task of root@pam, half a second later. A machine that is off is
// refused with NotRunning.
func (c *Client) Reboot(ctx context.Context, node string, vmid int, timeout time.Duration) (UPID, error) {
	form, bad := waiting(timeout)
	if bad != nil {
		return UPID{}, bad
	}
	return c.guestTask(ctx, http.MethodPost, "/status/reboot", node, vmid, form)
}

// Reset presses the reset button: the machine starts anew without being asked, and pending changes stay pending. A
// machine that is off is refused with NotRunning.
func (c *Client) Reset(ctx context.Context, node string, vmid int) (UPID, error) {
	return c.guestTask(ctx, http.MethodPost, "/status/reset", node, vmid, nil)
}

// waiting is a timeout as the calls take it.
func waiting(timeout time.Duration) (map[string]string, *Error) {
	form := map[string]string{}
	if timeout < 0 {
		return nil, refusal("timeout", "no negative times")
	}
	if timeout > 0 {
		form["timeout"] = strconv.FormatInt(int64((timeout+time.Second-1)/time.Second), 10)
	}
	return form, nil
}
