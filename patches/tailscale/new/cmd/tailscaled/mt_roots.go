// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build mt_roots

package main

import (
	"crypto/x509"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// The Mozilla CA set inside the binary: half the flash of a PEM file. Go uses it only where it
// finds no roots of the system, so SSL_CERT_FILE and a mounted /etc/ssl/certs still win.
//
// Package fallback would parse them all at every start, of the command line too.
func init() {
	pool := x509.NewCertPool()
	for root := range bundle.Roots() {
		if err := pool.AddUnparsedCert(root.Certificate, root.Constraint); err != nil {
			panic(err)
		}
	}
	x509.SetFallbackRoots(pool)
}
