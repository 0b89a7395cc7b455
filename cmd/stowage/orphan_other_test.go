//go:build !linux

package main

import "os/exec"

// tied has nothing to tie with here: a stand-in ends by itself after a while.
func tied(*exec.Cmd) {}
