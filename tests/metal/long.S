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

#define HIGH	0xffffffffc0000000
#define HIGH_PD	0x207000
#define HIGH_PT	0x208000
.macro call_high want
	movl	$2, %ebp
1:	xorl	%eax, %eax			/* more than once: it is remembered */
	call	*%rbx
	CHECK64(%rax, $\want)
	decl	%ebp
	jnz	1b
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
	LFAULT(13, 0x202, int $0x40)			/* beyond the IDT */
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
1:	movq	%rsp, %rdx
	CHECK64(%rdx, %rbx)
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
	movl	$UDS64, %eax
	LFAULT(13, UDS64 & ~3, movl %eax, %ss)

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
	movq	%rdx, lresume_rsp
	movq	$1f, lresume
	movb	$1, IDT64 + 12 * 16 + 4			/* the handler needs a stack that is one */
	movq	%rbx, %rsp
	popq	%rax
	fail64_	__LINE__
1:	movb	$0, IDT64 + 12 * 16 + 4
	CHECK64(lex_vector, $12)
	LFAULT(14, 0, movq -8(%rbx), %rax)
	CHECK64(lex_cr2, $0x7ffffffffff8)

	TEST64("MONITOR's address, and what is no extension")
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	movq	$0x800000000000, %rax
	LFAULT(13, 0, monitor)
	movl	$V, %eax
	LFAULT(14, 0, monitor)
	CHECK64(lex_cr2, $V)
	movq	$0x8000, %rax
	monitor
	mwait
	movq	$0x100000000, %rcx
	LFAULT(13, 0, monitor)
	LFAULT(13, 0, mwait)
	movq	$0xffffffff00008000, %rax
	xorl	%ecx, %ecx
	addr32 monitor

	TEST64("pages and their rights")
	LFAULT(14, 0, movq V, %rbx)
	CHECK64(lex_cr2, $V)
	LFAULT(14, 2, movq %rbx, V + 8)
	LFAULT_AT(14, 0x10, V, jmp V)
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

	TEST64("NX")
	movb	$0xc3, PAGE(0)
	movq	$PAGE(0) + 7, %rax
	btsq	$63, %rax
	movq	%rax, PTE(0)
	FLUSH
	movl	$V, %ebx
	movb	V, %al
	LFAULT_AT(14, 0x11, V, call *%rbx)
	LUSER(14, 0x15, jmp *%rbx)
	movq	$PAGE(0) + 7, PTE(0)
	invlpg	V
	call	*%rbx

	TEST64("SMEP")
	cr4_	0x100000, 0
	LFAULT_AT(14, 0x11, V, call *%rbx)
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
	LUSER(13, 0, hlt)
	LUSER(0x3f, 0, addq $8, %rsp)

	TEST64("SYSCALL and SYSRET")
	wrmsr_	0xc0000081, 0, (UCS32 & ~3) << 16 | CS64
	wrmsr_	0xc0000082, 1f, 0
	wrmsr_	0xc0000084, 0x200, 0			/* IF */
	movq	%rsp, %rbp
	movl	$2f + UV, %ecx
	movl	$0x246, %r11d
	movl	$UV + 0x6700, %esp
	sysretq
2:	movl	%cs, %eax
	movl	%ss, %ebx
	syscall
