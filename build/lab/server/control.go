// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"flag"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"tailscale.com/derp/derpserver"
	"tailscale.com/net/stunserver"
	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"
)

func init() {
	modes["control"] = control
}

const region = 900

// authority is a CA made for one run; it signs the control server's certificate.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	host string
}

// set puts an entry into a map of whatever type upstream gave it.
func set[M ~map[K]V, K comparable, V any](m *M, k K, v V) {
	if *m == nil {
		*m = M{}
	}
	(*m)[k] = v
}

func newAuthority(host, pemFile string) *authority {
	priv := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "mt-lab CA"},
		NotBefore:             time.Now().AddDate(-1, 0, 0),
		NotAfter:              time.Now().AddDate(20, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, priv.Public(), priv))
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(pemFile, block, 0o644); err != nil {
		log.Fatal(err)
	}
	return &authority{must(x509.ParseCertificate(der)), priv, host}
}

// certificate returns one that is valid from `ahead` after now: to a client it looks as if its own
// clock were that much behind.
func (a *authority) certificate(ahead time.Duration) *tls.Certificate {
	priv := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: a.host},
		DNSNames:     []string{a.host},
		NotBefore:    time.Now().Add(ahead - time.Hour),
		NotAfter:     time.Now().Add(ahead + 240*time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der := must(x509.CreateCertificate(rand.Reader, template, a.cert, priv.Public(), a.key))
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: priv}
}

// approve makes every route that a node advertises its own, as an admin would.
func approve(server *testcontrol.Server, changed *bell) {
	given := map[key.NodePublic][]netip.Prefix{}
	for range time.Tick(200 * time.Millisecond) {
		for _, node := range server.AllNodes() {
			if !node.Hostinfo.Valid() {
				continue
			}
			wanted := node.Hostinfo.RoutableIPs().AsSlice()
			if before, known := given[node.Key]; !known || !slices.Equal(before, wanted) {
				given[node.Key] = wanted
				server.SetSubnetRoutes(node.Key, wanted)
				changed.ring()
			}
		}
	}
}

func tellNodes(server *testcontrol.Server) {
	nodes := []map[string]any{}
	for _, node := range server.AllNodes() {
		nodes = append(nodes, map[string]any{
			"name": node.Name, "key": node.Key, "addresses": node.Addresses,
			"endpoints": node.Endpoints, "routes": node.AllowedIPs,
		})
	}
	tell(map[string]any{"event": "nodes", "nodes": nodes})
}

// control serves control protocol, DERP and STUN. Its standard input takes `nodes`, `off`, `on`
// (the TCP side is gone and back, with its memory) and `clock <duration>`.
func control(args []string) {
	flags := flag.NewFlagSet("control", flag.ExitOnError)
	host := flags.String("host", "", "name in the certificate")
	ip4 := flags.String("ip4", "", "address of DERP and STUN")
	ip6 := flags.String("ip6", "", "address of DERP and STUN")
	domain := flags.String("domain", "", "MagicDNS domain")
	caFile := flags.String("ca", "", "where to write the CA certificate")
	flags.Parse(args)

	server := &testcontrol.Server{
		Logf:             log.Printf,
		ExplicitBaseURL:  "https://" + *host,
		AllNodesSameUser: true,
		AllOnline:        true,
		MagicDNSDomain:   *domain,
		DNSConfig:        &tailcfg.DNSConfig{Proxied: true, Domains: []string{*domain}},
		DERPMap:          &tailcfg.DERPMap{OmitDefaultRegions: true},
	}
	set(&server.DERPMap.Regions, region, &tailcfg.DERPRegion{
		RegionID: region, RegionCode: "lab", RegionName: "Laboratory", Nodes: []*tailcfg.DERPNode{{
			Name: "lab1", RegionID: region, HostName: *host, IPv4: *ip4, IPv6: *ip6,
			STUNPort: 3478, DERPPort: 443}}})
	changed := &bell{}
	server.AltMapStream = mapStream(server, changed)
	go approve(server, changed)

	stun := stunserver.New(context.Background())
	if err := stun.Listen(":3478"); err != nil {
		log.Fatal(err)
	}
	go stun.Serve()

	relay := derpserver.New(key.NewNode(), log.Printf)
	mux := http.NewServeMux()
	mux.Handle("/derp", derpserver.Handler(relay))
	mux.HandleFunc("/derp/probe", derpserver.ProbeHandler)
	mux.HandleFunc("/derp/latency-check", derpserver.ProbeHandler)
	mux.HandleFunc("/generate_204", derpserver.ServeNoContent)
	// A client without DNS asks a DERP host for the control server's address.
	mux.HandleFunc("/bootstrap-dns", func(w http.ResponseWriter, r *http.Request) {
		tell(map[string]any{"event": "bootstrap-dns", "from": r.RemoteAddr})
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string][]string{*host: {*ip4, *ip6}})
	})
	// testcontrol ends the process on a path it does not know: it gets only those it does.
	for _, path := range []string{"/key", "/ts2021", "/machine/", "/c2n/"} {
		mux.Handle(path, server)
	}

	ca := newAuthority(*host, *caFile)
	var current atomic.Pointer[tls.Certificate]
	current.Store(ca.certificate(0))
	config := &tls.Config{
		// HTTP/1.1 only: DERP and ts2021 take over the connection.
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return current.Load(), nil },
	}
	var running *http.Server
	connections := newTracker()
	open := func() {
		listener := must(net.Listen("tcp", ":443"))
		running = &http.Server{Handler: mux}
		go running.Serve(tls.NewListener(connections.listener(listener), config))
	}
	open()
	tell(map[string]any{"event": "ready"})
	commands(func(line string) {
		switch word, rest, _ := strings.Cut(line, " "); word {
		case "nodes":
			tellNodes(server)
			return
		case "off":
			running.Close()
			connections.closeAll()
		case "on":
			open()
		case "clock":
			current.Store(ca.certificate(must(time.ParseDuration(rest))))
		}
		tell(map[string]any{"event": "done", "command": line})
	})
}
