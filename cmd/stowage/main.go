// Command stowage is the whole portal in one binary: the web site, the engine behind it, the commands that set it
// up and look after it, and a simulated Proxmox VE to try it with.
//
// The commands work on the database, beside a running `stowage serve`. Each flag is also an environment variable:
// --key-file is STOWAGE_KEY_FILE. Exit codes: 0 done, 1 failed (with one line that says why), 2 wrong usage.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"stowage/portal"
)

// cli is the list of all commands.
type cli struct {
	Demo      demoCmd      `cmd:"" help:"Run the portal with a simulated Proxmox VE and demo data."`
	Serve     serveCmd     `cmd:"" help:"Run the portal."`
	Sim       simCmd       `cmd:"" help:"Run a simulated Proxmox VE, as HTTPS."`
	Server    serverCmd    `cmd:"" help:"Connect Proxmox VE servers."`
	Product   productCmd   `cmd:"" help:"What is sold."`
	Client    clientCmd    `cmd:"" help:"Customers."`
	Staff     staffCmd     `cmd:"" help:"The hosting company's people."`
	Service   serviceCmd   `cmd:"" help:"Machines of customers."`
	Pause     pauseCmd     `cmd:"" help:"Stop scheduled backups for a while, for maintenance."`
	Operation operationCmd `cmd:"" help:"Work that is waiting, under way or ended."`
	Setting   settingCmd   `cmd:"" help:"Values for the whole installation."`
	Schedule  scheduleCmd  `cmd:"" help:"Look at schedules."`
	Migrate   migrateCmd   `cmd:"" help:"Bring the database up to date, or make a new one."`
	BackupDB  backupDBCmd  `cmd:"" name:"backup-db" help:"Write a consistent copy of the database, while it is in use."`
	Doctor    doctorCmd    `cmd:"" help:"Check everything that a set-up can get wrong, and say how to mend it."`
	Version   versionCmd   `cmd:"" help:"Show version, commit and Go version."`
}

// actor stands in the audit log for what commands do.
const actor = "cli"

// app is what a command works with beside its flags.
type app struct {
	ctx      context.Context
	now      func() time.Time
	in       io.Reader
	out, err io.Writer
}

// exitCode are the three ways a command ends.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], &app{ctx: ctx, now: time.Now, in: os.Stdin, out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(code)
}

// run parses the arguments, runs the command and gives the exit code.
func run(ctx context.Context, args []string, a *app) (code int) {
	type asked struct{ code int } // --help wants to end right away
	defer func() {
		if v := recover(); v != nil {
			end, ok := v.(asked)
			if !ok {
				panic(v)
			}
			code = end.code
		}
	}()
	a.ctx = ctx
	var c cli
	parser, err := kong.New(&c,
		kong.Name("stowage"), kong.Description("A self-service portal for the backups of virtual machines on Proxmox VE."),
		kong.DefaultEnvars("STOWAGE"), kong.Writers(a.out, a.err), kong.Exit(func(code int) { panic(asked{code}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}), kong.Bind(a),
	)
	if err != nil {
		fmt.Fprintln(a.err, "stowage:", err)
		return exitFailed
	}
	command, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(a.err, "stowage: %s (see stowage --help)\n", oneLine(err.Error()))
		return exitUsage
	}
	err = command.Run()
	var usage *usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		fmt.Fprintln(a.err, "stowage:", oneLine(usage.Error()))
		return exitUsage
	default:
		fmt.Fprintln(a.err, "stowage:", oneLine(explain(err)))
		return exitFailed
	}
}

// usageError is a wrong use that only the command itself can notice.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func wrongUse(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// explain words an error for whoever ran the command: the sentence, and what only staff are told.
func explain(err error) string {
	var known *portal.Error
	if !errors.As(err, &known) {
		return err.Error()
	}
	text := known.Sentence.String()
	if known.Code == portal.CodeNotFound && known.Sentence == portal.NotFound().Sentence {
		text = "There is nothing by that name."
	}
	if known.Staff != "" {
		text += " (" + known.Staff + ")"
	}
	if known.Err != nil {
		text += " (" + known.Err.Error() + ")"
	}
	return text
}

func oneLine(s string) string { return harmless(strings.Join(strings.Fields(s), " ")) }
