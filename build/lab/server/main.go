// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

// mt-lab is every server and probe of the runtime laboratory in one static binary. It is built
// inside Tailscale's own source tree, so control server, DERP and STUN are upstream's.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// modes are entered by the files that have them: a machine's mt-guest is made of some of them only.
var modes = map[string]func(args []string){}

func init() {
	modes["anchor"] = anchor
}

func main() {
	log.SetFlags(log.Lmicroseconds)
	if len(os.Args) < 2 || modes[os.Args[1]] == nil {
		known := strings.Join(slices.Sorted(maps.Keys(modes)), "|")
		fmt.Fprintf(os.Stderr, "usage: %s %s …\n", os.Args[0], known)
		os.Exit(2)
	}
	modes[os.Args[1]](os.Args[2:])
}

var printing sync.Mutex

// tell prints one JSON object per line on standard output: what the laboratory reads.
func tell(event map[string]any) {
	line, err := json.Marshal(event)
	if err != nil {
		log.Fatal(err)
	}
	printing.Lock()
	defer printing.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

// commands calls obey for each line of standard input.
func commands(obey func(line string)) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		obey(lines.Text())
	}
}

// anchor is PID 1 of the laboratory's PID namespace. It ends when its standard input closes, which
// the kernel does when the Python process is gone, however it went; every process in the namespace
// dies with PID 1, and mounts and network namespaces with their last process.
func anchor([]string) {
	children := make(chan os.Signal, 16)
	signal.Notify(children, syscall.SIGCHLD)
	go func() {
		for range children {
			for {
				pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
				if pid <= 0 || err != nil {
					break
				}
			}
		}
	}()
	tell(map[string]any{"event": "ready"})
	commands(func(string) {})
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
