/*
 * Long mode: entering and leaving, 64-bit interrupt frames and IST, paging
 * faults with NX, SMEP and SMAP, canonical addresses, SYSCALL and SYSENTER,
 * compatibility mode, call gates, FS and GS.  SDM vol. 3 ch. 4.5, 5.8, 6.14, 9.8.
 */
#include "metal.inc"
#include "long.inc"
	.code32
main:	call	enter_long

	.code64
.macro wrmsr_ index, low, high
	movl	$\index, %ecx
	movl	$\low, %eax
	movl	$\high, %edx
	wrmsr
.endm
.macro cr4_ set, clear
	movq	%cr4, %rax
	orl	$\set, %eax
	andl	$~(\clear), %eax
	movq	%rax, %cr4
.endm

start64:
	TEST64("in 64-bit mode")
	movl	$0xc0000080, %ecx
	rdmsr
	CHECK64(%rax, $0xd01)
	movq	$0x123456789abcdef0, %rbx
	CHECK64(%rbx, $0x123456789abcdef0)
	movl	%ebx, %ebx
	CHECK64(%rbx, $0x9abcdef0)
	movq	$PAGE(0) + KV, %rbx			/* another mapping of the same byte */
	movq	$0x1122334455667788, %rax
	movq	%rax, (%rbx)
	CHECK64(PAGE(0), $0x1122334455667788)
	leaq	1f + KV(%rip), %rax			/* code there */
	movabsq	$1f + KV, %rax
	jmp	*%rax
1:	leaq	(%rip), %rbx
	movabsq	$2f, %rax
	jmp	*%rax
2:	shrq	$32, %rbx
	CHECK64(%rbx, $0xffffffff)
	movq	%cr0, %rax
	btrl	$31, %eax
	LFAULT(13, 0, movq %rax, %cr0)			/* paging stays on in 64-bit code */
	movq	%cr4, %rax
	btrl	$5, %eax
	LFAULT(13, 0, movq %rax, %cr4)			/* and PAE */
	movl	$0xc0000080, %ecx
	movl	$0x801, %eax
	xorl	%edx, %edx
	LFAULT(13, 0, wrmsr)				/* and LME */

	TEST64("frames")
	LFAULT(6, 0, ud2)
	CHECK64(lex_cs, $CS64)
	CHECK64(lex_oldss, $DS32)
	CHECK64(lex_oldrsp, lresume_rsp)
	movq	lex_rsp, %rax
	andl	$15, %eax
	CHECK64(%rax, $8)				/* five words below an aligned address */
	pushq	$0					/* the other alignment */
	LFAULT(6, 0, ud2)
	CHECK64(lex_oldrsp, lresume_rsp)
	movq	lex_rsp, %rax
	andl	$15, %eax
	CHECK64(%rax, $8)
	popq	%rax
	LTRAP(0x3d, int $0x3d)				/* IST1 */
	CHECK64(lex_rsp, $(IST_TOP & ~15) - 40)
	CHECK64(lex_oldrsp, lresume_rsp)
	LFAULT(13, 0x402, int $0x40)			/* beyond the IDT */
	movb	$0x85, IDT64 + 0x3c * 16 + 5		/* a task gate is none */
	LFAULT(13, 0x3c * 8 + 2, int $0x3c)
	movb	$0x8e, IDT64 + 0x3c * 16 + 5
	movw	$CS32, IDT64 + 0x3c * 16 + 2		/* to 32-bit code */
	LFAULT(13, CS32, int $0x3c)
	movw	$CS64, IDT64 + 0x3c * 16 + 2
	movl	$0x8000, IDT64 + 0x3c * 16 + 8		/* not canonical */
	LFAULT(13, 0, int $0x3c)
	movl	$0, IDT64 + 0x3c * 16 + 8

	TEST64("IRETQ without change of privilege")
	movq	%rsp, %rbx
	pushq	$0					/* a null SS */
	pushq	%rbx
	pushfq
	pushq	$CS64
	pushq	$1f
	iretq
1:	CHECK64(%rsp, %rbx)
	movl	%ss, %eax
	CHECK64(%rax, $0)
	pushq	$UDS64
	pushq	%rbx
	pushfq
	pushq	$CS64
	pushq	$1f
	LFAULT(13, UDS64 & ~3, iretq)			/* SS of another level */
