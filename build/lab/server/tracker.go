// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"net"
	"sync"
)

// tracker knows every open connection, those that a handler took over (DERP, ts2021) included:
// http.Server.Close leaves those alone.
type tracker struct {
	mu   sync.Mutex
	open map[net.Conn]bool
}

func newTracker() *tracker { return &tracker{open: map[net.Conn]bool{}} }

type trackedListener struct {
	net.Listener
	tracker *tracker
}

func (t *tracker) listener(inner net.Listener) net.Listener { return trackedListener{inner, t} }

func (l trackedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tracked := &trackedConn{conn, l.tracker}
	l.tracker.mu.Lock()
	defer l.tracker.mu.Unlock()
	l.tracker.open[tracked] = true
	return tracked, nil
}

type trackedConn struct {
	net.Conn
	tracker *tracker
}

func (c *trackedConn) Close() error {
	c.tracker.mu.Lock()
	delete(c.tracker.open, c)
	c.tracker.mu.Unlock()
	return c.Conn.Close()
}

func (t *tracker) closeAll() {
	t.mu.Lock()
	all := make([]net.Conn, 0, len(t.open))
	for conn := range t.open {
		all = append(all, conn)
	}
	t.mu.Unlock()
	for _, conn := range all {
		conn.Close()
	}
}
