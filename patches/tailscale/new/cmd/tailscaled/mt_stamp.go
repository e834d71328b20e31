// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"log"
	"os"
	"path/filepath"
	"strings"

	"tailscale.com/version"
)

const mtTunnel = "tailscale0"

// mtOwnTunnel is what this daemon's tunnel is called.
var mtOwnTunnel = mtTunnel

// The daemon says at its start which build it is: a crash report holds places in source files only
// together with the symbols of that very build. The command line says nothing, and neither does a
// daemon that is only asked something.
func init() {
	if mtIsDaemon(os.Args) {
		log.Printf("mikrotik-tailscale %s", version.Long())
	}
}

// mtIsDaemon reports whether a command line starts the daemon and keeps it running.
func mtIsDaemon(args []string) bool {
	if len(args) == 0 || filepath.Base(args[0]) != "tailscaled" {
		return false
	}
	for _, arg := range args[1:] {
		switch name := strings.TrimLeft(arg, "-"); {
		case name == arg: // a subcommand, such as debug
			return false
		case strings.HasPrefix(name, "version"), name == "help", name == "h", name == "cleanup":
			return false
		}
	}
	return true
}