3:	nop
1:	CHECK64(%rcx, $3b + UV)
	andl	$0xffff, %r11d
	CHECK64(%r11, $0x246)
	CHECK64(%rax, $UCS64)
	CHECK64(%rbx, $UDS64)
	movl	%cs, %eax
	CHECK64(%rax, $CS64)
	movl	%ss, %eax
	CHECK64(%rax, $DS64)
	pushfq
	popq	%rax
	andl	$0x200, %eax
	CHECK64(%rax, $0)
	movq	%rbp, %rsp
	movq	$0x800000000000, %rcx
	LFAULT(13, 0, sysretq)
	movl	$0xc0000082, %ecx			/* LSTAR must be canonical */
	movl	$0x8000, %edx
	LFAULT(13, 0, wrmsr)
	wrmsr_	0xc0000080, 0xd00, 0			/* without SCE */
	LFAULT(6, 0, syscall)
	LFAULT(6, 0, sysretq)
	wrmsr_	0xc0000080, 0xd01, 0

	TEST64("compatibility mode")
	movq	$0x1234567800000001, %rbx
	LUSER32(0x3f, 0, incl %ebx)
	CHECK64(lex_cs, $UCS32)
	CHECK64(%rbx, $2)
	LUSER32(6, 0, .byte 0x0f, 0x05)		/* SYSCALL */
	LUSER32(14, 4, movl 0xfffffffc, %eax)
	LUSER32(14, 5, movl 0x8000, %eax)
	LUSER32(0x3f, 0, .byte 0x40, 0x48)	/* INC, DEC: no prefixes here */
	movl	$2f + UV, %ecx
	movl	$0x246, %r11d
	movq	$1f, lresume
	movq	%rsp, lresume_rsp
	sysretl
	.code32
2:	movl	$UV + 0x6700, %esp
	int	$0x3f
	.code64
1:	CHECK64(lex_vector, $0x3f)
	CHECK64(lex_cs, $UCS32)
	CHECK64(lex_oldrsp, $UV + 0x6700)

	TEST64("SYSENTER and SYSEXIT")
	wrmsr_	0x174, CS64, 0
	wrmsr_	0x175, 0x6d00, 0
	wrmsr_	0x176, 1f, 0
	LUSER32(3, 0, sysenter)
	jmp	2f
1:	movq	%rsp, %rdx
	CHECK64(%rdx, $0x6d00)
	movl	%cs, %eax
	CHECK64(%rax, $CS64)
	movl	%ss, %eax
	CHECK64(%rax, $DS64)
	int3
2:	wrmsr_	0x174, 0, 0
	LFAULT(13, 0, sysenter)
	LFAULT(13, 0, sysexitl)

	TEST64("FS and GS")
	wrmsr_	0xc0000100, PAGE(0), 0
	movq	$0x5566, PAGE(0) + 16
	CHECK64(%fs:16, $0x5566)
	wrmsr_	0xc0000101, 0x1000, 0
	wrmsr_	0xc0000102, PAGE(0), 0
	swapgs
	CHECK64(%gs:16, $0x5566)
	movl	$0xc0000102, %ecx
	rdmsr
	CHECK64(%rax, $0x1000)
	swapgs
	LFAULT(6, 0, rdfsbase %rax)
	cr4_	0x10000, 0
	rdfsbase %rax
	CHECK64(%rax, $PAGE(0))
	movq	$KV + PAGE(0), %rbx
	wrgsbase %rbx
	CHECK64(%gs:16, $0x5566)
	movq	$0x800000000000, %rbx
	LFAULT(13, 0, wrfsbase %rbx)
	movl	$DS64, %eax
	movl	%eax, %fs				/* a descriptor's base replaces it */
	rdfsbase %rax
	CHECK64(%rax, $0)
	cr4_	0, 0x10000

	TEST64("a call gate")
	movl	$1f, %eax
	movw	%ax, gdt + GATE64
	movw	$CS64, gdt + GATE64 + 2
	movl	$0xec00, gdt + GATE64 + 4		/* DPL 3 */
	movq	$0, gdt + GATE64 + 8
	LUSER(3, 0, lcall *gate_at + UV)
	jmp	2f
1:	movl	%cs, %eax
	CHECK64(%rax, $CS64)
	movq	%rsp, %rdx
	CHECK64(%rdx, $RSP0_TOP - 32)
	CHECK64(8(%rdx), $UCS64)
	int3
