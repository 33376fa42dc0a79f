/*
 * PCIDs: two address spaces that differ in what stands at V, switched with and
 * without dropping translations; INVPCID; INVLPG and global pages over both;
 * code that is at the same address in each.  SDM vol. 3 section 4.10, vol. 2 INVPCID.
 */
#include "metal.inc"
#include "long.inc"
	.code32
main:	call	enter_long

	.code64
.macro cr4_ set, clear
	movq	%cr4, %rax
	orl	$\set, %eax
	andl	$~(\clear), %eax
	movq	%rax, %cr4
.endm

/* The other space: root, and tables down to the pages at V. */
#define ROOT2	0x209000
#define PDPT2	0x20a000
#define PDU2	0x20b000
#define PT2	0x20c000
#define PTE2(n)	PT2 + 8 * (n)
#define VA(n)	V+4096*(n)
/* A page in the upper half, in both. */
#define KCODE	0xffffffffc0000000
#define KCODE_PD 0x20d000
#define KCODE_PT 0x20e000
#define FIRST	PML4+5
#define SECOND	ROOT2+6

.macro space cr3, keep=0
	movq	$(\cr3)+(\keep<<63), %rax
	movq	%rax, %cr3
.endm
#define DROP(cr3)	space cr3
#define KEEP(cr3)	space cr3, 1

.macro invpcid_ type, descriptor
	movl	$\type, %eax
	invpcid	\descriptor, %rax
.endm

.macro call_ at, want
	movl	$2, %ebp
1:	xorl	%eax, %eax				/* more than once: it is remembered */
	movq	$\at, %rbx
	call	*%rbx
	CHECK64(%rax, $\want)
	decl	%ebp
	jnz	1b
.endm

