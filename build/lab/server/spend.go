// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"flag"
	"os"
	"os/exec"
	"syscall"
	"time"
)

func init() {
	modes["spend"] = spend
}

// spend runs a program several times, one after the other, and tells for each run the seconds on
// the clock, the seconds of CPU and the largest resident memory (getrusage(2), kB). It is copied
// into the container, so that what it takes to get in there is not counted.
func spend(args []string) {
	flags := flag.NewFlagSet("spend", flag.ExitOnError)
	times := flags.Int("times", 1, "how often")
	flags.Parse(args)
	var seconds, cpu []float64
	var memory []int64
	for range *times {
		program := exec.Command(flags.Arg(0), flags.Args()[1:]...)
		began := time.Now()
		if err := program.Run(); err != nil {
			tell(map[string]any{"error": err.Error()})
			os.Exit(1)
		}
		seconds = append(seconds, time.Since(began).Seconds())
		usage := program.ProcessState.SysUsage().(*syscall.Rusage)
		cpu = append(cpu, (program.ProcessState.UserTime() + program.ProcessState.SystemTime()).Seconds())
		memory = append(memory, int64(usage.Maxrss))
	}
	tell(map[string]any{"seconds": seconds, "cpu": cpu, "memory": memory})
}
