// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build arm64 && gc && !purego && !mt_poly1305_generic

package poly1305

// Poly1305 in limbs of 64 bits. h is three limbs, of which the last holds a few
// bits, and r is two.
//
// As in 32-bit limbs (sum_arm.go), the clamping of r makes them possible: r[0]
// and r[1] are below 2⁶⁰, and r[1] is a multiple of 4. A product h[i]·r[j] with
// i+j ≥ 2 has a weight of 2¹²⁸ or more, and 2¹³⁰ = 5 makes 2¹²⁸ = 5/4, so it is
// the whole number s = 5/4·r[1] that h[1] and h[2] are multiplied by there.
//
//	column 0:  h0·r0  h1·s
//	column 1:  h0·r1  h1·r0  h2·s
//	limb 2:    h2·r0
//
// That is 10 multiplications of 64 bits, where the generic code has 12 and adds
// up products of twice the weight afterwards.
//
// Bounds, with R = 2⁶⁰: macState promises h < 2·(2¹³⁰-5), so h2 ≤ 7, and ≤ 9
// when the message is added. The high word of column 0 is less than 9/4·R, and
// h2·s at most 9·5/4·R: the sum of the two, less than 14·R, fits a word. The
// high word of column 1 is less than 2·R and a little. Limb 2 is at most 9·R and
// that, less than 12·R; 5 times its part at 2¹³⁰ and above is at most 5/4 of it,
// less than 15·R, and still fits a word. Afterwards h2 ≤ 3, and ≤ 4 with the
// carry of what returned to limb 0, so the promise is kept.

// alignment is none: a word may lie anywhere.
const alignment = 1
