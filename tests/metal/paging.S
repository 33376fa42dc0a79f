/*
 * Paging: page-fault error codes, U/S and R/W at both levels, WP, accessed and
 * dirty bits, 4 MiB pages, global pages, INVLPG, reserved bits, accesses that
 * cross pages, tables that are changed in use.  SDM vol. 3 ch. 4.
 */
#include "metal.inc"
#define DIR	0x100000
#define TAB	0x101000	/* maps 0-4 MiB */
#define TAB2	0x102000	/* maps 400000h-7FFFFFh: the test's */
#define V	0x400000
#define PTE(n)	TAB2 + 4 * (n)
#define PAGE(n)	(0x200000 + 4096 * (n))
#define INVALIDATE movl %cr3, %eax; movl %eax, %cr3
	.code32
.macro	cr0_bits set, clear
	movl	%cr0, %eax
	orl	$\set, %eax
	andl	$~(\clear), %eax
	movl	%eax, %cr0
.endm
.macro	cr4_set val
	movl	$\val, %eax
	movl	%eax, %cr4
.endm

main:
	/* identity tables for 4 MiB, user and writable; TAB2 empty */
	movl	$DIR, %edi
	movl	$3 * 1024, %ecx
	xorl	%eax, %eax
	rep stosl
	movl	$TAB + 7, DIR
	movl	$TAB2 + 7, DIR + 4
	movl	$7, %eax
	movl	$TAB, %edi
1:	stosl
	addl	$4096, %eax
	cmpl	$0x400000, %eax
	jb	1b
	movl	$0x11111111, PAGE(0)
	movl	$0x22222222, PAGE(1)
	movl	$0x33333333, PAGE(1) - 4
	movl	$DIR, %eax
	movl	%eax, %cr3
	cr0_bits 0x80000000, 0

	TEST("not present")
	FAULT(14, 0, movl V, %ebx)
	CHECK(ex_cr2, $V)
	FAULT(14, 2, movl %ebx, V + 0x123)
	CHECK(ex_cr2, $V + 0x123)
	UFAULT(14, 4, movl V, %ebx)
	UFAULT(14, 6, movl %ebx, V)
	FAULT(14, 2, incl V)				/* a read for modification is a write */
	FAULT(14, 0, movl V + 0x400000, %ebx)		/* no table either */

	TEST("accessed and dirty bits")
	movl	$PAGE(0) + 7, PTE(0)
	movl	$TAB2 + 7, DIR + 4
	movl	V, %ebx
	CHECK(%ebx, $0x11111111)
	CHECK(PTE(0), $PAGE(0) + 0x27)
	CHECK(DIR + 4, $TAB2 + 0x27)
	movl	%ebx, V
	CHECK(PTE(0), $PAGE(0) + 0x67)
	CHECK(DIR + 4, $TAB2 + 0x27)			/* no dirty bit in a directory entry */

	TEST("a stale translation lives until INVLPG")
	movl	$PAGE(1) + 7, PTE(0)
	invlpg	V
	movl	V, %ebx
	CHECK(%ebx, $0x22222222)
	movl	$0, PTE(0)
	INVALIDATE
	FAULT(14, 0, movl V, %ebx)

	TEST("a fault leaves A and D alone")
	movl	$PAGE(0) + 5, PTE(0)			/* user, read-only */
	INVALIDATE
	UFAULT(14, 7, movl %ebx, V)
	CHECK(PTE(0), $PAGE(0) + 5)
	UOK(movl V, %ebx)
	CHECK(PTE(0), $PAGE(0) + 0x25)

	TEST("user and read-only rights")
	movl	$PAGE(0) + 3, PTE(0)			/* supervisor */
	INVALIDATE
	movl	V, %ebx
	UFAULT(14, 5, movl V, %ebx)
	UFAULT(14, 7, movl %ebx, V)
	movl	%ebx, V
	UFAULT(14, 7, movl %ebx, V)			/* cached for the supervisor only */
	movl	$PAGE(0) + 7, PTE(0)
	movl	$TAB2 + 3, DIR + 4			/* the directory's word counts too */
	INVALIDATE
	UFAULT(14, 5, movl V, %ebx)
	movl	$TAB2 + 5, DIR + 4
	INVALIDATE
	UOK(movl V, %ebx)
	UFAULT(14, 7, movl %ebx, V)
	movl	$TAB2 + 7, DIR + 4

	TEST("CR0.WP")
	movl	$PAGE(0) + 5, PTE(0)
	INVALIDATE
	movl	%ebx, V					/* WP clear: the supervisor writes */
	CHECK(PTE(0), $PAGE(0) + 0x65)
	cr0_bits 0x10000, 0
	FAULT(14, 3, movl %ebx, V)
	movl	V, %ebx
	cr0_bits 0, 0x10000
	movl	%ebx, V

	TEST("accesses that cross pages")
	movl	$PAGE(0) + 7, PTE(0)
	movl	$PAGE(1) + 7, PTE(1)
	INVALIDATE
	movl	V + 0xffe, %ebx
	CHECK(%ebx, $0x22223333)
	movl	$0x44556677, V + 0xffd
	CHECK(PAGE(0) + 0xffc, $0x55667733)
	movl	$0, PTE(1)
	INVALIDATE
	movl	$0x33333333, PAGE(0) + 0xffc
	FAULT(14, 2, movl %ebx, V + 0xffe)
	CHECK(ex_cr2, $V + 0x1000)
	CHECK(PAGE(0) + 0xffc, $0x33333333)		/* nothing was stored */
	FAULT(14, 0, movl V + 0xfff, %ebx)
	CHECK(ex_cr2, $V + 0x1000)
	FAULT(14, 2, lock incl V + 0xffe)

	TEST("a string stops at the page that is missing")
	movl	$PAGE(0) + 7, PTE(0)
	movl	$V + 0xff0, %edi
	movl	$8, %ecx
	movl	$0xabababab, %eax
	FAULT(14, 2, rep stosl)
	CHECK(%ecx, $4)
	CHECK(%edi, $V + 0x1000)
	CHECK(ex_cr2, $V + 0x1000)

	TEST("code is fetched through the tables")
	movb	$0xc3, PAGE(0)
	call	V_call
	movl	$0, PTE(0)
	INVALIDATE
	movl	$V, %eax
	movl	$1f, resume
	movl	%esp, resume_esp
	jmp	*%eax
