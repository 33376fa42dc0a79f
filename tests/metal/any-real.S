/*
 * What every engine must do, in real mode, where a KVM that emulates knows how
 * to take an interrupt: INTR, NMI, HLT and what wakes it.  Nothing here hangs
 * on the very instruction at which an interrupt is taken.
 */
#define REAL_MODE
#include "metal.inc"
	.code16
.macro	raise
	movl	$7, %eax		/* line 3, up */
	outl	%eax, $P_IRQ
.endm
.macro	lower
	movl	$6, %eax
	outl	%eax, $P_IRQ
.endm

main:
	movw	$int_23, 4 * 0x23
	movw	$0, 4 * 0x23 + 2
	movw	$int_2, 4 * 2
	movw	$0, 4 * 2 + 2
	/* the interrupt controller: vectors 20h-27h, all unmasked, automatic EOI */
	movb	$0x13, %al
	outb	%al, $0x20
	movb	$0x20, %al
	outb	%al, $0x21
	movb	$0x03, %al
	outb	%al, $0x21
	movb	$0, %al
	outb	%al, $0x21

	TEST("an interrupt waits for IF")
	raise
	nop
	nop
	CHECK(interrupts, $0)
	sti
	call	wait
	CHECK(interrupts, $1)
	cli

	TEST("an interrupt comes while IF is set")
	sti
	raise
	call	wait
	cli
	CHECK(interrupts, $2)

	TEST("HLT ends with the interrupt that waits already")
	raise
	sti
	hlt
	cli
	CHECK(interrupts, $3)

	TEST("an NMI comes with IF clear")
	movl	$1, %eax
	outl	%eax, $P_NMI
	call	wait
	CHECK(nmis, $1)
	CHECK(interrupts, $3)

	TEST("flags are pushed and come back")
	sti
	stc
	raise
	call	wait
	jc	1f
	FAIL()
1:	cli
	CHECK(interrupts, $4)
	CHECK(pushed_if, $0x200)
	retl

/* Some thousand instructions: long enough for whoever is not exact. */
wait:
	movw	$3000, %cx
1:	loop	1b
	ret

int_23:
	pushl	%eax
	incl	interrupts
	lower
	movw	%sp, %bp
	movzwl	8(%bp), %eax
	andl	$0x200, %eax
	movl	%eax, pushed_if
	popl	%eax
	iret

int_2:
	incl	nmis
	iret

	.data
	.balign 4
interrupts: .long 0
nmis:	.long	0
pushed_if: .long 0
