// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build arm && gc && !purego && !mt_chacha20_generic

package chacha20

import (
	"math/bits"
	"unsafe"
)

const bufSize = blockSize

// schedule is what a block begins with: the state, and above it the same words
// as the registers and the stack want them. Words 4 to 7 and 12 to 15 lie there
// rotated; see chacha_arm.s.
type schedule struct {
	stack     [3]uint32  // words 10, 11 and 15
	registers [13]uint32 // words 0 to 9 and 12 to 14
	state     [16]uint32
}

// blocks XORs size bytes of src, whole blocks and at least one, with the key
// stream into dst, and counts the blocks in s. dst and src must lie at even
// words; ARMv5 knows no other ones.
//
//go:noescape
func blocks(dst, src *byte, size int, s *schedule)

func (s *Cipher) xorKeyStreamBlocks(dst, src []byte) {
	if len(src) < blockSize {
		return
	}
	k, n, rot := &s.key, &s.nonce, bits.RotateLeft32
	w := schedule{
		[3]uint32{k[6], k[7], rot(n[2], -8)},
		[13]uint32{
			j0, j1, j2, j3,
			rot(k[0], -7), rot(k[1], -7), rot(k[2], -7), rot(k[3], -7),
			k[4], k[5],
			rot(s.counter, -8), rot(n[0], -8), rot(n[1], -8),
		},
		[16]uint32{
			j0, j1, j2, j3,
			k[0], k[1], k[2], k[3],
			k[4], k[5], k[6], k[7],
			s.counter, n[0], n[1], n[2],
		},
	}
	d, p := unsafe.SliceData(dst), unsafe.SliceData(src)
	if (uintptr(unsafe.Pointer(d))|uintptr(unsafe.Pointer(p)))%4 == 0 {
		size := len(src) - len(src)%blockSize
		_ = dst[size-1]
		blocks(d, p, size, &w)
	} else {
		for len(src) >= blockSize {
			d, p := (*[blockSize]byte)(dst), (*[blockSize]byte)(src)
			var words [blockSize / 4]uint32
			stream := (*[blockSize]byte)(unsafe.Pointer(&words))
			blocks(&stream[0], &stream[0], blockSize, &w)
			for i := range d {
				d[i] = p[i] ^ stream[i]
			}
			dst, src = dst[blockSize:], src[blockSize:]
		}
	}
	s.counter = w.state[12]
}
