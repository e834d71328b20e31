// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

// Mt_bench runs the code that each packet goes through, a given number of
// times. It is built inside Tailscale's module, with the tags and flags that
// are to be judged. Ciphers come from the constructor that the
// daemon's device calls for its peers: which code that is depends on the CPU.
//
//	mt_bench NAME COUNT
//
// It prints the nanoseconds that one time took. To count instructions instead,
// run it under a counter twice, with two COUNTs, and divide the difference: what
// the runtime does to start and to end cancels out.
package main

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net/netip"
	"os"
	"runtime/debug"
	"strconv"
	"time"
	_ "unsafe" // for go:linkname

	_ "github.com/tailscale/wireguard-go/device"
	"github.com/tailscale/wireguard-go/tun"
	"go4.org/netipx"
	"golang.org/x/crypto/chacha20poly1305"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"tailscale.com/net/packet"
	"tailscale.com/net/tstun"
	"tailscale.com/types/ipproto"
	"tailscale.com/types/views"
	"tailscale.com/util/eventbus"
	"tailscale.com/util/usermetric"
	"tailscale.com/wgengine/filter"
)

// Each makes ready and returns what is to be repeated.
var benchmarks = []struct {
	name  string
	setup func() func()
}{
	{"seal-64", func() func() { return seal(64) }},
	{"seal-1420", func() func() { return seal(1420) }},
	{"open-64", func() func() { return open(64) }},
	{"open-1420", func() func() { return open(1420) }},
	{"filter-in-tcp-syn", func() func() { return filterPacket(true, ipproto.TCP) }},
	{"filter-in-udp", func() func() { return filterPacket(true, ipproto.UDP) }},
	{"filter-out-udp", func() func() { return filterPacket(false, ipproto.UDP) }},
	{"tstun-write", wrapperWrite},
	{"tstun-read", wrapperRead},
	{"checksum-tun-1420", func() func() { b := data(1420); return func() { sum += uint64(tun.Checksum(b, 1)) } }},
	{"checksum-gvisor-1420", func() func() { b := data(1420); return func() { sum += uint64(checksum.Checksum(b, 1)) } }},
	{"gso-split-tcp-10", gsoSplit},
}

// sum takes results in, so that they are results.
var sum uint64

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: mt_bench NAME COUNT; NAME is one of:")
		for _, b := range benchmarks {
			fmt.Fprintln(os.Stderr, "\t"+b.name)
		}
		os.Exit(2)
	}
	count, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	// A collection more or less would be all the noise there is.
	debug.SetGCPercent(-1)
	for _, b := range benchmarks {
		if b.name != os.Args[1] {
			continue
		}
		run := b.setup()
		start := time.Now()
		for range count {
			run()
		}
		fmt.Println(time.Since(start).Nanoseconds() / int64(max(count, 1)))
		return
	}
	log.Fatalf("no benchmark %q", os.Args[1])
}

func data(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 31)
	}
	return b
}

// newAEAD is what the device makes of a session's key. It has no body here; linked.s
// lets the compiler accept that.
//
//go:linkname newAEAD github.com/tailscale/wireguard-go/device.chacha20poly1305New
func newAEAD(key []byte) (cipher.AEAD, error)

func cipherOfDevice() cipher.AEAD {
	aead, err := newAEAD(data(chacha20poly1305.KeySize))
	if err != nil {
		log.Fatal(err)
	}
	return aead
}

func seal(n int) func() {
	aead := cipherOfDevice()
	// As wireguard-go does: in place, the header of 16 bytes before it.
	buf := make([]byte, 16+n+aead.Overhead())
	nonce := make([]byte, chacha20poly1305.NonceSize)
	return func() {
		out := aead.Seal(buf[:16], nonce, buf[16:16+n], nil)
		sum += uint64(out[len(out)-1])
	}
}

func open(n int) func() {
	aead := cipherOfDevice()
	nonce := make([]byte, chacha20poly1305.NonceSize)
	sealed := aead.Seal(nil, nonce, data(n), nil)
	buf := make([]byte, 0, n)
	return func() {
		out, err := aead.Open(buf[:0], nonce, sealed, nil)
		if err != nil {
			log.Fatal(err)
		}
		sum += uint64(len(out))
	}
}

