// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build arm && gc && !purego && !mt_poly1305_generic

#include "textflag.h"

// See sum_arm.go for the arithmetic and its bounds.
//
// h is in R0 to R4, r in R5 to R8, the message at R11. A column of products is in
// R12 and R9, of which each is the high word in turns: the high word of a column
// is the low one of the next. 5/4·r is made where it is needed, in R14: that
// takes one instruction, as it would to load it.

// ACC54 adds 5/4·x·y to a column and leaves 5/4·x in R14.
#define ACC54(x, y, high, low) \
	ADD x>>2, x, R14; \
	MULALU R14, y, (high, low)

// func blocks(state *macState, msg *byte, n int, top uint)
TEXT ·blocks(SB), NOSPLIT, $16-16
	MOVW state+0(FP), R14
	MOVM.IA (R14), [R0-R4]
	ADD $24, R14
	MOVM.IA (R14), [R5-R8]
	MOVW msg+4(FP), R11
	MOVW n+8(FP), R14
	ADD R14<<4, R11, R14
	MOVW R14, end-16(SP)

loop:
	// h += m, and the bit that follows m
	MOVM.IA.W (R11), [R9, R12, R14]
	ADD.S R9, R0
	ADC.S R12, R1
	ADC.S R14, R2
	MOVW.P 4(R11), R14
	ADC.S R14, R3
	MOVW top+12(FP), R14
	ADC R14, R4

	// h *= r
	MULLU R5, R0, (R12, R9)
	ACC54(R8, R1, R12, R9)
	ACC54(R7, R2, R12, R9)
	ACC54(R6, R3, R12, R9)
	MOVW R9, low0-12(SP)
	MOVW $0, R9
	MULALU R14, R4, (R9, R12)
	MULALU R6, R0, (R9, R12)
	MULALU R5, R1, (R9, R12)
	ACC54(R8, R2, R9, R12)
	ACC54(R7, R3, R9, R12)
	MOVW R12, low1-8(SP)
	MOVW $0, R12
	MULALU R14, R4, (R12, R9)
	MULALU R7, R0, (R12, R9)
	MULALU R6, R1, (R12, R9)
	MULALU R5, R2, (R12, R9)
	ACC54(R8, R3, R12, R9)
	MOVW R9, low2-4(SP)
	MOVW $0, R9
	MULALU R14, R4, (R9, R12)
	MULALU R8, R0, (R9, R12)
	MULALU R7, R1, (R9, R12)
	MULALU R6, R2, (R9, R12)
	MULALU R5, R3, (R9, R12)
	MULA R4, R5, R9, R14

	// What is at 2¹³⁰ and above returns to h[0] times 5, in two steps: 5 times
	// it need not fit a word.
	MOVW low0-12(SP), R0
	MOVW low1-8(SP), R1
	MOVW low2-4(SP), R2
	MOVW R12, R3
	AND $3, R14, R4
	MOVW R14>>2, R12
	MOVW $0, R9
	ADD.S R12, R0
	ADC $0, R9
	ADD.S R12<<2, R0
	ADC.S R9, R1
	ADC.S $0, R2
	ADC.S $0, R3
	ADC $0, R4

	MOVW end-16(SP), R14
	CMP R14, R11
	BNE loop

	MOVW state+0(FP), R14
	MOVM.IA [R0-R4], (R14)
	RET