1:	movq	%rbx, %rsp
	pushfq
	orq	$0x4000, (%rsp)
	popfq
	LFAULT(13, 0, iretq)				/* NT */
	pushfq
	andq	$~0x4000, (%rsp)
	popfq
	LFAULT(13, UDS64 & ~3, movl %ebx, %ss; movw $UDS64, %ax; movw %ax, %ss) 

	TEST64("addresses that are not canonical")
	movq	$0x800000000000, %rbx
	LFAULT(13, 0, movq (%rbx), %rax)
	LFAULT(13, 0, movb %al, -1(%rbx,%rbx))
	LFAULT(13, 0, movq -4(%rbx), %rax)		/* the last byte is not */
	LFAULT(12, 0, movq (%rsp,%rbx), %rax)
	LFAULT(13, 0, jmp *%rbx)
	LFAULT(13, 0, call *%rbx)
	movq	%rbx, %rcx
	movq	%rsp, %rdx
	movq	%rbx, %rsp
	movq	%rdx, lresume_rsp
	movq	$1f, lresume
	pushq	$0
	fail64_	__LINE__
1:	movq	%rdx, %rsp
	CHECK64(lex_vector, $12)
	LFAULT(14, 0, movq -8(%rbx), %rax)
	CHECK64(lex_cr2, $0x7ffffffffff8)

	TEST64("pages and their rights")
	LFAULT(14, 0, movq V, %rbx)
	CHECK64(lex_cr2, $V)
	LFAULT(14, 2, movq %rbx, V + 8)
	LFAULT(14, 0x10, jmp V)
	CHECK64(lex_vector, $14)
	movq	$PAGE(0) + 3, PTE(0)
	CHECK64(V, $0x1122334455667788)
	CHECK64(PTE(0), $PAGE(0) + 0x23)
	movq	$0, V + 8
	CHECK64(PTE(0), $PAGE(0) + 0x63)
	movq	$PAGE(0) + 1, PTE(0)			/* read-only, WP */
	FLUSH
	LFAULT(14, 3, movq %rax, V)
	movq	$PAGE(0) + 3, %rax
	btsq	$45, %rax				/* beyond the physical address */
	movq	%rax, PTE(0)
	FLUSH
	LFAULT(14, 9, movq V, %rax)
	movq	$PAGE(0) + 3, %rax
	btsq	$52, %rax				/* the system's */
	movq	%rax, PTE(0)
	CHECK64(V, $0x1122334455667788)
	orb	$0x80, PML4				/* reserved there */
	FLUSH
	movb	$7, PML4
	FLUSH

	TEST64("NX")
	movb	$0xc3, PAGE(0)
	movq	$PAGE(0) + 7, %rax
	btsq	$63, %rax
	movq	%rax, PTE(0)
	FLUSH
	movl	$V, %ebx
	movb	V, %al
	movq	$1f, lresume
	movq	%rsp, lresume_rsp
	call	*%rbx
	fail64_	__LINE__
1:	CHECK64(lex_vector, $14)
	CHECK64(lex_error, $0x11)
	CHECK64(lex_rip, $V)
	LUSER(14, 0x15, jmp *%rbx)
	movq	$PAGE(0) + 7, PTE(0)
	invlpg	V
	call	*%rbx

	TEST64("SMEP")
	cr4_	0x100000, 0
	movq	$1f, lresume
	movq	%rsp, lresume_rsp
	call	*%rbx
	fail64_	__LINE__
1:	CHECK64(lex_vector, $14)
	CHECK64(lex_error, $0x11)
	LUSER(0x3f, 0, nop)
	cr4_	0, 0x100000
	call	*%rbx

	TEST64("SMAP")
	cr4_	0x200000, 0
	LFAULT(14, 1, movb V, %al)
	LFAULT(14, 3, movb %al, V + 8)
	stac
	movb	V, %al
	movb	%al, V + 8
	clac
	LFAULT(14, 1, movb V, %al)
	pushfq
	orq	$0x40000, (%rsp)
	popfq
	movb	V, %al
	LFAULT(6, 0, ud2)				/* AC stays over an exception, as all flags but these */
	CHECK64(PAGE(0), PAGE(0))
	clac
	call	*%rbx					/* SMAP is about data */
	LUSER(0x3f, 0, movb V, %al)
	LUSER(6, 0, stac)
	cr4_	0, 0x200000

	TEST64("user")
	movl	$0x77, %ebx
	LUSER(14, 5, movb 0x8000, %al)
	CHECK64(lex_cs, $UCS64)
	CHECK64(lex_oldss, $UDS64)
	CHECK64(lex_oldrsp, $UV + 0x6700)
	CHECK64(lex_rsp, $(RSP0_TOP & ~15) - 40)
	CHECK64(lex_ss, $0)
	LUSER(13, 0, movq %cr0, %rax)
	LUSER(13, 0, swapgs)
	LUSER(13, 0x3c * 8 + 2, int $0x3c)
	LUSER(0x3d, 0, movq $0, %rax; nop; .byte 0xcd, 0x3f)
	ud2

	jmp	leave_long
