/*
 * Real mode: the vector table, limits, wrap-around, "big real" segments, mode
 * switches back and forth, A20, FLAGS, far transfers.  SDM vol. 3 ch. 9.9, 20.1.
 */
#define REAL_MODE
#include "metal.inc"
#define A20_OFF	xorl %eax, %eax; outl %eax, $P_A20
#define A20_ON	movl $1, %eax; outl %eax, $P_A20
	.code16
/* The instruction must raise the vector at its own address (RESUME_AT: see handler). */
.macro	rfault_ line:req, v:req, insn:vararg
	movw	$.Lresume\@, resume
	movw	%sp, resume_sp
	movl	$-1, ex_vector
.Lat\@:	\insn
	fail_	\line
.Lresume\@:
	check_	\line, ex_vector, $\v
	movl	$.Lat\@, expect_eip
	check_	\line, ex_eip, expect_eip
.endm
#define RFAULT(v, insn...) rfault_ __LINE__, v, insn

main:
	xorl	%eax, %eax
	movw	$0, %di
	movw	$32, %cx
	movw	$stubs, %ax
1:	movw	%ax, (%di)
	movw	$0, 2(%di)
	addw	$4, %di
	addw	$8, %ax
	loop	1b

	TEST("exceptions through the vector table, no error codes")
	xorl	%ecx, %ecx
	RFAULT(0, divl %ecx)
	RFAULT(6, ud2)
	RFAULT(13, movw 0xffff, %ax)
	RFAULT(13, movl 0xfffd, %eax)
	RFAULT(13, movl %eax, 0xfffe)
	movw	$0xffff, %bp
	RFAULT(12, movw (%bp), %ax)
	RFAULT(13, addr32 movb 0x10000, %al)

	TEST("protected-mode instructions are unknown")
	RFAULT(6, sldt %ax)
	RFAULT(6, str %ax)
	RFAULT(6, lar %ax, %bx)
	RFAULT(6, verr %ax)
	RFAULT(6, lldt %ax)

	TEST("segment arithmetic and the 64 KiB limit")
	movw	$0x1000, %ax
	movw	%ax, %es
	movw	$0x1234, %es:0xfffe
	movw	$0x1ff0, %ax
	movw	%ax, %fs
	xorl	%eax, %eax
	movw	%fs:0xfe, %ax
	CHECK(%eax, $0x1234)

	TEST("FFFF:0010 and the A20 gate")
	A20_ON
	movw	$0xffff, %ax
	movw	%ax, %gs
	movl	$0x11112222, 0x600
	movl	$0x33334444, %gs:0x610		/* 100600h */
	CHECK(0x600, $0x11112222)
	A20_OFF
	movl	%gs:0x610, %ebx
	CHECK(%ebx, $0x11112222)
	movl	$0x55556666, %gs:0x610
	CHECK(0x600, $0x55556666)
	A20_ON
	movl	%gs:0x610, %ebx
	CHECK(%ebx, $0x33334444)

	TEST("FLAGS: IOPL and NT can be set, bits 1, 3, 5, 15 cannot")
	pushw	$0xffff & ~0x100
	popfw
	pushfw
	popw	%ax
	movzwl	%ax, %eax
	CHECK(%eax, $0x7ed7)
	pushw	$2
	popfw
	pushfw
	popw	%ax
	movzwl	%ax, %eax
	CHECK(%eax, $2)

	TEST("software interrupts: what is pushed, IF and TF")
	movw	$int40, 0x40 * 4
	movw	$0, 0x40 * 4 + 2
	movw	%sp, %bp
	sti
	stc
	int	$0x40
after_int:
	cli
	CHECK(seen, $after_int)
	CHECK(seen + 4, $0x203)
	CHECK(seen + 8, $0)			/* IF inside */
	movzwl	%sp, %eax
	movzwl	%bp, %ecx
	CHECK(%eax, %ecx)

	TEST("far calls and jumps")
	lcallw	$0x0100, $far_proc - 0x1000
	movzwl	%ax, %eax
	CHECK(%eax, $0x0100)
	movw	$far_proc, seen
	movw	$0, seen + 2
	lcallw	*seen
	movzwl	%ax, %eax
	CHECK(%eax, $0)
	ljmpw	$0x0200, $1f - 0x2000
1:	movw	%cs, %ax
	movzwl	%ax, %eax
	CHECK(%eax, $0x0200)
	ljmpw	$0, $1f
