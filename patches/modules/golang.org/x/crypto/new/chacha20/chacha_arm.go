// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build arm && gc && !purego && !mt_chacha20_generic

package chacha20

import "unsafe"

const bufSize = blockSize

// block XORs src with one block of the key stream of state into dst. Both must
// lie at even words; ARMv5 knows no other ones.
//
//go:noescape
func block(dst, src *[blockSize]byte, state *[16]uint32)

func (s *Cipher) xorKeyStreamBlocks(dst, src []byte) {
	state := [16]uint32{
		j0, j1, j2, j3,
		s.key[0], s.key[1], s.key[2], s.key[3],
		s.key[4], s.key[5], s.key[6], s.key[7],
		s.counter, s.nonce[0], s.nonce[1], s.nonce[2],
	}
	aligned := (uintptr(unsafe.Pointer(unsafe.SliceData(dst)))|uintptr(unsafe.Pointer(unsafe.SliceData(src))))%4 == 0
	for len(src) >= blockSize {
		d, p := (*[blockSize]byte)(dst), (*[blockSize]byte)(src)
		if aligned {
			block(d, p, &state)
		} else {
			var words [blockSize / 4]uint32
			stream := (*[blockSize]byte)(unsafe.Pointer(&words))
			block(stream, stream, &state)
			for i := range d {
				d[i] = p[i] ^ stream[i]
			}
		}
		state[12]++
		dst, src = dst[blockSize:], src[blockSize:]
	}
	s.counter = state[12]
}