2:	movl	$0x0c00, gdt + GATE64 + 12		/* the upper half looks like a descriptor */
	LFAULT(13, GATE64, lcall *gate_at)
	movl	$0, gdt + GATE64 + 12
	movw	$CS32, gdt + GATE64 + 2
	LFAULT(13, CS32, lcall *gate_at)
	LFAULT(13, TSS64, ljmp *tss_at)			/* no tasks */

	TEST64("PCID")
	cr4_	0x20000, 0
	movq	$PAGE(1) + 3, PTE(1)
	movq	$0x77, PAGE(1)
	CHECK64(V + 0x1000, $0x77)
	movq	$0, PTE(1)
	movq	%cr3, %rax
	orq	$5, %rax
	movq	%rax, %cr3
	LFAULT(14, 0, movq V + 0x1000, %rax)
	movq	$PAGE(1) + 3, PTE(1)
	CHECK64(V + 0x1000, $0x77)
	movq	$0, PTE(1)
	movl	$0, %eax
	invpcid	pcid_5, %rax
	LFAULT(14, 0, movq V + 0x1000, %rax)
	movl	$4, %eax
	LFAULT(13, 0, invpcid pcid_5, %rax)
	movq	$PML4, %rax
	movq	%rax, %cr3
	cr4_	0, 0x20000
	movq	$0x10000000000, %rax
	LFAULT(13, 0, movq %rax, %cr3)

	TEST64("code in the upper half follows its page tables")
	movq	$HIGH_PD + 3, PDPTK + 511 * 8
	movq	$HIGH_PT + 3, HIGH_PD
	movq	$PAGE(2) + 3, HIGH_PT
	movl	$0xc301b0, PAGE(2)			/* MOV AL, 1; RET */
	movl	$0xc302b0, PAGE(3)
	movq	$HIGH, %rbx
	call_high 1
	movq	$PAGE(3) + 3, HIGH_PT
	FLUSH
	call_high 2
	movq	$PAGE(2) + 3, HIGH_PT
	invlpg	(%rbx)
	call_high 1
	cr4_	0x80, 0					/* PGE */
	movq	$PAGE(3) + 0x103, HIGH_PT
	FLUSH
	call_high 2
	movq	$PAGE(2) + 3, HIGH_PT
	FLUSH						/* the global translation may stay, and does here */
	call_high 2
	invlpg	(%rbx)
	call_high 1
	movq	$PAGE(3) + 3, HIGH_PT
	FLUSH
	call_high 2
	movq	$PAGE(2) + 0x103, HIGH_PT
	FLUSH
	call_high 1
	movq	$PAGE(3) + 3, HIGH_PT
	cr4_	0, 0x80
	call_high 2

	TEST64("2 GiB ahead, counted from the instruction's end")
	movl	$1f, %eax
	addq	$KV, %rax
	jmp	*%rax				/* from the upper mapping into the lower, round the end of addresses */
1:	nop
	movl	$2, %ecx
	.byte	0x8b, 0x05			/* MOV EAX, [RIP + 7FFFFFFFh]: its own last byte */
	.long	0x7fffffff
	nop
	nop
	nop
	CHECK64(%rax, $0x9090907f)
	leaq	(%rip), %rbx
	sarq	$32, %rbx
	CHECK64(%rbx, $-1)
2:	decl	%ecx
	jz	5f
	.byte	0xe9				/* JMP to the lower mapping's 2 */
	.long	0x80000000 - (3f - 2b)
3:	hlt
5:	leaq	(%rip), %rbx
	sarq	$32, %rbx
	CHECK64(%rbx, $0)
	movl	$6f, %eax
	addq	$KV, %rax
	movl	$2, %ecx
	jmp	*%rax
6:	decl	%ecx
	jz	8f
	.byte	0x0f, 0x85			/* JNZ */
	.long	0x80000000 - (7f - 6b)
7:	hlt
8:	leaq	(%rip), %rbx
	sarq	$32, %rbx
	CHECK64(%rbx, $0)
	movl	$9f, %eax
	addq	$KV, %rax
	movl	$2, %ecx
	jmp	*%rax
9:	decl	%ecx
	jz	8f
	.byte	0xe8				/* CALL */
	.long	0x80000000 - (7f - 9b)
7:	hlt
8:	leaq	(%rip), %rbx
	sarq	$32, %rbx
	CHECK64(%rbx, $0)
	popq	%rbx
	movabsq	$7b + KV, %rax
	CHECK64(%rbx, %rax)

	TEST64("leaving")
	jmp	leave_long

	.data
	.balign	16
pcid_5:	.quad	5, V + 0x1000
gate_at: .long	0, GATE64
tss_at:	.long	0, TSS64
