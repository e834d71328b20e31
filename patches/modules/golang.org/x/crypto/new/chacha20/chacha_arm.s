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
// There are registers for 13 of the 16 words: 0 to 7 in R0 to R7, two of 8 to
// 11 in R8 and R9, 12 in R11, 13 or 15 in R12, 14 in R14. The three others wait
// on the stack: 10, 11 and 15 at its lowest words, where one instruction moves
// all, or 8, 9 and 13.
//
// No register is left to count rounds. None of the instructions of a round sets
// the flags, so these tell the first half of the rounds from the second.
//
// No branch and no address depends on the key or the data.

// The stack, which has the return address below: words 10, 11 and 15 are at 4
// to 12; after the rounds 8, 9, 12, 13 and 14 follow them at 16 to 32.
#define after    16
#define w14      32(R13)
#define w8       36(R13)
#define w9       40(R13)
#define w13      44(R13)
#define low      48(R13) // addresses of the state's words 0, 8 and 12
#define middle   52(R13)
#define high     56(R13)
#define end      60(R13) // of the source

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

// Columns 0 and 1, columns 2 and 3, the diagonals that begin at 0 and 1, those
// that begin at 2 and 3.
#define ROUNDS \
	QUARTERS(R0, R4, R8, R11, R1, R5, R9, R12); \
	MOVW R8, w8; \
	MOVW R9, w9; \
	MOVW R12, w13; \
	MOVM.IB (R13), [R8, R9, R12]; \
	QUARTERS(R2, R6, R8, R14, R3, R7, R9, R12); \
	QUARTERS(R0, R5, R8, R12, R1, R6, R9, R11); \
	MOVM.IB [R8, R9, R12], (R13); \
	MOVW w8, R8; \
	MOVW w9, R9; \
	MOVW w13, R12; \
	QUARTERS(R2, R7, R8, R12, R3, R4, R9, R14)

// func blocks(dst, src *byte, size int, s *schedule)
TEXT ·blocks(SB), NOSPLIT, $60-16
	MOVW src+4(FP), R0
	MOVW size+8(FP), R1
	ADD R0, R1
	MOVW R1, end
	MOVW s+12(FP), R14
	ADD $64, R14, R0
	ADD $96, R14, R1
	ADD $112, R14, R2
	MOVW R0, low
	MOVW R1, middle
	MOVW R2, high

next:
	MOVM.IA.W (R14), [R0-R2]
	MOVM.IB [R0-R2], (R13)
	MOVM.IA (R14), [R0-R9, R11, R12, R14]
	CMP R0, R0 // equal: the first half

rounds:
	ROUNDS
	ROUNDS
	ROUNDS
	ROUNDS
	ROUNDS
	BNE done
	CMP $0, R13 // not equal: the second half
	B rounds

done:
	MOVW R14, w14
	ADD $after, R13, R14
	MOVM.IA [R8, R9, R11, R12], (R14)

	// words 0 to 7: plus the state, XOR the source
	MOVW low, R14
	MOVM.IA.W (R14), [R8, R9, R11, R12]
	ADD R8, R0
	ADD R9, R1
	ADD R11, R2
	ADD R12, R3
	MOVM.IA (R14), [R8, R9, R11, R12]
	ADD R4@>25, R8, R4
	ADD R5@>25, R9, R5
	ADD R6@>25, R11, R6
	ADD R7@>25, R12, R7
	MOVW src+4(FP), R14
	MOVM.IA.W (R14), [R8, R9, R11, R12]
	EOR R8, R0
	EOR R9, R1
	EOR R11, R2
	EOR R12, R3
	MOVM.IA.W (R14), [R8, R9, R11, R12]
	EOR R8, R4
	EOR R9, R5
	EOR R11, R6
	EOR R12, R7
	MOVW dst+0(FP), R12
	MOVM.IA.W [R0-R7], (R12)
	MOVW R12, dst+0(FP)

	// words 8 to 11
	MOVM.IB (R13), [R0-R7] // 10, 11, 15, 8, 9, 12, 13, 14
	MOVW middle, R12
	MOVM.IA (R12), [R8, R9, R11, R12]
	ADD R3, R8
	ADD R4, R9
	ADD R0, R11, R3
	ADD R1, R12, R4
	MOVM.IA.W (R14), [R0, R1, R11, R12]
	EOR R8, R0
	EOR R9, R1
	EOR R11, R3
	EOR R12, R4
	MOVW dst+0(FP), R8
	MOVM.IA.W [R0, R1, R3, R4], (R8)

	// words 12 to 15, of which the first counts
	MOVW high, R12
	MOVM.IA (R12), [R0, R1, R3, R4]
	ADD R5@>24, R0, R5
	ADD R6@>24, R1, R6
	ADD R7@>24, R3, R7
	ADD R2@>24, R4, R9
	ADD $1, R0
	MOVW R0, (R12)
	MOVW R0@>8, R0
	MOVW R0, -60(R12)
	MOVM.IA.W (R14), [R1-R4]
	EOR R1, R5
	EOR R2, R6
	EOR R3, R7
	EOR R4, R9
	MOVM.IA.W [R5-R7, R9], (R8)

	MOVW R8, dst+0(FP)
	MOVW R14, src+4(FP)
	MOVW end, R0
	CMP R0, R14
	MOVW s+12(FP), R14
	BNE next
	RET
