// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build arm && gc && !purego && !mt_poly1305_64

package poly1305

import "unsafe"

// Poly1305 in limbs of 32 bits, for processors that multiply 32 by 32 bits.
//
// The generic code multiplies 64 by 64 bits, which takes several of these, and
// far more words than there are registers. Here h is five limbs of 32 bits, of
// which the last holds a few bits, and r is four. A block takes 16 wide
// multiplications, and 4 for the last limb; the usual limbs of 26 bits take 25
// wide ones, and shifts to cut the message into such limbs.
//
// What makes full limbs possible is the clamping of r: each r[i] is below 2²⁸,
// which leaves room to add up a column of products, and r[1] to r[3] are
// multiples of 4. A product h[i]·r[j] with i+j ≥ 4 has a weight of 2¹²⁸ or
// more, and 2¹³⁰ = 5 makes 2¹²⁸ = 5/4, so it is 5/4·r[j] that h[i] is
// multiplied by there, a whole number s[j].
//
//	column 0:  h0·r0  h1·s3  h2·s2  h3·s1
//	column 1:  h0·r1  h1·r0  h2·s3  h3·s2  h4·s1
//	column 2:  h0·r2  h1·r1  h2·r0  h3·s3  h4·s2
//	column 3:  h0·r3  h1·r2  h2·r1  h3·r0  h4·s3
//	limb 4:    h4·r0
//
// Bounds, with R = 2²⁸: macState promises h < 2·(2¹³⁰-5), so h4 ≤ 7, and ≤ 9
// when the message is added. No column exceeds 2³²·(1+3·5/4)·R and a little,
// less than 2⁶³. Limb 4 is at most 9·R plus the carry of column 3, which is
// less than 5·R: less than 2³². Afterwards h4 ≤ 3, and ≤ 4 with the carry of
// what returned to limb 0, so the promise is kept.
//
// No branch and no address depends on the key or on the message, only on the
// length and the address of the message.

// blocks adds n blocks, at least one, to the state. msg must lie at an even
// word; ARMv5 knows no other ones. top is the bit that follows each block, 0 if
// the block contains it already.
//
//go:noescape
func blocks(state *macState, msg *byte, n int, top uint32)

// update adds the message, of which the last block may be short.
func update(state *macState, msg []byte) {
	if n := len(msg) / TagSize; n > 0 && uintptr(unsafe.Pointer(unsafe.SliceData(msg)))%4 == 0 {
		blocks(state, unsafe.SliceData(msg), n, 1)
		msg = msg[n*TagSize:]
	}
	for len(msg) > 0 {
		var words [TagSize / 4]uint32 // lies where a word may lie
		block := (*[TagSize]byte)(unsafe.Pointer(&words))
		n := copy(block[:], msg)
		top := uint32(1)
		if n < TagSize {
			block[n] = 1
			top = 0
		}
		blocks(state, &block[0], 1, top)
		msg = msg[n:]
	}
}

// mac is macGeneric with update in the place of updateGeneric.
type mac struct{ macGeneric }

func (h *mac) Write(p []byte) (int, error) {
	n := len(p)
	if h.offset > 0 {
		filled := copy(h.buffer[h.offset:], p)
		h.offset += filled
		p = p[filled:]
		if h.offset < TagSize {
			return n, nil
		}
		update(&h.macState, h.buffer[:])
		h.offset = 0
	}
	whole := len(p) - len(p)%TagSize
	update(&h.macState, p[:whole])
	h.offset = copy(h.buffer[:], p[whole:])
	return n, nil
}

func (h *mac) Sum(out *[16]byte) {
	state := h.macState
	update(&state, h.buffer[:h.offset])
	finalize(out, &state.h, &state.s)
}
