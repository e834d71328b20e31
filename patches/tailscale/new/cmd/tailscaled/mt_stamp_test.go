// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"strings"
	"testing"
)

func TestMTIsDaemon(t *testing.T) {
	for line, daemon := range map[string]bool{
		"tailscaled": true,
		"/usr/local/bin/tailscaled --no-logs-no-support --state=x": true,
		"tailscaled --tun=userspace-networking":                    true,
		"tailscaled --version":                                     false,
		"tailscaled -version":                                      false,
		"tailscaled --cleanup":                                     false,
		"tailscaled debug --monitor":                               false,
		"tailscale --socket=x status":                              false,
		"/usr/local/bin/tailscale up":                              false,
		"":                                                         false,
	} {
		if got := mtIsDaemon(strings.Fields(line)); got != daemon {
			t.Errorf("mtIsDaemon(%q) = %v, want %v", line, got, daemon)
		}
	}
}
