package main

import (
	"io"
	"runtime"
	"runtime/debug"
)

// Set by the linker (see the Makefile); otherwise what Go noted about the build says what it knows.
var version, commit string

type versionCmd struct{ output }

// Run prints the version.
func (c *versionCmd) Run(a *app) error {
	v, commit := buildVersion()
	return c.print(a, map[string]string{"version": v, "commit": commit, "go": runtime.Version()}, func(w io.Writer) {
		row(w, "stowage", v)
		row(w, "commit", commit)
		row(w, "go", runtime.Version())
	})
}

func buildVersion() (v, at string) {
	v, at = version, commit
	if info, ok := debug.ReadBuildInfo(); ok {
		if v == "" && info.Main.Version != "(devel)" {
			v = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && at == "" {
				at = s.Value
			}
		}
	}
	if v == "" {
		v = "development"
	}
	if at == "" {
		at = "unknown"
	}
	return v, at
}
