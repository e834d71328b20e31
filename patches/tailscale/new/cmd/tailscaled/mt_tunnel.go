// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build !mt_omit_tunnel

package main

import (
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"tailscale.com/net/netmon"
)

// On RouterOS the container's only interface has the name that the router's owner gave the veth.
// As long as Tailscale is not told what its tunnel is called, it takes every interface whose name
// begins with "tailscale" for it, and with such a veth says that all links are down. So it is told
// at once; a veth that is called like the tunnel gets a tunnel of another name beside it.

func init() {
	if !mtIsDaemon(os.Args) {
		return
	}
	os.Args, mtOwnTunnel = mtWithTunnel(os.Args, mtIsForeign)
	if mtOwnTunnel != mtTunnel {
		log.Printf("the tunnel is %s", mtOwnTunnel)
	}
	netmon.SetTailscaleInterfaceProps(mtOwnTunnel, 0)
	mtWithoutIPTables(exec.LookPath)
}

// mtWithTunnel returns the daemon's arguments and the name of its tunnel. If they name none, and
// an interface that is no tunnel has the default name, they are given another.
func mtWithTunnel(args []string, foreign func(string) bool) ([]string, string) {
	name := ""
	for i, arg := range args[1:] {
		option, value, found := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if option != "tun" || !strings.HasPrefix(arg, "-") {
			continue
		}
		if !found && i+2 < len(args) {
			value = args[i+2]
		}
		name = value
	}
	if name != "" {
		name, _, _ = strings.Cut(name, ",")
		return args, name
	}
	if !foreign(mtTunnel) {
		return args, mtTunnel
	}
	for _, name := range []string{"ts0", "ts1", "ts2", "ts3"} {
		if _, err := net.InterfaceByName(name); err != nil {
			return append([]string{args[0], "--tun=" + name}, args[1:]...), name
		}
	}
	return args, mtTunnel
}

// mtIsForeign reports whether an interface of that name is there and is no tunnel.
func mtIsForeign(name string) bool {
	if _, err := net.InterfaceByName(name); err != nil {
		return false
	}
	_, err := os.Stat(filepath.Join("/sys/class/net", name, "tun_flags"))
	return err != nil
}

// mtWithoutIPTables settles for nftables where there is no iptables program, as in this image. Told
// by its environment or by the control server to use iptables, the daemon would end without it.
func mtWithoutIPTables(look func(string) (string, error)) {
	const mode = "TS_DEBUG_FIREWALL_MODE"
	if _, err := look("iptables"); err == nil {
		return
	}
	if wanted := os.Getenv(mode); wanted != "" && wanted != "nftables" {
		log.Printf("%s=%s: this image has no iptables program; nftables it is", mode, wanted)
	}
	os.Setenv(mode, "nftables")
}
