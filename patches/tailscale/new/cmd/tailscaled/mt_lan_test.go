// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build linux && !mt_omit_lan

package main

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMTRules(t *testing.T) {
	networks := []netip.Prefix{}
	for _, text := range []string{
		"10.0.0.0/8", "10.1.2.3/16", "0.0.0.0/0", "::/0", "192.168.88.0/24", "192.168.88.7/24",
		"fd88::/64", "fe80::1/64", "100.64.0.0/24", "fd7a:115c:a1e0:b1a::/64",
	} {
		networks = append(networks, netip.MustParsePrefix(text))
	}
	got := []string{}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		for _, rule := range mtRules(family, networks, "ts0") {
			to := ""
			if rule.Dst != nil {
				to = rule.Dst.String()
			}
			got = append(got, fmt.Sprint(rule.Priority, " ", to, rule.IifName, " ", rule.Table, " ", rule.SuppressPrefixlen))
		}
	}
	want := []string{
		"5100 192.168.88.0/24 52 24", "5101 192.168.88.0/24 254 -1",
		"5102 10.1.0.0/16 52 16", "5103 10.1.0.0/16 254 -1",
		"5104 10.0.0.0/8 52 8", "5105 10.0.0.0/8 254 -1", "5199 ts0 254 -1",
		"5100 fd88::/64 52 64", "5101 fd88::/64 254 -1", "5199 ts0 254 -1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestMTRulesOfManyNetworks(t *testing.T) {
	networks := []netip.Prefix{}
	for i := range 200 {
		networks = append(networks, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16))
	}
	for _, rule := range mtRules(unix.AF_INET, networks, "ts0") {
		if rule.Priority < mtFirstRule || rule.Priority > mtTunnelRule {
			t.Fatalf("a rule of priority %d", rule.Priority)
		}
	}
}
