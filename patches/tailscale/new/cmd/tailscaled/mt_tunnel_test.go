// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build !mt_omit_tunnel

package main

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestMTTunnel(t *testing.T) {
	for line, want := range map[string]string{
		"tailscaled":                               "tailscale0",
		"tailscaled --tun=x1 --state=s":            "x1",
		"tailscaled -tun x2":                       "x2",
		"tailscaled --tun x3,userspace-networking": "x3",
		"tailscaled --tun=userspace-networking":    "userspace-networking",
		"tailscaled --state=s --tun=a --tun=b":     "b",
		"tailscaled --state=tun":                   "tailscale0",
	} {
		args, name := mtWithTunnel(strings.Fields(line), func(string) bool { return false })
		if name != want || !slices.Equal(args, strings.Fields(line)) {
			t.Errorf("%q: got %q, %q; want %q", line, args, name, want)
		}
	}
	args, name := mtWithTunnel([]string{"tailscaled", "--state=s"}, func(string) bool { return true })
	if name != "ts0" || !slices.Equal(args, []string{"tailscaled", "--tun=ts0", "--state=s"}) {
		t.Errorf("behind a veth of the tunnel's name: %q, %q", args, name)
	}
}

func TestMTWithoutIPTables(t *testing.T) {
	const mode = "TS_DEBUG_FIREWALL_MODE"
	absent := func(string) (string, error) { return "", errors.New("not found") }
	present := func(string) (string, error) { return "/sbin/iptables", nil }
	for given, want := range map[string]string{"": "nftables", "iptables": "nftables", "auto": "nftables", "nftables": "nftables"} {
		t.Setenv(mode, given)
		mtWithoutIPTables(absent)
		if got := os.Getenv(mode); got != want {
			t.Errorf("%q without iptables: %q", given, got)
		}
		t.Setenv(mode, given)
		mtWithoutIPTables(present)
		if got := os.Getenv(mode); got != given {
			t.Errorf("%q with iptables: %q", given, got)
		}
	}
}
