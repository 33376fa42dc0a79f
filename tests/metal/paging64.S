/*
 * Four levels of paging: what each entry of each level forbids, to whom, and
 * the error code that tells it; reserved bits, large pages, accessed and dirty
 * bits, accesses across a page's end; SMEP, SMAP and UMIP by the same pages;
 * #PF by IST; PCID and INVPCID.  SDM vol. 3 ch. 4.5 - 4.8, 4.10, 6.14.5.
 */
#include "metal.inc"
#include "long.inc"
#define W	0x10000000000			/* 1 TiB: PML4[2] */
#define W_PDPT	0x208000
#define W_PD	0x209000
#define W_PT	0x20a000
#define P	0x01
#define RW	0x02
#define US	0x04
#define A	0x20
#define D	0x40
#define PS	0x80
#define NX	0x8000000000000000
#define RSVD	0x200000000000			/* physical addresses have 40 bits: bit 45 */

	.code32
main:	call	enter_long
	.code64

/* Turns bits of an entry over. */
.macro	turn at:req, bits:req
	movabsq	$\bits, %rax
	xorq	%rax, \at
	FLUSH
.endm
.macro	cr4_ set, clear
	movq	%cr4, %rax
	orl	$\set, %eax
	andl	$~(\clear), %eax
	movq	%rax, %cr4
.endm
.macro	bit_ op:req, cr:req, n:req
	movq	%\cr, %rax
	\op	$\n, %rax
	movq	%rax, %\cr
.endm
.macro	nxe value:req
	movl	$0xc0000080, %ecx
	movl	$0x501 | \value << 11, %eax
	xorl	%edx, %edx
	wrmsr
.endm
#define READ	movb (%rbx), %al
#define WRITE	movb %al, 8(%rbx)
#define FETCH	call *%rbx
/* What a read, a write and a fetch at RBX find, by the kernel and by a user: an error code, or -1. */
#define FINDS(k...) finds __LINE__, k
.macro	finds line:req, kr:req, kw:req, kf:req, ur:req, uw:req, uf:req
	movl	$\line, found_line
	movabsq	$((\kr) & 0xff | ((\kw) & 0xff) << 8 | ((\kf) & 0xff) << 16 | ((\ur) & 0xff) << 24 | ((\uw) & 0xff) << 32 | ((\uf) & 0xff) << 40), %rax
	movq	%rax, wanted
	call	find
.endm
.macro	kernel_finds n:req, insn:vararg
	movq	$14, lex_vector
	movq	$-1, lex_error
	movq	$.Lresume\@, lresume
	movq	%rsp, lresume_rsp
	\insn
	movq	$0, lresume
.Lresume\@:
	movl	$\n, %esi
	call	found
.endm
.macro	user_finds n:req, insn:vararg
	movq	$.Lresume\@, lresume
	movq	%rsp, lresume_rsp
	pushq	$UDS64
	pushq	$UV + 0x6700
	pushfq
	pushq	$UCS64
	pushq	$.Lat\@ + UV
	iretq
.Lat\@:	\insn
	int	$0x3f
.Lresume\@:
	movl	$\n, %esi
	call	found
.endm
.macro	umip insn:vararg
	\insn
	LUSER(13, 0, \insn)
.endm

find:	kernel_finds 0, READ
	kernel_finds 1, WRITE
	kernel_finds 2, FETCH
	user_finds 3, READ
	user_finds 4, WRITE
	user_finds 5, FETCH
	ret
/* INT 3Fh is a user's way out where nothing has been raised. */
found:	movl	lex_error, %eax
	movl	$-1, %ecx
	cmpb	$0x3f, lex_vector
	cmovel	%ecx, %eax
	movsbl	wanted(%rsi), %ecx
	cmpl	%ecx, %eax
	jne	1f
	cmpb	$0x3f, lex_vector
	je	2f
	movb	lex_vector, %al
	movb	$14, %cl
	cmpb	%cl, %al
	jne	1f
