/*
 * Virtual-8086 mode under a monitor: entry by IRET, what traps with which IOPL,
 * interrupt frames, segment arithmetic, I/O bitmap, faults of real-mode code.
 * SDM vol. 3 section 20.2.
 */
#include "metal.inc"
#define VM	0x20000
	.code32
/* Run 16-bit code at a label in virtual-8086 mode (CS 0) until it faults into `resume`. */
.macro	enter_v86 label, flags
	movl	$.Lback\@, resume
	movl	%esp, resume_esp
	pushl	$0x1111			/* GS */
	pushl	$0x2222			/* FS */
	pushl	$0x0100			/* DS: base 1000h */
	pushl	$0x3333			/* ES */
	pushl	$0x0200			/* SS: base 2000h */
	pushl	$0xff0			/* ESP */
	pushl	$VM | \flags
	pushl	$0
	pushl	$\label
	iretl
.Lback\@:
.endm
#define V86(label, flags) enter_v86 label, flags
#define EXPECT(v, e, at) CHECK(ex_vector, $v); CHECK(ex_error, $e); CHECK(ex_eip, $at)

main:
	movl	$0x12345678, 0x1010
	TEST("entry and segments")
	movl	$v86_hook, hook
	V86(v_segments, 2)
	CHECK(seen, $0x5678)		/* read through DS = 0100h */
	CHECK(seen + 4, $0x200)		/* SS */
	CHECK(seen + 8, $0x2222)	/* FS */
	CHECK(seen + 12, $0xfee)	/* SP after a push */
	movzwl	0x2fee, %eax
	CHECK(%eax, $0x0100)		/* on the stack at 2000h + FEEh: DS was pushed */
	CHECK(frame + 24, $0x0200)	/* SS in the frame */
	CHECK(frame + 28, $0x3333)	/* ES */
	CHECK(frame + 32, $0x0100)	/* DS */
	CHECK(frame + 36, $0x2222)	/* FS */
	CHECK(frame + 40, $0x1111)	/* GS */
	CHECK(ex_vector, $3)
	movl	ex_eflags, %eax
	andl	$VM, %eax
	CHECK(%eax, $VM)
	movl	%fs, %eax
	CHECK(%eax, $0)			/* data segments are null in the monitor */
	movl	%gs, %eax
	CHECK(%eax, $0)

	TEST("sensitive instructions with IOPL 0")
	movl	$0, hook
	V86(v_cli, 2)
	EXPECT(13, 0, v_cli)
	V86(v_sti, 2)
	EXPECT(13, 0, v_sti)
	V86(v_pushf, 2)
	EXPECT(13, 0, v_pushf)
	V86(v_popf, 2)
	EXPECT(13, 0, v_popf)
	V86(v_int, 2)
	EXPECT(13, 0, v_int)
	V86(v_iret, 2)
	EXPECT(13, 0, v_iret)
	V86(v_hlt, 0x3002)
	EXPECT(13, 0, v_hlt)
	V86(v_cr, 0x3002)
	EXPECT(13, 0, v_cr)
	V86(v_lgdt, 0x3002)
	EXPECT(13, 0, v_lgdt)
	V86(v_sldt, 0x3002)
	EXPECT(6, 0, v_sldt)		/* not recognised */
	V86(v_lar, 0x3002)
	EXPECT(6, 0, v_lar)
	V86(v_arpl, 0x3002)
	EXPECT(6, 0, v_arpl)

	TEST("INT3 and INTO do not ask IOPL")
	V86(v_int3, 2)
	CHECK(ex_vector, $3)
	CHECK(ex_eip, $v_int3 + 1)
	V86(v_into, 2)
	CHECK(ex_vector, $4)

	TEST("sensitive instructions with IOPL 3")
	V86(v_flags, 0x3002)
	CHECK(ex_vector, $0x30)
	movzwl	0x2000 + 0xfee, %eax
	andl	$0x3202, %eax
	CHECK(%eax, $0x3202)		/* STI; PUSHF */
	V86(v_int, 0x3002)
	CHECK(ex_vector, $0x30)
	CHECK(ex_eip, $v_int + 2)
	V86(v_iret3, 0x3002)
	CHECK(ex_vector, $0x30)
	CHECK(ex_eip, $v_iret3_to + 2)
	movl	ex_eflags, %eax
	andl	$0x27000, %eax
	CHECK(%eax, $0x27000)		/* IRET keeps VM and IOPL */

	TEST("limits are 64 KiB")
	V86(v_wrap, 0x3002)
	EXPECT(13, 0, v_wrap)
	V86(v_stack, 0x3002)
	EXPECT(12, 0, v_stack_push)
	V86(v_big, 0x3002)
	EXPECT(13, 0, v_big)

	TEST("the I/O bitmap counts whatever IOPL is")
	movb	$0x10, tss + 0x68 + 0xbc / 8
	V86(v_in, 0x3002)
	EXPECT(13, 0, v_in)
	movb	$0, tss + 0x68 + 0xbc / 8
	V86(v_in, 0x0002)
	CHECK(ex_vector, $13)		/* the INT 30h behind it: IOPL 0 */
	CHECK(ex_eip, $v_in + 2)

	TEST("a gate that leads elsewhere than CPL 0")
	movw	$CONF, idt + 0x31 * 8 + 2
	V86(v_int31, 0x3002)
	EXPECT(13, CONF, v_int31)
	movw	$CS32, idt + 0x31 * 8 + 2

	TEST("a far jump and LDS")
	movl	$v86_hook, hook
	movl	$0x02000004, 0x1000
	movl	$0xcafe, 0x2004
	V86(v_lds, 0x3002)
	CHECK(seen, $0xcafe)
	CHECK(ex_cs, $0x10)

	TEST("IRET to virtual-8086 mode with EIP beyond 64 KiB")
	movl	$0, hook
	pushl	$0
	pushl	$0
	pushl	$0
	pushl	$0
	pushl	$0
	pushl	$0
	pushl	$VM | 2
	pushl	$0
	pushl	$0x10000
	FAULT(13, 0, iretl)
	addl	$36, %esp
	ret

