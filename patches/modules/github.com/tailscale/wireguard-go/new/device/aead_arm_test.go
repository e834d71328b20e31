// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

package device

import (
	"bytes"
	"os"
	"reflect"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/sys/cpu"
)

// TestMTAEADByCPU: the assembly of tsasm where there is NEON, x/crypto's elsewhere. The two agree.
// MT_NEON is what the test's caller knows of the CPU: "on" or "off".
func TestMTAEADByCPU(t *testing.T) {
	if got, want := cpu.ARM.HasNEON, os.Getenv("MT_NEON") == "on"; got != want {
		t.Fatalf("NEON is %v, the caller says %v", got, want)
	}
	key := bytes.Repeat([]byte{7}, chacha20poly1305.KeySize)
	chosen, err := chacha20poly1305New(key)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := chacha20poly1305.New(key)
	if err != nil {
		t.Fatal(err)
	}
	if got := reflect.TypeOf(chosen) != reflect.TypeOf(plain); got != cpu.ARM.HasNEON {
		t.Errorf("NEON is %v and the cipher is a %v", cpu.ARM.HasNEON, reflect.TypeOf(chosen))
	}
	t.Setenv("TS_WG_ASM", "0")
	if other, _ := chacha20poly1305New(key); reflect.TypeOf(other) != reflect.TypeOf(plain) {
		t.Errorf("TS_WG_ASM=0 gives a %v", reflect.TypeOf(other))
	}
	nonce := make([]byte, chacha20poly1305.NonceSize)
	for size := range 1500 {
		message := bytes.Repeat([]byte{byte(size)}, size)
		sealed := plain.Seal(nil, nonce, message, nil)
		if got := chosen.Seal(nil, nonce, message, nil); !bytes.Equal(got, sealed) {
			t.Fatalf("%d bytes: sealed differently", size)
		}
		if got, err := chosen.Open(nil, nonce, sealed, nil); err != nil || !bytes.Equal(got, message) {
			t.Fatalf("%d bytes: not opened: %v", size, err)
		}
	}
}