func newFilter() *filter.Filter {
	protos := views.SliceOf([]ipproto.Proto{ipproto.TCP, ipproto.UDP, ipproto.ICMPv4})
	var matches []filter.Match
	for i := range 10 { // the one that matches is the last
		matches = append(matches, filter.Match{
			IPProto: protos,
			Srcs:    []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{8, byte(9 - i), 0, 0}), 16)},
			Dsts: []filter.NetPortRange{{
				Net:   netip.MustParsePrefix("1.2.3.4/32"),
				Ports: filter.PortRange{First: 22, Last: 90},
			}},
		})
	}
	var b netipx.IPSetBuilder
	b.AddPrefix(netip.MustParsePrefix("1.2.0.0/16"))
	local, err := b.IPSet()
	if err != nil {
		log.Fatal(err)
	}
	return filter.New(matches, nil, local, &netipx.IPSet{}, nil, func(string, ...any) {})
}

// ip4 is a packet of 60 bytes.
func ip4(proto ipproto.Proto, src, dst string, sport, dport uint16) []byte {
	b := make([]byte, 60)
	b[0] = 0x45
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	b[8] = 64
	b[9] = byte(proto)
	copy(b[12:], netip.MustParseAddr(src).AsSlice())
	copy(b[16:], netip.MustParseAddr(dst).AsSlice())
	binary.BigEndian.PutUint16(b[20:], sport)
	binary.BigEndian.PutUint16(b[22:], dport)
	if proto == ipproto.TCP {
		b[32] = 5 << 4
		b[33] = 2 // SYN
	} else {
		binary.BigEndian.PutUint16(b[24:], 40)
	}
	return b
}

func filterPacket(in bool, proto ipproto.Proto) func() {
	f := newFilter()
	there, back := ip4(proto, "8.0.1.1", "1.2.3.4", 999, 22), ip4(proto, "1.2.3.4", "8.0.1.1", 22, 999)
	return func() {
		var p packet.Parsed
		var r filter.Response
		if in {
			p.Decode(there)
			r = f.RunIn(&p, 0)
		} else {
			p.Decode(back)
			r, _ = f.RunOut(&p, 0)
		}
		if r != filter.Accept {
			log.Fatalf("filter: %v", r)
		}
		sum++
	}
}

// device gives one packet again and again, and takes all.
type device struct {
	tun.Device
	packet []byte
}

func (d *device) Read(slab []byte, packets []tun.ReadPacket) (int, error) {
	const offset = tun.ReadPacketSpacing
	packets[0] = tun.ReadPacket{Offset: offset, Size: copy(slab[offset:], d.packet)}
	return 1, nil
}

func (d *device) Write(bufs [][]byte, offset int) (int, error) {
	sum += uint64(len(bufs))
	return len(bufs), nil
}

func wrapper(packet []byte) *tstun.Wrapper {
	w := tstun.Wrap(func(string, ...any) {}, &device{tstun.NewFake(), packet}, new(usermetric.Registry), eventbus.New())
	w.SetFilter(newFilter())
	w.Start()
	return w
}

func wrapperWrite() func() {
	w := wrapper(nil)
	const offset = 16
	buf := append(make([]byte, offset), ip4(ipproto.UDP, "8.0.1.1", "1.2.3.4", 999, 22)...)
	bufs := [][]byte{buf}
	return func() {
		if n, err := w.Write(bufs, offset); n != 1 || err != nil {
			log.Fatal(n, err)
		}
	}
}

func wrapperRead() func() {
	w := wrapper(ip4(ipproto.UDP, "1.2.3.4", "8.0.1.1", 22, 999))
	slab, packets := make([]byte, 2048), make([]tun.ReadPacket, 1)
	return func() {
		n, err := w.Read(slab, packets)
		if err == io.EOF || n != 1 || packets[0].Size != 60 {
			log.Fatal(n, err, packets[0])
		}
	}
}

// gsoSplit cuts what the kernel hands over as one large packet.
func gsoSplit() func() {
	const mss, parts = 1360, 10
	in := append(ip4(ipproto.TCP, "1.2.3.4", "8.0.1.1", 22, 999)[:40], data(mss*parts)...)
	binary.BigEndian.PutUint16(in[2:], uint16(len(in)))
	in[33] = 0x10 // ACK
	slab, packets := make([]byte, parts*2048), make([]tun.ReadPacket, parts)
	options := tun.GSOOptions{GSOType: tun.GSOTCPv4, HdrLen: 40, CsumStart: 20, CsumOffset: 16, GSOSize: mss, NeedsCsum: true}
	return func() {
		n, err := tun.GSOSplit(in, options, slab, packets, tun.ReadPacketSpacing)
		if n != parts || err != nil {
			log.Fatal(n, err)
		}
		sum += uint64(packets[parts-1].Size)
	}
}
