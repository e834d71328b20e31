// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"flag"
	"log"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	modes["without"] = without
	modes["with"] = with
}

// without becomes another program that finds a kernel without netfilter: netlink sockets of that
// family, which nftables needs, are refused as such a kernel refuses them. Every child inherits
// that. `-all` refuses every netlink socket, for showing that this is noticed. (The image has no iptables program, so iptables is absent already.)
func without(args []string) {
	flags := flag.NewFlagSet("without", flag.ExitOnError)
	all := flags.Bool("all", false, "refuse every family")
	flags.Parse(args)
	args = flags.Args()
	const (
		// Offsets in struct seccomp_data, for a little-endian machine.
		number, domain, protocol = 0, 16, 32
	)
	refuse := func(errno uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | errno}
	}
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	// unless skips that many instructions when the loaded word is another one.
	unless := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
	}
	filter := []unix.SockFilter{
		load(number), unless(unix.SYS_SOCKET, 5),
		load(domain), unless(unix.AF_NETLINK, 3),
		load(protocol), unless(unix.NETLINK_NETFILTER, 1), refuse(uint32(unix.EPROTONOSUPPORT)),
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if *all {
		filter = append(filter[:4], filter[6:]...)
		filter[1], filter[3] = unless(unix.SYS_SOCKET, 3), unless(unix.AF_NETLINK, 1)
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		log.Fatal(err)
	}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		log.Fatal(err)
	}
	with(args)
}

// with becomes another program and changes nothing: the counterpart of without.
func with(args []string) {
	path := must(exec.LookPath(args[0]))
	log.Fatal(syscall.Exec(path, args, os.Environ()))
}
