// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build linux && !mt_omit_memory

package main

import (
	"io/fs"
	"log"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// A container on a small router has a memory limit that Go's collector knows nothing of: left alone
// it lets the heap of a busy node double, and the kernel ends the daemon. So the daemon reads the
// limit of its control group and tells the collector a share of it. GOMEMLIMIT in the environment
// is obeyed instead, and GOMEMLIMIT=off switches this off (runtime's own words for it).

// A quarter is for what Go does not count: the unpacked code, socket buffers of the kernel, commands
// that run beside the daemon. The floor is what keeps the collector seldom: Go counts
// buffers that are never touched and take no RAM, 50 MB of them under traffic with Tailscale 1.102.5.
// There a limit of 48 MiB made it collect 225 times where 5 are normal, at 3 to 4 times the CPU, and
// 80 MiB cost nothing. Go's limit is soft and does not count RAM, so that it may well be above the
// container's.
const mtMemoryFloor = 80 << 20

func init() {
	if os.Getenv("GOMEMLIMIT") != "" || !mtIsDaemon(os.Args) {
		return
	}
	if limit := mtCgroupLimit(os.DirFS("/")); limit < math.MaxInt64 {
		debug.SetMemoryLimit(mtGoLimit(limit))
		log.Printf("memory: the container may use %d MiB, Go's collector works towards %d MiB", limit>>20, debug.SetMemoryLimit(-1)>>20)
	}
}

// mtGoLimit returns what Go may use, in bytes, where all may use that much.
func mtGoLimit(limit int64) int64 {
	return max(limit/4*3, mtMemoryFloor)
}

// mtCgroupLimit returns how many bytes this process's control group and those above it may use:
// the lowest of memory.max and memory.high (cgroups v2) or memory.limit_in_bytes (v1) that can be
// seen, math.MaxInt64 for none.
func mtCgroupLimit(root fs.FS) int64 {
	limit := int64(math.MaxInt64)
	mounts, _ := fs.ReadFile(root, "proc/self/mountinfo")
	groups, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(mounts)) {
		// proc(5): id parent device root place options optional… - type source options
		before, after, _ := strings.Cut(line, " - ")
		mount, kind := strings.Fields(before), strings.Fields(after)
		if len(mount) < 5 || len(kind) < 3 {
			continue
		}
		controller, names := "", []string{"memory.max", "memory.high"}
		switch {
		case kind[0] == "cgroup" && mtHas(kind[2], "memory"):
			controller, names = "memory", []string{"memory.limit_in_bytes"}
		case kind[0] != "cgroup2":
			continue
		}
		// What is mounted may be a part of the hierarchy, and the own group be outside of it.
		own, inside := strings.CutPrefix(mtGroup(string(groups), controller), strings.TrimSuffix(mount[3], "/"))
		if !inside || own != "" && own[0] != '/' {
			own = ""
		}
		top := path.Clean(strings.TrimPrefix(mount[4], "/"))
		for place := path.Join(top, own); ; place = path.Dir(place) {
			for _, name := range names {
				text, err := fs.ReadFile(root, path.Join(place, name))
				if err != nil {
					continue
				}
				// "max" is none. So is what v1 has for it: the largest number of pages.
				bytes, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
				if err == nil && 0 < bytes && bytes < 1<<60 {
					limit = min(limit, bytes)
				}
			}
			if len(place) <= len(top) {
				break
			}
		}
	}
	return limit
}

// mtGroup returns the path of a process's control group out of /proc/PID/cgroup: with a controller
// of cgroups v1, "" is the one of v2.
func mtGroup(text, controller string) string {
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) == 3 && (controller == "" && fields[1] == "" || controller != "" && mtHas(fields[1], controller)) {
			return path.Clean(fields[2])
		}
	}
	return ""
}

// mtHas reports whether a list that is separated by commas has a word.
func mtHas(list, word string) bool {
	return strings.Contains(","+list+",", ","+word+",")
}
