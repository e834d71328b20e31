// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build mt_roots

package main

// The Mozilla CA set inside the binary: half the flash of a PEM file. Go uses it only where it
// finds no roots of the system, so SSL_CERT_FILE and a mounted /etc/ssl/certs still win.
import _ "golang.org/x/crypto/x509roots/fallback"
