/*
 * Every exception that an instruction can raise in flat protected mode at
 * CPL 0, with its error code and the EIP it saves.  SDM vol. 3 section 6.15.
 */
#include "metal.inc"
	.code32
main:
	TEST("divide error")
	xorl	%edx, %edx
	xorl	%ecx, %ecx
	movl	$1, %eax
	FAULT(0, 0, divl %ecx)
	CHECK(%eax, $1)
	movl	$2, %edx
	movl	$2, %ecx
	FAULT(0, 0, divl %ecx)
	CHECK(%edx, $2)
	movl	$0x80000000, %eax
	movl	$-1, %edx
	movl	$-1, %ecx
	FAULT(0, 0, idivl %ecx)
	movw	$0x100, %ax
	FAULT(0, 0, .byte 0xd4, 0)	/* AAM 0 */

	TEST("breakpoint and overflow are traps")
	TRAP(3, int3)
	movb	$0x7f, %al
	addb	$1, %al
	TRAP(4, into)
	xorl	%eax, %eax
	into				/* OF clear: nothing */
	TRAP(1, .byte 0xf1)		/* ICEBP */
	TRAP(0x21, int $0x21)

	TEST("pushed EFLAGS: RF for faults only")
	FAULT(6, 0, ud2)
	movl	ex_eflags, %ebx
	andl	$0x10000, %ebx
	CHECK(%ebx, $0x10000)
	TRAP(3, int3)
	movl	ex_eflags, %ebx
	andl	$0x10000, %ebx
	CHECK(%ebx, $0)

	TEST("bound range")
	movl	$5, %eax
	FAULT(5, 0, boundl %eax, bounds)
	movl	$3, %eax
	boundl	%eax, bounds

	TEST("invalid opcodes")
	FAULT(6, 0, ud2)
	FAULT(6, 0, .byte 0xf0, 0x90)			/* LOCK NOP */
	FAULT(6, 0, .byte 0xf0, 0xa3, 0, 0, 0x90, 0)	/* LOCK on a MOV to memory */
	FAULT(6, 0, .byte 0xf0, 0x01, 0xc3)
	FAULT(6, 0, .byte 0x0f, 0xaa)		/* RSM outside SMM */
	FAULT(6, 0, .byte 0x0f, 0x33)		/* RDPMC, not offered */
	FAULT(6, 0, .byte 0x0f, 0x05)		/* SYSCALL, SYSRET, SWAPGS, RDFSBASE: of 64-bit mode */
	FAULT(6, 0, .byte 0x0f, 0x07)
	FAULT(6, 0, .byte 0x0f, 0x01, 0xf8)
	FAULT(6, 0, .byte 0xf3, 0x0f, 0xae, 0xc0)
	FAULT(13, 0, sysenter)			/* IA32_SYSENTER_CS is null */
	FAULT(6, 0, .byte 0x0f, 0x20, 0x28)	/* MOV EAX, CR5 */
	FAULT(6, 0, .byte 0x0f, 0x20, 0x08)	/* MOV EAX, CR1 */
	FAULT(6, 0, .byte 0x8c, 0xf0)		/* MOV EAX, sreg 6 */
	FAULT(6, 0, .byte 0x8e, 0xc8)		/* MOV CS, EAX */
	FAULT(6, 0, .byte 0x62, 0xc0)		/* BOUND EAX, EAX */
	FAULT(6, 0, .byte 0xc5, 0xc0)		/* LDS EAX, EAX */
	FAULT(6, 0, .byte 0x0f, 0x01, 0xd0)	/* LGDT EAX */
	FAULT(6, 0, .byte 0xff, 0xe8)		/* JMP far EAX */
	FAULT(6, 0, .byte 0xfe, 0xf8)		/* group 4 /7 */

	TEST("an instruction of more than 15 bytes")
	FAULT(13, 0, .fill 16, 1, 0x66)

	TEST("device not available")
	movl	%cr0, %eax
	orl	$8, %eax			/* TS */
	movl	%eax, %cr0
	FAULT(7, 0, fninit)
	fwait					/* MP is clear */
	orl	$2, %eax
	movl	%eax, %cr0
	FAULT(7, 0, fwait)
	clts
	fwait
	movl	%cr0, %eax
	orl	$4, %eax			/* EM */
	movl	%eax, %cr0
	FAULT(7, 0, fninit)
	andl	$~6, %eax
	movl	%eax, %cr0

	TEST("segment limits")
	movl	$SPARE, %eax
	movl	$0x000093, spare+5		/* base 0 */
	movw	$0x0fff, spare			/* limit FFFh, bytes */
	movw	$0, spare+2
	movb	$0, spare+4
	movb	$0x93, spare+5
	movb	$0x40, spare+6
	movb	$0, spare+7
	movl	%eax, %fs
	movl	%fs:0xffc, %ebx
	FAULT(13, 0, movl %fs:0xffd, %ebx)
	FAULT(13, 0, movb %fs:0x1000, %bl)
	movb	%fs:0xfff, %bl
	FAULT(13, 0, movw %bx, %fs:0xfff)
	FAULT(13, 0, movl %fs:0xffffffff, %ebx)
	FAULT(13, 0, incl %fs:0xffe)

	TEST("expand-down segments")
	movb	$0x97, spare+5
	movl	%eax, %fs
	FAULT(13, 0, movb %fs:0xfff, %bl)
	movb	%fs:0x1000, %bl
	FAULT(13, 0, movl %fs:0xffe, %ebx)
	FAULT(13, 0, movl %fs:0xfffffffd, %ebx)
	movl	%fs:0x8000, %ebx
	CHECK(%ebx, 0x8000)
	movb	$0x00, spare+6			/* 16-bit: up to FFFFh */
	movl	%eax, %fs
	movb	%fs:0xffff, %bl
	FAULT(13, 0, movb %fs:0x10000, %bl)
	FAULT(13, 0, movw %fs:0xffff, %bx)

	TEST("read-only and execute-only")
	movb	$0x91, spare+5
	movl	%eax, %fs
	movl	%fs:0x1000-0x1000, %ebx
	movb	%fs:0x10, %bl
	FAULT(13, 0, movb %bl, %fs:0x10)
	FAULT(13, 0, orb $0, %fs:0x10)
	FAULT(13, 0, movb %bl, %cs:bounds)
	movb	%cs:bounds, %bl

	TEST("null selector")
	xorl	%ebx, %ebx
	movl	%ebx, %fs
	FAULT(13, 0, movb %fs:0x10, %bl)
	movl	$3, %ebx
	movl	%ebx, %gs
	FAULT(13, 0, movb %bl, %gs:0x10)
	movl	%gs, %ebx
	CHECK(%ebx, $3)

	TEST("stack faults")
	movw	$0x7fff, spare
	movb	$0x93, spare+5
	movb	$0x40, spare+6
	movl	%eax, %ss
	movl	$0x7ffc, %ebp
	movl	(%ebp), %ebx
	movl	$0x7ffd, %ebp
	FAULT(12, 0, movl (%ebp), %ebx)
	movl	%eax, %ss
	FAULT(12, 0, movl %ebx, (%ebp))
	movl	%eax, %ss
	FAULT(12, 0, movl %ss:0x8000, %ebx)
	movl	%eax, %ss
	FAULT(13, 0, movl %fs:0x8000(%ebp), %ebx)

	TEST("alignment is not checked at CPL 0")
	movl	%cr0, %eax
	orl	$0x40000, %eax
	movl	%eax, %cr0
	pushfl
	orl	$0x40000, (%esp)
	popfl
	movl	bounds+1, %ebx
	pushfl
	andl	$~0x40000, (%esp)
	popfl
	ret

	.data
bounds:	.long	1, 4
