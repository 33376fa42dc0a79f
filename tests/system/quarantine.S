/*
 * tests/system/quarantine.S - a boot ROM, in real mode, for
 * tests/system/quarantine.sh: a guest whose driver crashes its device.
 *
 * On COM1, the first time (CMOS 40h is 0): A, the device works; B, it has gone
 * after a write that kills the device model (KIND, tests/system/crashdev.c); then
 * dots for ever.  After a reset: C, it is back, as after power-on; D, it works;
 * E, its timer has killed processes, and it has gone again; CLI, HLT.
 * '!' where something is not so.
 */
#define COM1	0x3f8
#define CRASH	0x5c0

	.code16
	.text
	.globl start
start:
	cli
	movb	$0x40, %al
	outb	%al, $0x70
	inb	$0x71, %al
	testb	%al, %al
	jnz	again

	movb	$0x40, %al
	outb	%al, $0x70
	movb	$1, %al
	outb	%al, $0x71
	call	works
	movb	$'A', %al
	call	put
	movw	$CRASH, %dx
	movb	$KIND, %al
	outb	%al, %dx
	call	gone
	movb	$'B', %al
	call	put
1:	movb	$'.', %al
	call	put
	xorw	%cx, %cx
2:	outb	%al, $0x80
	loop	2b
	jmp	1b

again:
	movw	$CRASH + 1, %dx
	inb	%dx, %al
	testb	%al, %al		/* the reset's */
	jnz	wrong
	movb	$'C', %al
	call	put
	call	works
	movb	$'D', %al
	call	put
	movw	$CRASH, %dx
	movb	$4, %al
	outb	%al, %dx
3:	inb	%dx, %al
	cmpb	$0x43, %al
	je	3b
	call	gone
	movb	$'E', %al
	call	put
	hlt

works:
	movw	$CRASH + 1, %dx
	movb	$0x5a, %al
	outb	%al, %dx
	inb	%dx, %al
	cmpb	$0x5a, %al
	jne	wrong
	movw	$CRASH, %dx
	inb	%dx, %al
	cmpb	$0x43, %al
	jne	wrong
	ret

gone:
	movw	$CRASH, %dx
	inw	%dx, %ax
	cmpw	$0xffff, %ax
	jne	wrong
	ret

put:	movw	$COM1, %dx
	outb	%al, %dx
	ret

wrong:
	movb	$'!', %al
	call	put
	hlt

	.org	0xfff0
	ljmp	$0xf000, $start
	.org	0x10000
