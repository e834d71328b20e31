// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

func init() {
	modes["status"] = localStatus
}

// localStatus prints what the daemon behind a socket says of itself, as `tailscale status --json`
// does. On an emulated machine that program takes seconds to unpack itself, at each look.
func localStatus(args []string) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", args[0])
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial}}
	answer, err := client.Get("http://local-tailscaled.sock/localapi/v0/status")
	if err != nil {
		log.Fatal(err)
	}
	io.Copy(os.Stdout, answer.Body)
}
