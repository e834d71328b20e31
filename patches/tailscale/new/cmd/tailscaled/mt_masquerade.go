// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build linux && !mt_omit_lan

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// An exit node takes from this node only what has this node's address. Tailscale gives it to what
// comes out of the tunnel, and nobody to what the LAN sends into it. What goes to the tailnet or to
// a private network, such as another site's, keeps the sender's address.

const mtTable = "mikrotik-tailscale"

var mtKept = map[nftables.TableFamily][]netip.Prefix{
	nftables.TableFamilyIPv4: {
		netip.MustParsePrefix("100.64.0.0/10"),
		netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"),
	},
	nftables.TableFamilyIPv6: {netip.MustParsePrefix("fc00::/7")},
}

// mtMasquerade puts our table into the packet filter or takes it away. It returns nil where the
// kernel has no nftables and none is wanted.
func mtMasquerade(tunnel string, wanted bool) error {
	var problem error
	for family, kept := range mtKept {
		if err := mtMasqueradeFamily(family, kept, tunnel, wanted); err != nil {
			problem = err
		}
	}
	if problem != nil && wanted {
		return fmt.Errorf("the LAN's traffic to the exit node keeps its addresses, and the exit node must accept routes: %w", problem)
	}
	return nil
}

func mtMasqueradeFamily(family nftables.TableFamily, kept []netip.Prefix, tunnel string, wanted bool) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	table := &nftables.Table{Name: mtTable, Family: family}
	conn.DelTable(table)
	if err := conn.Flush(); err != nil && !errors.Is(err, syscall.ENOENT) {
		return err
	}
	if !wanted {
		return nil
	}
	conn.AddTable(table)
	chain := conn.AddChain(&nftables.Chain{
		Name:     "leaving",
		Table:    table,
		Type:     nftables.ChainTypeNAT,
		Hooknum:  nftables.ChainHookPostrouting,
		Priority: nftables.ChainPriorityNATSource,
	})
	name := make([]byte, 16)
	copy(name, tunnel)
	start := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
	}
	rule := func(more ...expr.Any) {
		exprs := append(append([]expr.Any{}, start...), more...)
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs})
	}
	for _, prefix := range kept {
		rule(append(mtTo(prefix), &expr.Verdict{Kind: expr.VerdictReturn})...)
	}
	rule(&expr.Masq{})
	return conn.Flush()
}

// mtTo matches packets whose destination lies in a network.
func mtTo(prefix netip.Prefix) []expr.Any {
	address := prefix.Addr().AsSlice()
	size, offset := uint32(len(address)), uint32(16)
	if prefix.Addr().Is6() {
		offset = 24
	}
	mask, zero := make([]byte, size), make([]byte, size)
	for bit := range prefix.Bits() {
		mask[bit/8] |= 0x80 >> (bit % 8)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: mask, Xor: zero},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: address},
	}
}
