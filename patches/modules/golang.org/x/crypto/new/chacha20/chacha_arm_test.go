// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build arm && gc && !purego && !mt_chacha20_generic

package chacha20

import (
	"bytes"
	"encoding/hex"
	"math/rand"
	"testing"
)

// RFC 8439, 2.3.2: the block function.
func TestBlockRFC8439(t *testing.T) {
	key, _ := hex.DecodeString("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	nonce, _ := hex.DecodeString("000000090000004a00000000")
	want := "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e" +
		"d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
	c, err := NewUnauthenticatedCipher(key, nonce)
	if err != nil {
		t.Fatal(err)
	}
	c.SetCounter(1)
	got := make([]byte, 64)
	c.XORKeyStream(got, got)
	if hex.EncodeToString(got) != want {
		t.Errorf("got %x", got)
	}
}

// The blocks against the generic code: any key, counter, length and alignment,
// in place and from one buffer to another.
func TestBlocksAgainstGeneric(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 2_000
	}
	rnd := rand.New(rand.NewSource(1))
	in, got, want := make([]byte, 600), make([]byte, 600), make([]byte, 600)
	for range n {
		var a Cipher
		for i := range a.key {
			a.key[i] = rnd.Uint32()
		}
		for i := range a.nonce {
			a.nonce[i] = rnd.Uint32()
		}
		a.counter = rnd.Uint32()
		if rnd.Intn(4) == 0 {
			a.counter = ^uint32(0) - uint32(rnd.Intn(3))
		}
		b := a
		rnd.Read(in)
		copy(got, in)
		copy(want, in)
		from, to, size := rnd.Intn(5), rnd.Intn(5), 64*rnd.Intn(9)
		src := in[from : from+size]
		if rnd.Intn(2) == 0 {
			to = from
			src = got[from : from+size]
		}
		plain := append([]byte(nil), src...)
		a.xorKeyStreamBlocks(got[to:to+size], src)
		b.xorKeyStreamBlocksGeneric(want[to:to+size], plain)
		if !bytes.Equal(got, want) || a.counter != b.counter {
			t.Fatalf("%d bytes from %d to %d differ, counters %d, %d", size, from, to, a.counter, b.counter)
		}
	}
}