2:	ret
1:	outl	%eax, $P_GOT
	movl	%ecx, %eax
	outl	%eax, $P_WANT
	movl	found_line, %eax
	outl	%eax, $P_FAIL
	hlt

start64:
	xorl	%eax, %eax
	movl	$W_PDPT, %edi
	movl	$3 * 512, %ecx
	rep stosq
	movl	$W_PDPT + 7, PML4 + 16
	movl	$W_PD + 7, W_PDPT
	movl	$W_PT + 7, W_PD
	movl	$PAGE(8) + 7, W_PT
	movl	$PAGE(9) + 7, W_PT + 8
	movb	$0xc3, PAGE(8)				/* RET */
	movabsq	$W, %rbx
	movabsq	$W + 0x1000, %rbp
	TEST64("a page for all")
	FINDS(-1, -1, -1, -1, -1, -1)

	.irp	at, PML4 + 16, W_PDPT, W_PD, W_PT
	TEST64("\at, not present")
	turn	\at, P
	FINDS(0, 2, 0x10, 4, 6, 0x14)
	CHECK64(lex_cr2, %rbx)
	nxe	0					/* without NX a fetch is a read */
	FINDS(0, 2, 0, 4, 6, 4)
	nxe	1
	turn	\at, P
	FINDS(-1, -1, -1, -1, -1, -1)

	TEST64("\at, read-only")
	turn	\at, RW
	FINDS(-1, 3, -1, -1, 7, -1)
	bit_	btrq, cr0, 16				/* WP */
	FINDS(-1, -1, -1, -1, 7, -1)
	bit_	btsq, cr0, 16
	turn	\at, RW

	TEST64("\at, the supervisor's")
	turn	\at, US
	FINDS(-1, -1, -1, 5, 7, 0x15)
	cr4_	0x300000, 0				/* SMEP, SMAP: not for its own pages */
	FINDS(-1, -1, -1, 5, 7, 0x15)
	turn	\at, US
	FINDS(1, 3, 0x11, -1, -1, -1)
	cr4_	0, 0x300000

	TEST64("\at, no code")
	turn	\at, NX
	FINDS(-1, -1, 0x11, -1, -1, 0x15)
	nxe	0					/* now it is reserved */
	FINDS(9, 0xb, 9, 0xd, 0xf, 0xd)
	nxe	1
	turn	\at, NX

	TEST64("\at, a reserved bit")
	turn	\at, RSVD
	FINDS(9, 0xb, 0x19, 0xd, 0xf, 0x1d)
	turn	\at, P					/* is none where nothing is present */
	FINDS(0, 2, 0x10, 4, 6, 0x14)
	turn	\at, P + RSVD

	TEST64("\at, several at once")
	turn	\at, RW + US + NX
	FINDS(-1, 3, 0x11, 5, 7, 0x15)
	turn	\at, RW + US + NX
	.endr

	TEST64("PML4E.PS is reserved, PTE's bit 7 is PAT")
	turn	PML4 + 16, PS
	FINDS(9, 0xb, 0x19, 0xd, 0xf, 0x1d)
	turn	PML4 + 16, PS
	turn	W_PT, PS
	FINDS(-1, -1, -1, -1, -1, -1)
	turn	W_PT, PS

	TEST64("large pages")
	movl	$0x400087, W_PD				/* 4 MiB on: PAGE(0) */
	movb	$0xc3, PAGE(0)
	FLUSH
	FINDS(-1, -1, -1, -1, -1, -1)
	CHECK64(W_PD, $0x4000e7)
	.irp	bit, 13, 20
	turn	W_PD, 1 << \bit
	FINDS(9, 0xb, 0x19, 0xd, 0xf, 0x1d)
	turn	W_PD, 1 << \bit
	.endr
	turn	W_PD, 1 << 12				/* PAT */
	FINDS(-1, -1, -1, -1, -1, -1)
	turn	W_PD, RW + US
	FINDS(-1, 3, -1, 5, 7, 0x15)
	movl	$W_PT + 7, W_PD
	movl	$0x87, W_PDPT				/* 1 GiB from 0 */
	FLUSH
	movb	$0xc3, 0x600000
	addq	$0x600000, %rbx
	FINDS(-1, -1, -1, -1, -1, -1)
	CHECK64(W_PDPT, $0xe7)
	.irp	bit, 13, 21, 29
	turn	W_PDPT, 1 << \bit
	FINDS(9, 0xb, 0x19, 0xd, 0xf, 0x1d)
	turn	W_PDPT, 1 << \bit
	.endr
	turn	W_PDPT, NX
	FINDS(-1, -1, 0x11, -1, -1, 0x15)
	subq	$0x600000, %rbx
	movq	$W_PD + 7, W_PDPT
	FLUSH

	TEST64("accessed and dirty")
	.irp	at, PML4 + 16, W_PDPT, W_PD, W_PT
	andq	$~(A + D), \at
	.endr
	FLUSH
	READ
	CHECK64(PML4 + 16, $W_PDPT + 7 + A)
	CHECK64(W_PDPT, $W_PD + 7 + A)
	CHECK64(W_PD, $W_PT + 7 + A)
	CHECK64(W_PT, $PAGE(8) + 7 + A)
	WRITE
	CHECK64(W_PD, $W_PT + 7 + A)
	CHECK64(W_PT, $PAGE(8) + 7 + A + D)
	turn	W_PT, RW + A + D
	LFAULT(14, 3, WRITE)				/* refused: not dirty */
	movq	W_PT, %rax
	andl	$D, %eax
	CHECK64(%rax, $0)
	turn	W_PT, RW

	TEST64("across a page's end")
	movq	$0x1122334455667788, %rax
	movq	%rax, 0xffc(%rbx)
	CHECK64(PAGE(8) + 0xffc, %rax)			/* the pages lie side by side */
	turn	W_PT + 8, P
	LFAULT(14, 0, movq 0xffc(%rbx), %rdx)
	CHECK64(lex_cr2, %rbp)
	movq	$-1, %rax
	LFAULT(14, 2, movq %rax, 0xffc(%rbx))
	CHECK64(lex_cr2, %rbp)
	movl	PAGE(8) + 0xffc, %eax
	CHECK64(%rax, $0x55667788)			/* nothing has been written */
	LFAULT(14, 2, lock incq 0xffc(%rbx))
	movl	PAGE(8) + 0xffc, %eax
	CHECK64(%rax, $0x55667788)
	turn	W_PT + 8, P + RW
	LFAULT(14, 3, addq $1, 0xffd(%rbx))
	CHECK64(lex_cr2, %rbp)
	movb	$0xb8, PAGE(8) + 0xffe			/* MOV EAX, imm32 */
	turn	W_PT + 8, RW + NX
	leaq	0xffe(%rbx), %rsi
	LFAULT_AT(14, 0x11, W + 0xffe, call *%rsi)
	CHECK64(lex_cr2, %rbp)
	turn	W_PT + 8, NX

	TEST64("UMIP")
	cr4_	0x800, 0
	umip	sgdt (%rbx)
	umip	sidt (%rbx)
	umip	sldt %eax
	umip	str %eax
	umip	smsw %eax
	umip	smsw (%rbx)
	LUSER32(13, 0, sgdt 0x40007000)
	LUSER32(13, 0, smsw %eax)
	LUSER32(13, 0, str %eax)
	LUSER(13, 0, sidt 0x7000)			/* before the address is looked at */
	cr4_	0, 0x800
	LUSER(0x3f, 0, sgdt (%rbx))
	LUSER(0x3f, 0, sidt (%rbx))
	LUSER(0x3f, 0, sldt %eax)
	LUSER(0x3f, 0, str %eax)
	LUSER(0x3f, 0, smsw %eax)
	LUSER(14, 7, sidt 0x7000)
	LUSER(13, 0, lldt %ax)				/* UMIP or not */
	LUSER(13, 0, lgdt (%rbx))
	movb	$0xc3, PAGE(8)

	TEST64("#PF by IST")
	movb	$1, IDT64 + 14 * 16 + 4
	turn	W_PT, P
	LFAULT(14, 2, WRITE)
	CHECK64(lex_rsp, $(IST_TOP & ~15) - 40)		/* behind the error code */
	CHECK64(lex_oldrsp, lresume_rsp)
	LUSER(14, 6, WRITE)
	CHECK64(lex_rsp, $(IST_TOP & ~15) - 40)
	CHECK64(lex_oldrsp, $UV + 0x6700)
	CHECK64(lex_oldss, $UDS64)
	movb	$0, IDT64 + 14 * 16 + 4
	turn	W_PT, P

	TEST64("#PF on the stack of its handler is #DF")
	movb	$1, IDT64 + 8 * 16 + 4
	movq	%rsp, %rsi
	movq	$1f, lresume
	movq	%rsp, lresume_rsp
	turn	W_PT + 8, P
	leaq	0x80(%rbp), %rsp
	pushq	%rax
	fail64_	__LINE__