start64:
	movl	$ROOT2, %edi
	xorl	%eax, %eax
	movl	$4 * 1024, %ecx
	rep stosl
	movq	PML4 + 511 * 8, %rax
	movq	%rax, ROOT2 + 511 * 8
	movq	$PDPT2 + 7, ROOT2
	movq	$PD + 3, PDPT2
	movq	$PDU2 + 7, PDPT2 + 8
	movq	$PT2 + 7, PDU2 + 8
	movq	$1, PAGE(1)
	movq	$2, PAGE(2)
	movq	$3, PAGE(3)
	movl	$0xc301b0, PAGE(5)			/* MOV AL, 1; RET */
	movl	$0xc302b0, PAGE(6)
	movl	$0xc303b0, PAGE(7)
	cr4_	0x20000, 0				/* PCIDE */

	TEST64("each space sees its own")
	movq	$PAGE(1) + 3, PTE(1)
	movq	$PAGE(2) + 3, PTE2(1)
	DROP(FIRST)
	CHECK64(VA(1), $1)
	DROP(SECOND)
	CHECK64(VA(1), $2)
	KEEP(FIRST)
	CHECK64(VA(1), $1)
	KEEP(SECOND)
	CHECK64(VA(1), $2)
	CHECK64(%cr3, $SECOND)				/* bit 63 is not stored */

	TEST64("bit 63 keeps translations, and without it they go")
	movq	$PAGE(3) + 3, PTE(1)
	KEEP(FIRST)					/* the old one may stay, and does here */
	CHECK64(VA(1), $1)
	DROP(SECOND)					/* not the first's */
	KEEP(FIRST)
	CHECK64(VA(1), $1)
	DROP(FIRST)
	CHECK64(VA(1), $3)
	movq	$PAGE(1) + 3, PTE(1)
	KEEP(FIRST)
	CHECK64(VA(1), $3)
	DROP(FIRST)
	CHECK64(VA(1), $1)

	TEST64("INVLPG is the running space's")
	movq	$PAGE(3) + 3, PTE(1)
	invlpg	VA(1)
	CHECK64(VA(1), $3)
	KEEP(SECOND)
	CHECK64(VA(1), $2)
	movq	$PAGE(1) + 3, PTE2(1)
	CHECK64(VA(1), $2)
	invlpg	VA(1)
	CHECK64(VA(1), $1)

	TEST64("INVPCID: an address, a space, all of them")
	movq	$PAGE(1) + 3, PTE(1)
	invpcid_ 0, first_va1
	KEEP(FIRST)
	CHECK64(VA(1), $1)
	movq	$PAGE(2) + 3, PTE(1)
	invpcid_ 0, first_va1
	CHECK64(VA(1), $2)
	movq	$PAGE(3) + 3, PTE(1)
	invpcid_ 1, first_va1
	CHECK64(VA(1), $3)
	movq	$PAGE(2) + 3, PTE2(1)
	invpcid_ 1, second_va1
	KEEP(SECOND)
	CHECK64(VA(1), $2)
	movq	$PAGE(1) + 3, PTE(1)
	movq	$PAGE(3) + 3, PTE2(1)
	invpcid_ 3, second_va1
	CHECK64(VA(1), $3)
	KEEP(FIRST)
	CHECK64(VA(1), $1)
	LFAULT(13, 0, invpcid bad_pcid, %rax)
	LFAULT(13, 0, invpcid bad_address, %rcx)	/* RCX is 0 */

	TEST64("global pages are in every space")
	cr4_	0x80, 0					/* PGE */
	DROP(SECOND)
	DROP(FIRST)
	movq	$PAGE(1) + 0x103, PTE(2)
	movq	$PAGE(1) + 0x103, PTE2(2)
	CHECK64(VA(2), $1)
	movq	$PAGE(2) + 0x103, PTE(2)
	movq	$PAGE(2) + 0x103, PTE2(2)
	DROP(SECOND)					/* it may stay, and does here */
	CHECK64(VA(2), $1)
	invpcid_ 1, second_va1
	CHECK64(VA(2), $1)
	invpcid_ 3, second_va1
	CHECK64(VA(2), $1)
	invlpg	VA(2)
	CHECK64(VA(2), $2)
	KEEP(FIRST)
	CHECK64(VA(2), $2)
	movq	$PAGE(3) + 0x103, PTE(2)
	movq	$PAGE(3) + 0x103, PTE2(2)
	invpcid_ 2, second_va1
	CHECK64(VA(2), $3)
	KEEP(SECOND)
	CHECK64(VA(2), $3)
	movq	$PAGE(1) + 0x103, PTE(2)
	movq	$PAGE(1) + 0x103, PTE2(2)
	cr4_	0, 0x80
	CHECK64(VA(2), $1)
	KEEP(FIRST)
	CHECK64(VA(2), $1)
	cr4_	0x80, 0

	TEST64("code at one address in two spaces")
	movq	$PAGE(5) + 3, PTE(3)
	movq	$PAGE(6) + 3, PTE2(3)
	DROP(FIRST)
	call_	VA(3), 1
	DROP(SECOND)
	call_	VA(3), 2
	KEEP(FIRST)
	call_	VA(3), 1
	KEEP(SECOND)
	call_	VA(3), 2
	movq	$PAGE(7) + 3, PTE2(3)
	invlpg	VA(3)
	call_	VA(3), 3
	movq	$PAGE(6) + 3, PTE(3)
	KEEP(FIRST)
	invlpg	VA(3)
	call_	VA(3), 2
	movq	$PAGE(5) + 3, PTE2(3)
	invpcid_ 1, second_va1
	KEEP(SECOND)
	call_	VA(3), 1
	movq	$PAGE(7) + 3, PTE(3)
	invpcid_ 3, second_va1
	KEEP(FIRST)
	call_	VA(3), 3
	KEEP(SECOND)
	call_	VA(3), 1

	TEST64("global code, dropped by another space than it was used in")
	movq	$PAGE(5) + 0x103, PTE(4)
	movq	$PAGE(5) + 0x103, PTE2(4)
	KEEP(FIRST)
	call_	VA(4), 1
	KEEP(SECOND)
	call_	VA(4), 1
	movq	$PAGE(6) + 0x103, PTE(4)
	movq	$PAGE(6) + 0x103, PTE2(4)
	invlpg	VA(4)
	call_	VA(4), 2
	KEEP(FIRST)
	call_	VA(4), 2

	TEST64("local code in the upper half")
	movq	$KCODE_PD + 3, PDPTK + 511 * 8		/* both spaces share these tables, but not in time */
	movq	$KCODE_PT + 3, KCODE_PD
	movq	$PAGE(5) + 3, KCODE_PT
	DROP(FIRST)
	call_	KCODE, 1
	movq	$PAGE(6) + 3, KCODE_PT
	DROP(SECOND)
	call_	KCODE, 2
	movq	$PAGE(7) + 3, KCODE_PT
	invlpg	KCODE
	call_	KCODE, 3
	DROP(FIRST)
	call_	KCODE, 3

	TEST64("many spaces")
	movl	$9000, %esi				/* more loads than there are stamps */
1:	DROP(SECOND)
	CHECK64(VA(1), $3)
	KEEP(FIRST)
	CHECK64(VA(1), $1)
	decl	%esi
	jnz	1b

	movq	$PML4, %rax
	movq	%rax, %cr3
	cr4_	0, 0x20080
	jmp	leave_long

	.data
	.balign	16
first_va1:	.quad	5, VA(1)
second_va1:	.quad	6, VA(1)
bad_pcid:	.quad	0x1000, 0
bad_address:	.quad	5, 0x800000000000
	.text
