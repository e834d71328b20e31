// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"flag"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

func init() {
	modes["sink"] = sink
	modes["pour"] = pour
	modes["flood"] = flood
	modes["watch"] = watch
}

// sink takes TCP connections on a port and swallows what they carry.
func sink(args []string) {
	listener := must(net.Listen("tcp", args[0]))
	tell(map[string]any{"event": "ready"})
	for {
		conn := must(listener.Accept())
		go func() {
			defer conn.Close()
			size, _ := io.Copy(io.Discard, conn)
			tell(map[string]any{"event": "sunk", "bytes": size, "from": conn.RemoteAddr().String()})
		}()
	}
}

// pour sends that many bytes to a sink and tells the seconds until the other side closed.
func pour(args []string) {
	flags := flag.NewFlagSet("pour", flag.ExitOnError)
	total := flags.Int64("bytes", 1<<30, "bytes to send")
	flags.Parse(args)
	conn := must(net.DialTimeout("tcp", flags.Arg(0), 10*time.Second)).(*net.TCPConn)
	began := time.Now()
	chunk := make([]byte, 1<<18)
	for left := *total; left > 0; left -= int64(len(chunk)) {
		if left < int64(len(chunk)) {
			chunk = chunk[:left]
		}
		if _, err := conn.Write(chunk); err != nil {
			tell(map[string]any{"error": err.Error()})
			os.Exit(1)
		}
	}
	conn.CloseWrite()
	io.Copy(io.Discard, conn)
	tell(map[string]any{"bytes": *total, "seconds": time.Since(began).Seconds()})
}

// flood sends datagrams to a place that need not want them, so many bytes a second for so long, and
// tells how many left. A full queue or a refusal is no reason to stop.
func flood(args []string) {
	flags := flag.NewFlagSet("flood", flag.ExitOnError)
	rate := flags.Float64("rate", 1e7, "bytes per second")
	seconds := flags.Float64("seconds", 5, "how long")
	size := flags.Int("size", 1200, "bytes of a datagram")
	flags.Parse(args)
	conn := must(net.Dial("udp", flags.Arg(0)))
	datagram := make([]byte, *size)
	var sent, offered int64
	began := time.Now()
	for past := 0.0; past < *seconds; past = time.Since(began).Seconds() {
		if float64(offered) > *rate*past {
			time.Sleep(time.Millisecond)
			continue
		}
		offered += int64(*size)
		if _, err := conn.Write(datagram); err == nil {
			sent += int64(*size)
		}
	}
	tell(map[string]any{"bytes": sent})
}

// watch tells every file below a folder that is written, made, moved or removed (inotify), so that
// a write that leaves no trace in sizes and times is seen too.
func watch(args []string) {
	const events = syscall.IN_MODIFY | syscall.IN_CREATE | syscall.IN_DELETE | syscall.IN_MOVED_TO | syscall.IN_MOVED_FROM | syscall.IN_ATTRIB
	fd := must(syscall.InotifyInit())
	folders := map[int32]string{}
	for _, root := range args {
		for _, folder := range append([]string{root}, below(root)...) {
			number := must(syscall.InotifyAddWatch(fd, folder, events))
			folders[int32(number)] = folder
		}
	}
	tell(map[string]any{"event": "ready"})
	buffer := make([]byte, 1<<16)
	for {
		size := must(syscall.Read(fd, buffer))
		for at := 0; at < size; {
			event := (*syscall.InotifyEvent)(unsafe.Pointer(&buffer[at]))
			start := at + syscall.SizeofInotifyEvent
			name := strings.TrimRight(string(buffer[start:start+int(event.Len)]), "\x00")
			tell(map[string]any{"event": "write", "path": folders[event.Wd] + "/" + name, "mask": event.Mask})
			at = start + int(event.Len)
		}
	}
}

func below(root string) []string {
	var found []string
	entries, _ := os.ReadDir(root)
	for _, entry := range entries {
		if entry.IsDir() {
			folder := root + "/" + entry.Name()
			found = append(append(found, folder), below(folder)...)
		}
	}
	return found
}