1:	CHECK64(lex_vector, $8)
	CHECK64(lex_error, $0)
	CHECK64(lex_rsp, $(IST_TOP & ~15) - 40)
	movq	lex_cr2, %rax
	andq	$~0xfff, %rax
	CHECK64(%rax, %rbp)
	turn	W_PT + 8, P
	movb	$0, IDT64 + 8 * 16 + 4

	TEST64("PCID")
	movq	%cr3, %rax
	orq	$0x18, %rax				/* PCD, PWT */
	movq	%rax, %cr3
	movq	%cr4, %rdx
	btsq	$17, %rdx
	LFAULT(13, 0, movq %rdx, %cr4)			/* CR3's low bits are not 0 */
	movq	$PML4, %rax
	movq	%rax, %cr3
	movq	%rdx, %cr4
	orq	$0xfff, %rax
	btsq	$63, %rax				/* keep */
	movq	%rax, %cr3
	movq	%cr3, %rax
	CHECK64(%rax, $PML4 + 0xfff)			/* bit 63 is not kept */
	btsq	$62, %rax
	LFAULT(13, 0, movq %rax, %cr3)
	movq	$PML4, %rax
	movq	%rax, %cr3
	/* INVPCID: each type drops what it says. */
	.irp	type, 0, 1, 2, 3
	READ
	movq	$0, W_PT
	movl	$\type, %eax
	invpcid	pcid_w, %rax
	LFAULT(14, 0, READ)
	movq	$PAGE(8) + 7, W_PT
	.endr
	movl	$4, %eax
	LFAULT(13, 0, invpcid pcid_w, %rax)
	movl	$0, %eax
	LFAULT(13, 0, invpcid pcid_reserved, %rax)
	LFAULT(13, 0, invpcid pcid_far, %rax)
	movl	$1, %eax
	invpcid	pcid_far, %rax				/* the address means nothing there */
	LFAULT(13, 0, invpcid pcid_reserved, %rax)
	LUSER(13, 0, invpcid pcid_w + UV, %rax)
	turn	W_PT + 8, P
	LFAULT(14, 0, invpcid (%rbp), %rax)
	turn	W_PT + 8, P
	movq	$PML4, %rax
	movq	%rax, %cr3
	cr4_	0, 0x20000
	movl	$1, %eax
	LFAULT(13, 0, invpcid pcid_far, %rax)		/* a PCID, and there are none */
	invpcid	pcid_w, %rax

	TEST64("leaving")
	jmp	leave_long

	.data
	.balign	16
pcid_w:	.quad	0, W
pcid_far: .quad	7, 0x800000000000
pcid_reserved: .quad 0x1000, W
wanted:	.quad	0
found_line: .long 0