1:	CHECK(ex_vector, $14)
	CHECK(ex_error, $0)				/* no I bit without NX */
	CHECK(ex_eip, $V)
	CHECK(ex_cr2, $V)

	TEST("an instruction that crosses into a missing page")
	movl	$PAGE(0) + 7, PTE(0)
	INVALIDATE
	movb	$0xb8, PAGE(0) + 0xffd			/* MOV EAX, imm32 */
	movl	$V + 0xffd, %eax
	movl	$1f, resume
	movl	%esp, resume_esp
	jmp	*%eax
1:	CHECK(ex_vector, $14)
	CHECK(ex_eip, $V + 0xffd)
	CHECK(ex_cr2, $V + 0x1000)
	movl	$PAGE(1) + 7, PTE(1)
	movw	$0x5678, PAGE(0) + 0xffe
	movw	$0x1234, PAGE(1)
	movb	$0xc3, PAGE(1) + 2
	call	cross_call
	CHECK(%eax, $0x12345678)
	movl	$PAGE(2) + 7, PTE(1)			/* another second half */
	movw	$0x4321, PAGE(2)
	movb	$0xc3, PAGE(2) + 2
	invlpg	V + 0x1000
	call	cross_call
	CHECK(%eax, $0x43215678)

	TEST("4 MiB pages")
	movl	$0x87, DIR + 8				/* PS without CR4.PSE: a table at 0 */
	FAULT(14, 0, movl 0x800000 + 0x100000, %ebx)
	cr4_set	0x10
	movl	0xa00000, %ebx				/* 200000h */
	CHECK(%ebx, PAGE(0))
	CHECK(DIR + 8, $0xa7)
	movl	$0x1234, 0xa00004
	CHECK(DIR + 8, $0xe7)
	CHECK(PAGE(0) + 4, $0x1234)
	movl	$0x400087, DIR + 8			/* elsewhere: 600000h */
	movl	$0x99887766, PAGE(0)
	invlpg	0xb00000				/* any address of the large page */
	movl	0xa00000, %ebx
	CHECK(%ebx, $0)
	movl	$0x85, DIR + 8
	invlpg	0xb00000
	UFAULT(14, 7, movl %ebx, 0xa00004)
	movl	$0x2085, DIR + 8			/* reserved bits */
	INVALIDATE
	FAULT(14, 9, movl 0xa00000, %ebx)
	FAULT(14, 0xb, movl %ebx, 0xa00000)
	UFAULT(14, 0xd, movl 0xa00000, %ebx)
	movl	$0x1087, DIR + 8			/* PAT */
	INVALIDATE
	movl	0xa00000, %ebx
	CHECK(%ebx, $0x99887766)
	movl	$0, DIR + 8
	movl	$PAGE(0) + 0x87, PTE(0)			/* PAT of a small page */
	INVALIDATE
	movl	V, %ebx
	CHECK(%ebx, $0x99887766)
	movl	$0, PTE(0)
	INVALIDATE

	TEST("global pages")
	cr4_set	0x90
	movl	$PAGE(0) + 0x107, PTE(0)
	movl	$PAGE(1) + 0x007, PTE(1)
	INVALIDATE
	movl	$0x11111111, PAGE(0)
	movl	$0x22222222, PAGE(1)
	movl	V, %ebx
	movl	V + 0x1000, %ecx
	movl	$0, PTE(0)
	movl	$0, PTE(1)
	INVALIDATE
	movl	V, %ebx					/* still there */
	CHECK(%ebx, $0x11111111)
	FAULT(14, 0, movl V + 0x1000, %ebx)
	invlpg	V
	FAULT(14, 0, movl V, %ebx)
	movl	$PAGE(0) + 0x107, PTE(0)
	movl	V, %ebx
	movl	$0, PTE(0)
	cr4_set	0					/* a change of PGE drops global entries too */
	FAULT(14, 0, movl V, %ebx)

	TEST("the processor's own accesses are the supervisor's")
	movl	$gdt, %esi				/* the page of GDT and IDT */
	shrl	$12, %esi
	andl	$~4, TAB(,%esi,4)
	andl	$~4, TAB + 4 * (TSS_AT >> 12)
	INVALIDATE
	UOK(call load_es)
	cr0_bits 0, 0x80000000
	ret

load_es: pushl	$UDS
	popl	%es
	ret
V_call:	movl	$V, %eax
	jmp	*%eax
cross_call: movl $V + 0xffd, %eax
	jmp	*%eax
