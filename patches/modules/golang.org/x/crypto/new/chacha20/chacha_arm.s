// Part of mikrotik-tailscale. SPDX-License-Identifier: BSD-3-Clause

//go:build arm && gc && !purego && !mt_chacha20_generic

#include "textflag.h"

// ChaCha20 for 32-bit ARM, with instructions that all of them have.
//
// The second operand of an ARM instruction can be rotated for nothing. So no
// word is rotated where ChaCha20 says so, but where it is used next: of the
// words 4 to 7 (b) and 12 to 15 (d), the registers hold values that still have
// to be rotated right, by 25 and by 24 bits between two quarter rounds. That
// makes 8 instructions of a quarter round instead of 12.
//
// There are registers for 12 of the 16 words: 0 to 7 in R0 to R7, two of 8 to
// 11 in R8 and R9, two of 12 to 15 in R12 and R14. The others wait on the
// stack. R11 counts the rounds; the assembler would use it only for constants
// that do not fit an instruction.
//
// No branch and no address depends on the key or the data.

#define c0  w8-32(SP)
#define c1  w9-28(SP)
#define c2  w10-24(SP)
#define c3  w11-20(SP)
#define d0  w12-16(SP)
#define d1  w13-12(SP)
#define d2  w14-8(SP)
#define d3  w15-4(SP)

// Two quarter rounds that share no word, in turns: neither has to wait for its
// own last result.
#define QUARTERS(a, b, c, d, e, f, g, h) \
	ADD b@>25, a; \
	ADD f@>25, e; \
	EOR d@>24, a, d; \
	EOR h@>24, e, h; \
	ADD d@>16, c; \
	ADD h@>16, g; \
	EOR b@>25, c, b; \
	EOR f@>25, g, f; \
	ADD b@>20, a; \
	ADD f@>20, e; \
	EOR d@>16, a, d; \
	EOR h@>16, e, h; \
	ADD d@>24, c; \
	ADD h@>24, g; \
	EOR b@>20, c, b; \
	EOR f@>20, g, f

// A word of the result: the working word, which has to be rotated right by
// rot, plus the word of the initial state, all XOR the source.
#define FINISH(r, rot, offset) \
	MOVW offset(R12), R14; \
	ADD r@>rot, R14, r; \
	MOVW offset(R11), R14; \
	EOR R14, r

#define FINISH0(r, offset) \
	MOVW offset(R12), R14; \
	ADD R14, r; \
	MOVW offset(R11), R14; \
	EOR R14, r

// func block(dst, src *[64]byte, state *[16]uint32)
TEXT ·block(SB), NOSPLIT, $32-12
	MOVW state+8(FP), R11
	MOVW 40(R11), R8
	MOVW 44(R11), R9
	MOVW R8, c2
	MOVW R9, c3
	MOVW 56(R11), R8
	MOVW 60(R11), R9
	MOVW R8@>8, R8
	MOVW R9@>8, R9
	MOVW R8, d2
	MOVW R9, d3
	MOVM.IA (R11), [R0-R9]
	MOVW R4@>7, R4
	MOVW R5@>7, R5
	MOVW R6@>7, R6
	MOVW R7@>7, R7
	MOVW 48(R11), R12
	MOVW 52(R11), R14
	MOVW R12@>8, R12
	MOVW R14@>8, R14
	MOVW $10, R11

rounds:
	// columns 0 and 1
	QUARTERS(R0, R4, R8, R12, R1, R5, R9, R14)
	MOVW R8, c0
	MOVW R9, c1
	MOVW R12, d0
	MOVW R14, d1
	MOVW c2, R8
	MOVW c3, R9
	MOVW d2, R12
	MOVW d3, R14
	// columns 2 and 3
	QUARTERS(R2, R6, R8, R12, R3, R7, R9, R14)
	MOVW R12, d2
	MOVW d0, R12
	// the diagonals that begin at 0 and 1
	QUARTERS(R0, R5, R8, R14, R1, R6, R9, R12)
	MOVW R8, c2
	MOVW R9, c3
	MOVW R14, d3
	MOVW R12, d0
	MOVW c0, R8
	MOVW c1, R9
	MOVW d1, R14
	MOVW d2, R12
	// the diagonals that begin at 2 and 3
	QUARTERS(R2, R7, R8, R14, R3, R4, R9, R12)
	MOVW R12, d2
	MOVW d0, R12
	SUB.S $1, R11
	BNE rounds

	MOVW R14, d1
	MOVW state+8(FP), R12
	MOVW src+4(FP), R11
	FINISH0(R0, 0)
	FINISH0(R1, 4)
	FINISH0(R2, 8)
	FINISH0(R3, 12)
	FINISH(R4, 25, 16)
	FINISH(R5, 25, 20)
	FINISH(R6, 25, 24)
	FINISH(R7, 25, 28)
	FINISH0(R8, 32)
	FINISH0(R9, 36)
	MOVW dst+0(FP), R14
	MOVM.IA [R0-R9], (R14)

	MOVW c2, R0
	MOVW c3, R1
	MOVW d0, R2
	MOVW d1, R3
	MOVW d2, R4
	MOVW d3, R5
	FINISH0(R0, 40)
	FINISH0(R1, 44)
	FINISH(R2, 24, 48)
	FINISH(R3, 24, 52)
	FINISH(R4, 24, 56)
	FINISH(R5, 24, 60)
	MOVW dst+0(FP), R14
	ADD $40, R14
	MOVM.IA [R0-R5], (R14)
	RET
