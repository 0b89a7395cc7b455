package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// arrows is which rooms each room may know, as the README draws them. What is not named here knows nothing of ours.
var arrows = map[string][]string{
	"portal":       {},
	"portal/lang":  {"portal"},
	"pve":          {},
	"pve/pvesim":   {},
	"pve/pvetest":  {"pve"},
	"static":       {},
	"static/build": {},
	"templates":    {"static", "portal", "portal/lang"},
	"store":        {"portal"},
	"web":          {"portal", "portal/lang"},
	"handlers":     {"web", "templates", "store", "portal", "portal/lang", "static"},
	"jobs":         {"store", "pve", "portal", "portal/lang"},
	"cmd/stowage":  {"handlers", "web", "templates", "static", "store", "jobs", "pve", "pve/pvesim", "portal", "portal/lang"},
}

// heavy is what must not reach a room even through others: who may speak to what lies outside.
var heavy = map[string][]string{
	"database/sql":                              {"store", "jobs", "handlers", "cmd/stowage"},
	"github.com/labstack/echo/v4":               {"web", "handlers", "cmd/stowage"},
	"github.com/Telmate/proxmox-api-go/proxmox": {"pve", "pve/pvetest", "jobs", "cmd/stowage"},
	"stowage/pve/pvesim":                        {"cmd/stowage"},
}

type room struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Standard   bool
}

// TestArrows holds the import graph against the drawing.
func TestArrows(t *testing.T) {
	t.Parallel()
	command := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,Deps,Standard", "stowage/...")
	var failed bytes.Buffer
	command.Stderr = &failed
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, failed.String())
	}
	seen := map[string]bool{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var r room
		if err := decoder.Decode(&r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(r.ImportPath, "stowage/")
		if name == "stowage" || strings.HasPrefix(name, "static/node_modules/") {
			continue
		}
		seen[name] = true
		may, known := arrows[name]
		if !known {
			t.Errorf("%s is a new room: draw its arrows", name)
		}
		for _, other := range ours(r.Imports) {
			if !slices.Contains(may, other) {
				t.Errorf("%s imports %s, which its arrows don't allow", name, other)
			}
		}
		for what, who := range heavy {
			if slices.Contains(r.Deps, what) && !slices.Contains(who, name) {
				t.Errorf("%s reaches %s", name, what)
			}
		}
		if name == "portal" {
			for _, i := range r.Imports {
				if strings.Contains(strings.SplitN(i, "/", 2)[0], ".") || i == "net/http" || i == "os" || i == "database/sql" {
					t.Errorf("portal imports %s: it knows the standard library only, no network and no files", i)
				}
			}
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(arrows)), slices.Sorted(maps.Keys(seen))); diff != "" {
		t.Errorf("rooms drawn (-) and there (+): %s", diff)
	}
}

func ours(imports []string) (names []string) {
	for _, i := range imports {
		if name, ok := strings.CutPrefix(i, "stowage/"); ok {
			names = append(names, name)
		}
	}
	return names
}
