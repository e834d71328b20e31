// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func init() {
	modes["dns"] = serveDNS
	modes["ask"] = ask
}

// zone maps a name, or `*.` and a suffix, to its addresses.
type zone map[string][]netip.Addr

func (z zone) find(name string) ([]netip.Addr, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if found, ok := z[name]; ok {
		return found, true
	}
	_, suffix, _ := strings.Cut(name, ".")
	found, ok := z["*."+suffix]
	return found, ok
}

func (z zone) answer(query []byte, from, network string) []byte {
	var parser dnsmessage.Parser
	header, err := parser.Start(query)
	if err != nil {
		return nil
	}
	question, err := parser.Question()
	if err != nil {
		return nil
	}
	name := question.Name.String()
	tell(map[string]any{"event": "query", "name": name, "type": question.Type.String(), "from": from, "net": network})
	addresses, known := z.find(name)
	reply := dnsmessage.Header{ID: header.ID, Response: true, RecursionDesired: header.RecursionDesired, RecursionAvailable: true}
	if !known {
		reply.RCode = dnsmessage.RCodeNameError
	}
	builder := dnsmessage.NewBuilder(nil, reply)
	builder.StartQuestions()
	builder.Question(question)
	builder.StartAnswers()
	resource := dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: 1}
	for _, address := range addresses {
		switch {
		case question.Type == dnsmessage.TypeA && address.Is4():
			builder.AResource(resource, dnsmessage.AResource{A: address.As4()})
		case question.Type == dnsmessage.TypeAAAA && address.Is6():
			builder.AAAAResource(resource, dnsmessage.AAAAResource{AAAA: address.As16()})
		}
	}
	return must(builder.Finish())
}

// serveDNS answers for the whole internet; arguments are name=address,address. It listens on each
// address by itself: a wildcard socket would answer from another address than was asked.
func serveDNS(args []string) {
	flags := flag.NewFlagSet("dns", flag.ExitOnError)
	listen := flags.String("listen", "", "addresses to serve on")
	flags.Parse(args)
	names := zone{}
	for _, arg := range flags.Args() {
		name, list, _ := strings.Cut(arg, "=")
		for text := range strings.SplitSeq(list, ",") {
			names[name] = append(names[name], netip.MustParseAddr(text))
		}
	}
	for address := range strings.SplitSeq(*listen, ",") {
		go names.packets(must(net.ListenPacket("udp", net.JoinHostPort(address, "53"))))
		go names.streams(must(net.Listen("tcp", net.JoinHostPort(address, "53"))))
	}
	tell(map[string]any{"event": "ready"})
	commands(func(string) {})
}

func (z zone) packets(socket net.PacketConn) {
	buffer := make([]byte, 4096)
	for {
		size, from, err := socket.ReadFrom(buffer)
		if err != nil {
			log.Fatal(err)
		}
		if reply := z.answer(buffer[:size], from.String(), "udp"); reply != nil {
			socket.WriteTo(reply, from)
		}
	}
}

func (z zone) streams(listener net.Listener) {
	for {
		conn := must(listener.Accept())
		go func() {
			defer conn.Close()
			var size uint16
			if binary.Read(conn, binary.BigEndian, &size) != nil {
				return
			}
			query := make([]byte, size)
			if _, err := io.ReadFull(conn, query); err != nil {
				return
			}
			reply := z.answer(query, conn.RemoteAddr().String(), "tcp")
			conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
		}()
	}
}

// ask sends one DNS query and tells what came back, as dig would: rcode, flags, addresses.
func ask(args []string) {
	flags := flag.NewFlagSet("ask", flag.ExitOnError)
	server := flags.String("server", "", "address of the DNS server")
	network := flags.String("net", "udp", "udp or tcp")
	kind := flags.String("type", "A", "A or AAAA")
	timeout := flags.Duration("timeout", 6*time.Second, "for the whole exchange")
	flags.Parse(args)
	name := must(dnsmessage.NewName(strings.TrimSuffix(flags.Arg(0), ".") + "."))
	types := map[string]dnsmessage.Type{"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA}
	question := dnsmessage.Question{Name: name, Type: types[*kind], Class: dnsmessage.ClassINET}
	id := uint16(time.Now().UnixNano())
	query := must((&dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{question},
	}).Pack())
	began := time.Now()
	reply, err := exchange(*network, net.JoinHostPort(*server, "53"), query, *timeout)
	if err != nil {
		tell(map[string]any{"rcode": "", "error": err.Error()})
		return
	}
	var message dnsmessage.Message
	if err := message.Unpack(reply); err != nil || message.ID != id {
		tell(map[string]any{"rcode": "", "error": fmt.Sprint("not an answer: ", err)})
		return
	}
	addresses := []string{}
	for _, resource := range message.Answers {
		switch body := resource.Body.(type) {
		case *dnsmessage.AResource:
			addresses = append(addresses, netip.AddrFrom4(body.A).String())
		case *dnsmessage.AAAAResource:
			addresses = append(addresses, netip.AddrFrom16(body.AAAA).String())
		}
	}
	tell(map[string]any{
		"rcode": strings.TrimPrefix(message.RCode.String(), "RCode"), "ra": message.RecursionAvailable,
		"aa": message.Authoritative, "addresses": addresses, "seconds": time.Since(began).Seconds(),
	})
}

func exchange(network, address string, query []byte, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(timeout))
	reply := make([]byte, 65536)
	if network == "udp" {
		conn.Write(query)
		size, err := conn.Read(reply)
		return reply[:size], err
	}
	conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...))
	var size uint16
	if err := binary.Read(conn, binary.BigEndian, &size); err != nil {
		return nil, err
	}
	_, err = io.ReadFull(conn, reply[:size])
	return reply[:size], err
}
