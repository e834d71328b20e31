// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build ts_omit_logtail && !mt_omit_logfilter

package main

import (
	"bytes"
	"errors"
	"log"
	"testing"
)

func TestMTLogFilterVerdicts(t *testing.T) {
	for message, verbose := range map[string]bool{
		"magicsock: disco key = d:0123456789abcdef\n": false,
		"": false,
		"wgengine: Reconfig: configuring userspace":                     false,
		"[v1] Accept: TCP{100.64.0.1:53256 > 100.64.0.2:50000} 391 tcp": true,
		"netcheck: [v1] report: udp=true v6=true":                       true,
		"wg: [v2] [0GwzF] - Receiving keepalive packet":                 true,
		"[v3] very quiet":                  true,
		"[v4] no such level":               false,
		"[v\x00JSON]1{\"Hostinfo\":{}}\n":  true,
		"control: [v\x00JSON]0{}":          true,
		"[v\x00JSON]":                      false,
		"[v\x00JSON]x{}":                   false,
		"[vJSON]1{}":                       false,
		"route fd7a:115c:a1e0::1 [via v6]": false,
		"monitor: gateway and self IP changed: gw=172.20.0.1 self=1.2.3.4": false,
	} {
		if got := mtIsVerbose([]byte(message)); got != verbose {
			t.Errorf("mtIsVerbose(%q) = %v, want %v", message, got, verbose)
		}
	}
}

func TestMTLogFilterWithTheLogPackage(t *testing.T) {
	for verbosity, all := range map[string]bool{
		"": false, "0": false, "-1": false, "nonsense": false, "1": true, "2": true, "10": true,
	} {
		var out bytes.Buffer
		logger := log.New(mtFiltered(&out, verbosity), "", 0)
		logger.Printf("kept")
		logger.Printf("part: [v1] dropped")
		logger.Printf("[v\x00JSON]1{}")
		want := "kept\n"
		if all {
			want = "kept\npart: [v1] dropped\n[v\x00JSON]1{}\n"
		}
		if out.String() != want {
			t.Errorf("TS_LOG_VERBOSITY=%q: got %q, want %q", verbosity, out.String(), want)
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestMTLogFilterWrite(t *testing.T) {
	filter := mtFiltered(brokenPipe{}, "")
	dropped := []byte("[v1] x")
	if n, err := filter.Write(dropped); n != len(dropped) || err != nil {
		t.Errorf("a dropped message: got %d, %v; want %d, nil", n, err, len(dropped))
	}
	if _, err := filter.Write([]byte("x")); err == nil {
		t.Error("an error of the output is lost")
	}
}
