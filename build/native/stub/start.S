/* Entry, the one way into the kernel: sys(number, a, b, c, d, e, f), and the way into the program:
 * leave(entry, stack), with registers as the kernel hands them over. */

	.text
	.globl _start
	.globl sys
	.globl leave
#if defined(__x86_64__)
_start:
	mov %rsp, %rdi
	and $-16, %rsp
	call stub_main
	ud2
sys:
	mov %rdi, %rax
	mov %rsi, %rdi
	mov %rdx, %rsi
	mov %rcx, %rdx
	mov %r8, %r10
	mov %r9, %r8
	mov 8(%rsp), %r9
	syscall
	ret
leave:
	mov %rsi, %rsp
	mov %rdi, %rax
	xor %edx, %edx
	xor %ebp, %ebp
	jmp *%rax
#elif defined(__aarch64__)
_start:
	mov x0, sp
	/* The stack that unpacking takes is written once as a whole (STACK_USED): where a page was code
	 * before, an emulator is slow in each store until all of the code is overwritten, and the kernel's
	 * DC ZVA does not count. `invoke verify --machine` showed it: 13 to 15 s for a canary that took
	 * 14 to 40 s. */
	sub x1, sp, #0x10000
1:	stp xzr, xzr, [x1], #16
	cmp x1, x0
	b.lo 1b
	bl stub_main
	brk #0
sys:
	mov x8, x0
	mov x0, x1
	mov x1, x2
	mov x2, x3
	mov x3, x4
	mov x4, x5
	mov x5, x6
	svc #0
	ret
leave:
	mov sp, x1
	mov x16, x0
	mov x0, #0
	mov x29, #0
	mov x30, #0
	br x16
#else
	/* ARM code, called by Thumb code on most: the linker changes over between what are functions. */
	.arm
	.type _start, %function
	.type sys, %function
	.type leave, %function
_start:
	mov r0, sp
	bic sp, sp, #7
	bl stub_main
	udf #0
sys:
	push {r4, r5, r7, lr}
	mov r7, r0
	mov r0, r1
	mov r1, r2
	mov r2, r3
	ldr r3, [sp, #16]
	ldr r4, [sp, #20]
	ldr r5, [sp, #24]
	svc #0
	pop {r4, r5, r7, pc}
leave:
	mov sp, r1
	mov r12, r0
	mov r0, #0
	mov r11, #0
	mov lr, #0
	bx r12
#endif
	.section .note.GNU-stack, "", %progbits
