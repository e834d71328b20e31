// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build (arm || arm64) && gc && !purego && !mt_poly1305_generic

package poly1305

import "unsafe"

// The arithmetic and its bounds are in sum_arm.go and sum_arm64.go. No branch and
// no address depends on the key or on the message, only on the length and the
// address of the message.

// blocks adds n blocks, at least one, to the state. msg must lie at a multiple of
// alignment. top is the bit that follows each block, 0 if the block contains it
// already.
//
//go:noescape
func blocks(state *macState, msg *byte, n int, top uint)

// update adds the message, of which the last block may be short.
func update(state *macState, msg []byte) {
	if n := len(msg) / TagSize; n > 0 && uintptr(unsafe.Pointer(unsafe.SliceData(msg)))%alignment == 0 {
		blocks(state, unsafe.SliceData(msg), n, 1)
		msg = msg[n*TagSize:]
	}
	for len(msg) > 0 {
		var words [TagSize / 4]uint32 // lies where a word may lie
		block := (*[TagSize]byte)(unsafe.Pointer(&words))
		n := copy(block[:], msg)
		top := uint(1)
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
