// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build arm64 && gc && !purego && !mt_poly1305_generic

#include "textflag.h"

// See sum_arm64.go for the arithmetic and its bounds.
//
// h is in R4 to R6, r in R7 and R8, s in R9, the message at R1, the number of its
// blocks in R2 and the bit that follows each in R3. Products that need each
// other's carry stand apart: an in-order core multiplies in the meantime.

// func blocks(state *macState, msg *byte, n int, top uint)
TEXT ·blocks(SB), NOSPLIT, $0-32
	MOVD state+0(FP), R0
	MOVD msg+8(FP), R1
	MOVD n+16(FP), R2
	MOVD top+24(FP), R3
	LDP 0(R0), (R4, R5)
	MOVD 16(R0), R6
	LDP 24(R0), (R7, R8)
	ADD R8>>2, R8, R9

loop:
	// h += m, and the bit that follows m
	LDP.P 16(R1), (R10, R11)
	ADDS R10, R4
	ADCS R11, R5
	ADC R3, R6

	// column 0 in R11, R10, column 1 in R15, R14
	MUL R4, R7, R10
	MUL R5, R9, R12
	UMULH R4, R7, R11
	UMULH R5, R9, R13
	MUL R4, R8, R14
	MUL R5, R7, R16
	UMULH R4, R8, R15
	UMULH R5, R7, R17
	ADDS R12, R10
	ADC R13, R11
	MADD R6, R11, R9, R11 // h2·s and the high word of column 0
	ADDS R16, R14
	ADC R17, R15
	ADDS R11, R14
	ADC ZR, R15
	MADD R6, R15, R7, R15 // limb 2: h2·r0 and the high word of column 1

	// What is at 2¹³⁰ and above returns to h[0] times 5.
	AND $~3, R15, R11
	AND $3, R15, R6
	ADD R15>>2, R11
	ADDS R11, R10, R4
	ADCS ZR, R14, R5
	ADC ZR, R6

	SUB $1, R2
	CBNZ R2, loop

	STP (R4, R5), 0(R0)
	MOVD R6, 16(R0)
	RET