v86_hook:
	/* the frame: vector error EIP CS EFLAGS ESP SS ES DS FS GS */
	movl	%esp, %esi
	movl	$frame, %edi
	movl	$11, %ecx
	pushl	%ds
	popl	%es
	cld
	rep movsl
	movl	ex_eax, %eax
	movl	%eax, seen
	movl	%ebx, seen + 4
	movl	%edx, seen + 8
	movl	%ebp, seen + 12
	movl	$0, hook
	movl	resume_esp, %esp
	pushl	resume
	movl	$0, resume
	ret

	.code16
v_segments:
	xorl	%eax, %eax
	movw	0x10, %ax
	xorl	%ebx, %ebx
	movw	%ss, %bx
	xorl	%edx, %edx
	movw	%fs, %dx
	xorl	%ebp, %ebp
	pushw	%ds
	movw	%sp, %bp
	int3
v_cli:	cli
v_sti:	sti
v_pushf: pushfw
v_popf:	popfw
v_int:	int	$0x30
v_iret:	iretw
v_hlt:	hlt
v_cr:	movl	%cr0, %eax
v_lgdt:	lgdtw	0
v_sldt:	sldt	%ax
v_lar:	lar	%ax, %bx
v_arpl:	arpl	%ax, %bx
v_int3:	int3
v_into:	movb	$0x7f, %al
	addb	$1, %al
	into
v_flags:
	sti
	pushfw
	cli
	int	$0x30
v_iret3:
	pushw	$0x4002			/* IOPL 0, NT: IOPL does not change */
	pushw	$0
	pushw	$v_iret3_to
	iretw
v_iret3_to:
	int	$0x30
v_wrap:	movw	0xffff, %ax
v_stack:
	movw	$1, %sp
v_stack_push:
	pushw	%ax
v_big:	.byte	0x67, 0x8b, 0x05	/* MOV AX, [10000h] */
	.long	0x10000
v_in:	inb	$0xbc, %al
	int	$0x30
v_int31: int	$0x31
v_lds:	ldsw	0, %bx
	xorl	%eax, %eax
	movw	(%bx), %ax
	ljmpw	$0x10, $v_far - 0x100
v_far:	int	$0x30
	.code32
	.data
	.balign	4
seen:	.fill	4, 4, 0
	.long	0
frame:	.fill	12, 4, 0
