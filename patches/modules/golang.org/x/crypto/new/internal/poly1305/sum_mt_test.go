// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build (arm || arm64) && gc && !purego && !mt_poly1305_generic

package poly1305

import (
	"encoding/hex"
	"math/big"
	"math/rand"
	"testing"
)

// The arithmetic from the definition, with no limbs at all.
var prime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 130), big.NewInt(5))

func fromLittle(b []byte) *big.Int {
	r := make([]byte, len(b))
	for i := range b {
		r[len(b)-1-i] = b[i]
	}
	return new(big.Int).SetBytes(r)
}

func sumByDefinition(msg []byte, key *[32]byte) (out [TagSize]byte) {
	clamped := *key
	for _, i := range []int{3, 7, 11, 15} {
		clamped[i] &= 15
	}
	for _, i := range []int{4, 8, 12} {
		clamped[i] &= 252
	}
	r, s, h := fromLittle(clamped[:16]), fromLittle(key[16:]), new(big.Int)
	for len(msg) > 0 {
		n := min(len(msg), TagSize)
		h.Add(h, fromLittle(append(append([]byte(nil), msg[:n]...), 1)))
		h.Mul(h, r).Mod(h, prime)
		msg = msg[n:]
	}
	little := h.Add(h, s).FillBytes(make([]byte, 32))
	for i := range out {
		out[i] = little[31-i]
	}
	return out
}

func sumGenericOf(msg []byte, key *[32]byte) (out [TagSize]byte) {
	sumGeneric(&out, msg, key)
	return out
}

func check(t *testing.T, what string, msg []byte, key *[32]byte) {
	t.Helper()
	var out [TagSize]byte
	Sum(&out, msg, key)
	if want := sumGenericOf(msg, key); out != want {
		t.Fatalf("%s: key %x, %d bytes %x: got %x, the generic code has %x", what, *key, len(msg), msg, out, want)
	}
}

// RFC 8439, 2.5.2 and the vectors of appendix A.3 that are about carries.
func TestRFC8439(t *testing.T) {
	for i, v := range []struct{ key, msg, tag string }{
		{"85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b",
			hex.EncodeToString([]byte("Cryptographic Forum Research Group")),
			"a8061dc1305136c6c22b8baf0c0127a9"},
		{"02" + zeros(31), "ff" + ones(15), "03" + zeros(15)},
		{"02" + zeros(15) + ones(16), "02" + zeros(15), "03" + zeros(15)},
		{"01" + zeros(31), ones(16) + "f0" + ones(15) + "11" + zeros(15), "05" + zeros(15)},
		{"01" + zeros(31), ones(16) + "fb" + repeat("fe", 15) + repeat("01", 16), zeros(16)},
		{"02" + zeros(31), "fd" + ones(15), "fa" + ones(15)},
	} {
		var key [32]byte
		hex.Decode(key[:], []byte(v.key))
		msg, err := hex.DecodeString(v.msg)
		if err != nil {
			t.Fatal(i, err)
		}
		var out [TagSize]byte
		Sum(&out, msg, &key)
		if got := hex.EncodeToString(out[:]); got != v.tag {
			t.Errorf("vector %d: got %s, want %s", i, got, v.tag)
		}
	}
}

func repeat(s string, n int) (r string) {
	for range n {
		r += s
	}
	return r
}

func zeros(n int) string { return repeat("00", n) }
func ones(n int) string  { return repeat("ff", n) }

// Every length and every alignment, in one piece and in two.
func TestLengths(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	buf := make([]byte, 400)
	for n := 0; n <= 300; n++ {
		for offset := range 4 {
			var key [32]byte
			rnd.Read(key[:])
			rnd.Read(buf)
			msg := buf[offset : offset+n]
			check(t, "whole", msg, &key)
			want := sumByDefinition(msg, &key)
			if got := sumGenericOf(msg, &key); got != want {
				t.Fatalf("the generic code is wrong: %x, %x", got, want)
			}
			for range 3 {
				h := New(&key)
				for rest := msg; len(rest) > 0; {
					k := 1 + rnd.Intn(len(rest))
					h.Write(rest[:k])
					rest = rest[k:]
				}
				if got := h.Sum(nil); [TagSize]byte(got) != want {
					t.Fatalf("in pieces: %d bytes at %d: got %x, want %x", n, offset, got, want)
				}
				if !h.Verify(want[:]) {
					t.Fatal("does not verify")
				}
			}
		}
	}
}

// Words that are full, empty or next to it make the carries run; so do states
// around multiples of the prime, and the largest that macState allows.
func TestEdges(t *testing.T) {
	rnd := rand.New(rand.NewSource(2))
	bytes := []byte{0, 0, 0, 1, 2, 3, 4, 5, 0x7f, 0x80, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff, 0xff, 0xff, 0xff}
	fill := func(b []byte) {
		for i := 0; i < len(b); {
			v := bytes[rnd.Intn(len(bytes))]
			for n := 1 + rnd.Intn(8); n > 0 && i < len(b); n-- {
				b[i] = v
				i++
			}
		}
	}
	words := []uint64{0, 1, 4, 5, 6, 1<<32 - 1, 1 << 32, 1<<63 - 1, 1 << 63, 1<<64 - 6, 1<<64 - 5, 1<<64 - 4, 1<<64 - 2, 1<<64 - 1}
	msg := make([]byte, 64)
	n := 100_000
	if testing.Short() {
		n = 20_000
	}
	for range n {
		var key [32]byte
		fill(key[:])
		fill(msg)
		check(t, "edges", msg[:rnd.Intn(len(msg)+1)], &key)

		var a macState
		initialize(&key, &a)
		a.h = [3]uint64{words[rnd.Intn(len(words))], words[rnd.Intn(len(words))], uint64(rnd.Intn(8))}
		if a.h[2] == 7 && a.h[1] == 1<<64-1 {
			a.h[0] %= 1<<64 - 10 // below twice the prime
		}
		b := a
		piece := msg[:rnd.Intn(len(msg)+1)]
		update(&a, piece)
		updateGeneric(&b, piece)
		var tagA, tagB [TagSize]byte
		finalize(&tagA, &a.h, &a.s)
		finalize(&tagB, &b.h, &b.s)
		if tagA != tagB {
			t.Fatalf("key %x, message %x: %x, the generic code has %x", key, piece, tagA, tagB)
		}
		if len(piece) > 0 && a.h[2] > 4 {
			t.Fatalf("key %x, message %x: h[2] is %d afterwards", key, piece, a.h[2])
		}
	}
}

// A million random messages against the generic code.
func TestRandom(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 10_000
	}
	rnd := rand.New(rand.NewSource(3))
	pool := make([]byte, 1<<16)
	rnd.Read(pool)
	for range n {
		var key [32]byte
		copy(key[:], pool[rnd.Intn(len(pool)-32):])
		at := rnd.Intn(len(pool) - 200)
		check(t, "random", pool[at:at+rnd.Intn(100)], &key)
	}
}
