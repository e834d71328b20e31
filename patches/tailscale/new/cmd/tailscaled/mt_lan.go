// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build linux && !mt_omit_lan

package main

import (
	"cmp"
	"log"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/tailscale/netlink"
	"go4.org/netipx"
	"golang.org/x/sys/unix"
	"tailscale.com/ipn"
	"tailscale.com/ipn/ipnext"
	"tailscale.com/net/tsaddr"
	"tailscale.com/types/logger"
)

// A LAN behind the router is never attached to the container, so Tailscale takes it for a part of
// the world: with an exit node, or with a peer that announces a network around it, its table 52
// sends what is meant for the LAN into the tunnel. The rules here come before that table:
//
//   - What goes to a network that this node announces, or is attached to, goes by the main table,
//     unless a peer announces a part of it: table 52 is asked for longer prefixes first.
//   - What came out of the tunnel and is not for this node goes by the main table.
//
// With an exit node, what the LAN sends out through the tunnel also needs the node's own address,
// as the exit node takes no other: see mt_masquerade.go.

const (
	mtFirstRule   = 5100 // priorities of our rules; Tailscale's are 5210 to 5270
	mtTunnelRule  = 5199
	mtTailscale52 = 52
)

func init() {
	ipnext.RegisterExtension("mt-lan", func(logger.Logf, ipnext.SafeBackend) (ipnext.Extension, error) {
		if mtOwnTunnel == "userspace-networking" {
			return nil, ipnext.SkipExtension // the kernel routes nothing
		}
		return &mtLAN{wake: make(chan struct{}, 1)}, nil
	})
}

// mtLAN keeps the kernel's rules as the settings want them.
type mtLAN struct {
	mu     sync.Mutex
	wanted mtLANWanted
	wake   chan struct{}
}

// mtLANWanted is what of the settings decides: announced networks, whether an exit node is used,
// whether the packet filter may be touched.
type mtLANWanted struct {
	networks []netip.Prefix
	exit     bool
	filter   bool
}

func (*mtLAN) Name() string    { return "mt-lan" }
func (*mtLAN) Shutdown() error { return nil }

func (l *mtLAN) Init(host ipnext.Host) error {
	host.Hooks().ProfileStateChange.Add(func(_ ipn.LoginProfileView, prefs ipn.PrefsView, _ bool) {
		l.want(prefs)
	})
	// The tunnel has its address once the backend runs.
	host.Hooks().BackendStateChange.Add(func(ipn.State) { l.poke() })
	l.want(host.Profiles().CurrentPrefs())
	go l.work()
	return nil
}

func (l *mtLAN) want(prefs ipn.PrefsView) {
	wanted := mtLANWanted{
		networks: prefs.AdvertiseRoutes().AsSlice(),
		exit:     prefs.ExitNodeID() != "" || prefs.ExitNodeIP().IsValid(),
		filter:   prefs.NetfilterMode() != 0,
	}
	l.mu.Lock()
	l.wanted = wanted
	l.mu.Unlock()
	l.poke()
}

func (l *mtLAN) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *mtLAN) work() {
	told := map[string]bool{}
	for range l.wake {
		l.mu.Lock()
		wanted := l.wanted
		l.mu.Unlock()
		problems := []error{mtMasquerade(mtOwnTunnel, wanted.exit && wanted.filter)}
		networks := append(slices.Clone(wanted.networks), mtAttached(mtOwnTunnel)...)
		for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
			problems = append(problems, mtApply(family, mtRules(family, networks, mtOwnTunnel)))
		}
		for _, problem := range problems {
			if problem != nil && !told[problem.Error()] {
				told[problem.Error()] = true
				log.Printf("LAN: %v", problem)
			}
		}
	}
}

// mtAttached returns the networks of all interfaces but the tunnel.
func mtAttached(tunnel string) (found []netip.Prefix) {
	interfaces, _ := net.Interfaces()
	for _, one := range interfaces {
		if one.Name == tunnel || one.Flags&net.FlagLoopback != 0 {
			continue
		}
		addresses, _ := one.Addrs()
		for _, address := range addresses {
			if network, ok := address.(*net.IPNet); ok {
				if prefix, ok := netipx.FromStdIPNet(network); ok {
					found = append(found, prefix)
				}
			}
		}
	}
	return found
}

// mtRules returns the rules of one family, longest network first.
func mtRules(family int, networks []netip.Prefix, tunnel string) (rules []*netlink.Rule) {
	kept := []netip.Prefix{}
	for _, network := range networks {
		network = network.Masked()
		address := network.Addr()
		if network.Bits() == 0 || address.Is4() != (family == unix.AF_INET) ||
			address.IsLinkLocalUnicast() || tsaddr.IsTailscaleIP(address) {
			continue
		}
		kept = append(kept, network)
	}
	slices.SortFunc(kept, func(a, b netip.Prefix) int {
		return cmp.Or(cmp.Compare(b.Bits(), a.Bits()), a.Addr().Compare(b.Addr()))
	})
	rule := func(priority, table int) *netlink.Rule {
		made := netlink.NewRule()
		made.Family, made.Priority, made.Table = family, priority, table
		rules = append(rules, made)
		return made
	}
	priority := mtFirstRule
	for _, network := range slices.Compact(kept) {
		longer := rule(priority, mtTailscale52)
		longer.Dst, longer.SuppressPrefixlen = netipx.PrefixIPNet(network), network.Bits()
		priority = min(priority+1, mtTunnelRule-1)
		rule(priority, unix.RT_TABLE_MAIN).Dst = netipx.PrefixIPNet(network)
		priority = min(priority+1, mtTunnelRule-1)
	}
	rule(mtTunnelRule, unix.RT_TABLE_MAIN).IifName = tunnel
	return rules
}

// mtApply makes our rules in the kernel those wanted. A kernel without rules has only one table,
// and Tailscale says so itself.
func mtApply(family int, wanted []*netlink.Rule) error {
	there, err := netlink.RuleList(family)
	if err != nil {
		return nil
	}
	missing := map[string]*netlink.Rule{}
	for _, rule := range wanted {
		missing[mtRuleKey(rule)] = rule
	}
	var problem error
	for _, rule := range there {
		if rule.Priority < mtFirstRule || rule.Priority > mtTunnelRule {
			continue
		}
		if key := mtRuleKey(&rule); missing[key] != nil {
			delete(missing, key)
			continue
		}
		rule.Family = family
		problem = cmp.Or(problem, netlink.RuleDel(&rule))
	}
	for _, rule := range wanted {
		if missing[mtRuleKey(rule)] != nil {
			problem = cmp.Or(problem, netlink.RuleAdd(rule))
		}
	}
	return problem
}

func mtRuleKey(rule *netlink.Rule) string {
	text := []string{"", rule.IifName}
	if rule.Dst != nil {
		text[0] = rule.Dst.String()
	}
	numbers := []byte{byte(rule.Priority >> 8), byte(rule.Priority), byte(rule.Table), byte(rule.SuppressPrefixlen)}
	return strings.Join(append(text, string(numbers)), " ")
}
