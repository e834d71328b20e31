// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
)

// bell tells everybody who waits that something has changed.
type bell struct {
	mu   sync.Mutex
	rung chan struct{}
}

// next returns what is closed when the bell rings.
func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung == nil {
		b.rung = make(chan struct{})
	}
	return b.rung
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung != nil {
		close(b.rung)
		b.rung = nil
	}
}

// keepAlive is how often a stream with nothing to say says that.
const keepAlive = 50 * time.Second

// mapStream answers map requests with testcontrol's own responses, less one thing: testcontrol
// forbids its nodes UPnP, lest tests open ports of a developer's router. The laboratory has a router
// of its own. What a node may do stands in its capabilities by its name in the protocol.
func mapStream(server *testcontrol.Server, changed *bell) testcontrol.AltMapStreamFunc {
	return func(ctx context.Context, w testcontrol.MapStreamWriter, req *tailcfg.MapRequest) {
		// From version 68 on a stream only listens; what a node says of itself comes beside it.
		if !req.ReadOnly && !(req.Stream && req.Version >= 68) {
			node := server.Node(req.NodeKey)
			if node == nil || ctx.Err() != nil {
				return
			}
			node.Endpoints, node.DiscoKey, node.Cap = req.Endpoints, req.DiscoKey, req.Version
			if req.Hostinfo != nil {
				node.Hostinfo = req.Hostinfo.View()
				if info := node.Hostinfo.NetInfo(); info.Valid() && info.PreferredDERP() != 0 {
					node.HomeDERP = info.PreferredDERP()
				}
			}
			server.UpdateNode(node)
			changed.ring()
		}
		for {
			again := changed.next()
			res, err := server.MapResponse(req)
			if err != nil || res == nil {
				return
			}
			if res.Node != nil {
				kept := res.Node.Capabilities[:0:0]
				for _, name := range res.Node.Capabilities {
					if !strings.HasSuffix(string(name), "disable-upnp") {
						kept = append(kept, name)
					}
				}
				res.Node.Capabilities = slices.Clip(kept)
			}
			if w.SendMapMessage(res) != nil || !req.Stream || req.ReadOnly {
				return
			}
			for waiting := true; waiting; {
				select {
				case <-ctx.Done():
					return
				case <-again:
					waiting = false
				case <-time.After(keepAlive):
					if w.SendMapMessage(&tailcfg.MapResponse{KeepAlive: true}) != nil {
						return
					}
				}
			}
		}
	}
}
