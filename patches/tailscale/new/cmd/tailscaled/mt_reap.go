// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build linux && !mt_omit_reap

package main

import (
	"bytes"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The daemon is PID 1 of its container, so the kernel gives it the orphans of every session of
// /container/shell and of the entrypoint, and they stay as zombies until it waits for them.
// Its own children it must leave to os/exec. The two are told apart exactly: os/exec holds a
// process file descriptor of each of its children until it has waited for it, and of no orphan.
//
// A kernel without such descriptors (before 5.4) leaves only time to tell them by: os/exec waits
// for a child from its start on, so what is dead for a minute is nobody's.

func init() {
	if os.Getpid() == 1 && mtIsDaemon(os.Args) {
		go mtReapForever()
	}
}

func mtReapForever() {
	died := make(chan os.Signal, 1)
	signal.Notify(died, unix.SIGCHLD)
	patience := time.Second
	if fd, err := unix.PidfdOpen(os.Getpid(), 0); err == nil {
		unix.Close(fd)
	} else {
		patience = time.Minute
	}
	reaper := mtReaper{self: os.Getpid(), patience: patience, seen: map[int]time.Time{}}
	for range died {
		for left := true; left; {
			time.Sleep(patience / 4)
			left = reaper.pass(time.Now())
		}
	}
}

// mtReaper waits for zombies that are nobody's; seen holds since when it knows of each.
type mtReaper struct {
	self     int
	patience time.Duration
	seen     map[int]time.Time
}

// pass waits for those that it knows for long enough; it reports whether there are others.
func (r *mtReaper) pass(now time.Time) bool {
	zombies, known := mtZombies(r.self), map[int]time.Time{}
	if len(zombies) > 0 {
		own := mtAwaited()
		for _, pid := range zombies {
			first, ok := r.seen[pid]
			switch {
			case own[pid]: // os/exec's
			case !ok:
				known[pid] = now
			case now.Sub(first) < r.patience:
				known[pid] = first
			default:
				unix.Wait4(pid, nil, unix.WNOHANG, nil)
			}
		}
	}
	r.seen = known
	return len(known) > 0
}

// mtZombies returns the dead children of a process that nobody has waited for.
func mtZombies(parent int) (found []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range paths {
		line, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// PID (name) state parent …; the name may hold anything.
		fields := strings.Fields(string(line[bytes.LastIndexByte(line, ')')+1:]))
		if len(fields) > 1 && fields[0] == "Z" && fields[1] == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			found = append(found, pid)
		}
	}
	return found
}

// mtAwaited returns the processes of which this one holds a file descriptor.
func mtAwaited() map[int]bool {
	found := map[int]bool{}
	paths, _ := filepath.Glob("/proc/self/fdinfo/*")
	for _, path := range paths {
		text, _ := os.ReadFile(path)
		if _, after, ok := strings.Cut(string(text), "\nPid:"); ok {
			number, _, _ := strings.Cut(after, "\n")
			if pid, err := strconv.Atoi(strings.TrimSpace(number)); err == nil {
				found[pid] = true
			}
		}
	}
	return found
}
