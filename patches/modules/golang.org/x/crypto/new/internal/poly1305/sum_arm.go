// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build arm && gc && !purego && !mt_poly1305_generic

package poly1305

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

// alignment is that of a word: ARMv5 loads no other ones.
const alignment = 4
