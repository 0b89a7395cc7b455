package main

import (
	"os/exec"
	"syscall"
)

// tied lets a process end with the one that started it, whatever ends that.
func tied(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
