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
	"net/http"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"
)

func init() {
	modes["portmap"] = portmap
}

// gateway opens ports of the router for hosts behind it: NAT-PMP (RFC 6886), PCP (RFC 6887) and
// UPnP IGD. Only one is spoken at a time, so that each can be seen to work.
type gateway struct {
	external, inside netip.Addr
	protocol         string
	began            time.Time
}

// portmap serves on the inside address. Mappings become DNAT rules of the nft map `opened` in
// table `inet lab`, which the topology makes.
func portmap(args []string) {
	flags := flag.NewFlagSet("portmap", flag.ExitOnError)
	inside := flags.String("inside", "", "address that hosts see")
	external := flags.String("external", "", "address of the WAN side")
	protocol := flags.String("protocol", "pmp", "pmp, pcp or upnp")
	flags.Parse(args)
	gw := &gateway{netip.MustParseAddr(*external), netip.MustParseAddr(*inside), *protocol, time.Now()}
	switch *protocol {
	case "upnp":
		go gw.discover()
		go func() { log.Fatal(http.ListenAndServe(*inside+":5000", http.HandlerFunc(gw.upnp))) }()
	default:
		go gw.packets()
	}
	tell(map[string]any{"event": "ready"})
	commands(func(string) {})
}

func (gw *gateway) mapped(host netip.Addr, inner, outer uint16) {
	rule := fmt.Sprintf("add element inet lab opened { %d : %s . %d }", outer, host, inner)
	if out, err := exec.Command("nft", rule).CombinedOutput(); err != nil && !strings.Contains(string(out), "exists") {
		log.Printf("nft %s: %s", rule, out)
		return
	}
	tell(map[string]any{"event": "mapped", "protocol": gw.protocol, "host": host, "inner": inner, "outer": outer})
}

func outerPort(inner uint16) uint16 { return 20000 + inner%10000 }

func (gw *gateway) packets() {
	socket := must(net.ListenUDP("udp4", &net.UDPAddr{IP: gw.inside.AsSlice(), Port: 5351}))
	buffer := make([]byte, 1100)
	for {
		size, from, err := socket.ReadFromUDPAddrPort(buffer)
		if err != nil {
			log.Fatal(err)
		}
		packet := buffer[:size]
		var reply []byte
		switch {
		case size >= 2 && packet[0] == 0 && gw.protocol == "pmp":
			reply = gw.pmp(packet, from.Addr())
		case size >= 24 && packet[0] == 2 && gw.protocol == "pcp":
			reply = gw.pcp(packet, from.Addr())
		}
		if reply != nil {
			socket.WriteToUDPAddrPort(reply, from)
		}
	}
}

func (gw *gateway) epoch() uint32 { return uint32(time.Since(gw.began).Seconds()) + 1 }

func (gw *gateway) pmp(packet []byte, host netip.Addr) []byte {
	reply := binary.BigEndian.AppendUint32([]byte{0, 128 + packet[1], 0, 0}, gw.epoch())
	switch {
	case packet[1] == 0:
		return append(reply, gw.external.AsSlice()...)
	case packet[1] == 1 && len(packet) >= 12:
		inner := binary.BigEndian.Uint16(packet[4:])
		gw.mapped(host.Unmap(), inner, outerPort(inner))
		reply = append(reply, packet[4:6]...)
		reply = binary.BigEndian.AppendUint16(reply, outerPort(inner))
		return append(reply, packet[8:12]...)
	}
	return nil
}

func (gw *gateway) pcp(packet []byte, host netip.Addr) []byte {
	header := make([]byte, 24)
	header[0], header[1] = 2, packet[1]|0x80
	copy(header[4:8], packet[4:8])
	binary.BigEndian.PutUint32(header[8:], gw.epoch())
	if packet[1] == 0 {
		return header
	}
	if packet[1] != 1 || len(packet) < 60 {
		return nil
	}
	body := append([]byte{}, packet[24:60]...)
	inner := binary.BigEndian.Uint16(body[16:])
	gw.mapped(host.Unmap(), inner, outerPort(inner))
	binary.BigEndian.PutUint16(body[18:], outerPort(inner))
	external := gw.external.As16()
	copy(body[20:], external[:])
	return append(header, body...)
}