1:	RFAULT(13, ljmpl $0, $0x10000)

	TEST("to protected mode and back: big real mode")
	lgdtl	gdtr
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	jmp	1f
1:	movw	$8, %bx
	movw	%bx, %ds			/* limit 4 GiB */
	andb	$0xfe, %al
	movl	%eax, %cr0
	jmp	1f
1:	movl	$0x77778888, %eax
	addr32 movl %eax, 0x200000
	xorw	%bx, %bx
	movw	%bx, %ds			/* the limit stays */
	addr32 movl 0x200000, %ebx
	CHECK(%ebx, $0x77778888)
	RFAULT(13, addr32 movl %es:0x200000, %eax)	/* ES never had it */

	TEST("LMSW sets PE and does not clear it")
	movl	%cr0, %ecx
	smsw	%ax
	orb	$1, %al
	lmsw	%ax
	andb	$0xfe, %al
	lmsw	%ax
	movl	%cr0, %eax
	andl	$1, %eax
	CHECK(%eax, $1)
	movl	%ecx, %cr0
	jmp	1f
1:
	TEST("32-bit code and back")
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$0x10, $in32
	.code32
in32:	movl	$8, %eax
	movl	%eax, %ss
	movl	$0x12345678, %ebx
	pushl	%ebx
	popl	%ecx
	cmpl	%ebx, %ecx
	jne	bad
	ljmpl	$0x18, $in16
	.code16
in16:	movw	$0x20, %ax
	movw	%ax, %ss
	movl	%cr0, %eax
	andb	$0xfe, %al
	movl	%eax, %cr0
	ljmpw	$0, $1f
1:	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	CHECK(%ecx, $0x12345678)

	TEST("IDT limit: beyond it is a double fault, 8")
	lidtl	short_idt			/* vectors 0-8 */
	movw	$.Ldf, resume
	movw	%sp, resume_sp
	int	$0x40				/* #GP needs vector 13, which is not there: #DF */
	fail_	__LINE__
.Ldf:	CHECK(ex_vector, $8)
	lidtl	real_idt

	TEST("LGDT with 16-bit operands: 24 bits of base")
	movl	$0xff123456, seen + 2
	movw	$0x1234, seen
	lgdtw	seen
	sgdtl	seen
	CHECK(seen + 2, $0x123456)

	TEST("interrupts on the last byte of the stack segment wrap by words")
	movw	$0, %sp				/* pushes go to FFFEh */
	int	$0x40
	movzwl	%sp, %eax
	movl	$0x6ffc, %esp
	CHECK(%eax, $0)
	CHECK(seen + 8, $0)
	calll	done_address
done_address:
	done_

bad:	fail_	__LINE__

far_proc:
	movw	%cs, %ax
	lretw

int40:	pushw	%bp
	movw	%sp, %bp
	pushw	%ax
	pushl	%ebx
	movzwl	2(%bp), %ebx
	movl	%ebx, %cs:seen
	movzwl	6(%bp), %ebx
	movl	%ebx, %cs:seen + 4
	pushfw
	popw	%bx
	andl	$0x300, %ebx
	movl	%ebx, %cs:seen + 8
	popl	%ebx
	popw	%ax
	popw	%bp
	iretw

	.balign	8
stubs:	.set	vec, 0
	.rept	32
	.balign	8
	pushw	$vec
	jmp	handler
	.set	vec, vec + 1
	.endr
/* vector IP CS FLAGS on the stack */
handler:
	movw	%ds, %cs:save_ds
	popw	%cs:save_v
	popw	%cs:save_ip
	movw	%cs:save_ds, %ds
	movl	%eax, %cs:save_eax
	movzwl	%cs:save_v, %eax
	movl	%eax, %cs:ex_vector
	movzwl	%cs:save_ip, %eax
	movl	%eax, %cs:ex_eip
	movl	%cs:save_eax, %eax
	movw	%cs:resume_sp, %sp
	jmpw	*%cs:resume

	.data
	.balign	8
gdt:	.quad	0, 0x00cf93000000ffff, 0x00cf9b000000ffff, 0x00009b000000ffff, 0x000093000000ffff
gdtr:	.word	39
	.long	gdt
short_idt: .word 8 * 4 + 3
	.long	0
real_idt: .word 0x3ff
	.long	0
save_ds: .word	0
save_v:	.word	0
save_ip: .word	0
save_eax: .long	0
resume:	.word	0
resume_sp: .word 0
ex_vector: .long 0
ex_eip:	.long	0
expect_eip: .long 0
seen:	.fill	4, 4, 0