const service = "urn:schemas-upnp-org:service:WANIPConnection:1"

func (gw *gateway) discover() {
	group := &net.UDPAddr{IP: net.IPv4(239, 255, 255, 250), Port: 1900}
	interfaces := must(net.Interfaces())
	var device *net.Interface
	for i := range interfaces {
		addresses, _ := interfaces[i].Addrs()
		for _, address := range addresses {
			if strings.HasPrefix(address.String(), gw.inside.String()+"/") {
				device = &interfaces[i]
			}
		}
	}
	// Questions come to the group or to the gateway; clients believe answers from the gateway's
	// address and port 1900 only.
	share := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
		})
	}}
	packets := must(share.ListenPacket(context.Background(), "udp4", gw.inside.String()+":1900"))
	own := packets.(*net.UDPConn)
	reply := func(socket *net.UDPConn) {
		buffer := make([]byte, 2048)
		for {
			size, from, err := socket.ReadFromUDP(buffer)
			if err != nil {
				log.Fatal(err)
			}
			log.Printf("%s: %.40q", from, buffer[:size])
			if strings.HasPrefix(string(buffer[:size]), "M-SEARCH") {
				own.WriteToUDP(fmt.Appendf(nil, found, gateway1, gateway1, gw.inside), from)
			}
		}
	}
	go reply(own)
	reply(must(net.ListenMulticastUDP("udp4", device, group)))
}

const gateway1 = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"

const found = "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: %s\r\nUSN: uuid:mt-lab::%s\r\nEXT:\r\n" +
	"SERVER: mt-lab UPnP/1.1\r\nLOCATION: http://%s:5000/root.xml\r\n\r\n"

const device = `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>0</minor></specVersion>
<device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><friendlyName>mt-lab</friendlyName><manufacturer>mt-lab</manufacturer><modelName>mt-lab</modelName><UDN>uuid:mt-lab</UDN>
<deviceList><device><deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType><friendlyName>wan</friendlyName><manufacturer>mt-lab</manufacturer><modelName>wan</modelName><UDN>uuid:mt-lab-wan</UDN>
<deviceList><device><deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType><friendlyName>conn</friendlyName><manufacturer>mt-lab</manufacturer><modelName>conn</modelName><UDN>uuid:mt-lab-conn</UDN>
<serviceList><service><serviceType>` + service + `</serviceType><serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId><SCPDURL>/scpd.xml</SCPDURL><controlURL>/control</controlURL><eventSubURL>/event</eventSubURL></service></serviceList>
</device></deviceList></device></deviceList></device></root>`

var element = regexp.MustCompile(`<(?:\w+:)?(NewInternalPort|NewExternalPort|NewInternalClient|NewProtocol)[^>]*>([^<]*)<`)

func (gw *gateway) upnp(w http.ResponseWriter, r *http.Request) {
	log.Printf("%s: %s %s %s", r.RemoteAddr, r.Method, r.URL.Path, r.Header.Get("SOAPAction"))
	w.Header().Set("Content-Type", "text/xml")
	if r.Method == "GET" {
		io.WriteString(w, device)
		return
	}
	body, _ := io.ReadAll(r.Body)
	_, action, _ := strings.Cut(strings.Trim(r.Header.Get("SOAPAction"), `"`), "#")
	values := map[string]string{}
	for _, match := range element.FindAllStringSubmatch(string(body), -1) {
		values[match[1]] = match[2]
	}
	answer := ""
	switch action {
	case "GetExternalIPAddress":
		answer = "<NewExternalIPAddress>" + gw.external.String() + "</NewExternalIPAddress>"
	case "GetStatusInfo":
		answer = "<NewConnectionStatus>Connected</NewConnectionStatus><NewLastConnectionError>ERROR_NONE</NewLastConnectionError><NewUptime>100</NewUptime>"
	case "AddPortMapping":
		var inner, outer uint16
		fmt.Sscan(values["NewInternalPort"], &inner)
		fmt.Sscan(values["NewExternalPort"], &outer)
		gw.mapped(netip.MustParseAddr(values["NewInternalClient"]), inner, outer)
	}
	fmt.Fprintf(w, `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><u:%sResponse xmlns:u="%s">%s</u:%sResponse></s:Body></s:Envelope>`, action, service, answer, action)
}
