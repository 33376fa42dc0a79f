/*
 * Code that changes: by the next instruction, in its own block, across pages,
 * through another mapping, by a repeated string, by DMA, and data beside code.
 * SDM vol. 3 section 8.1.3 (a branch or not: processors since the Pentium notice).
 */
#include "metal.inc"
#define PROBE	0x200000	/* code that the test writes */
	.code32
#define MOV_EAX(n) .byte 0xb8; .long n

main:
	TEST("a function is rewritten between calls")
	movl	$0x2211b8, PROBE	/* MOV EAX, 00..2211h */
	movl	$0xc30000, PROBE + 3
	movl	$PROBE, %esi
	call	*%esi
	CHECK(%eax, $0x2211)
	movb	$0x44, PROBE + 1
	call	*%esi
	CHECK(%eax, $0x2244)
	movl	$100, %ecx
1:	movb	%cl, PROBE + 1
	call	*%esi
	movzbl	%al, %eax
	CHECK(%eax, %ecx)
	loop	1b

	TEST("the following instruction in the same block")
	movl	$100, %ecx
2:	movb	%cl, 3f + 1
	nop
3:	movl	$0, %eax
	movzbl	%al, %eax
	CHECK(%eax, %ecx)
	loop	2b

	TEST("the instruction that follows at once")
	movb	$0x5a, 4f + 1
4:	movb	$0, %al
	movzbl	%al, %eax
	CHECK(%eax, $0x5a)

	TEST("a loop that changes its own increment")
	movl	$0, %eax
	movl	$4, %ecx
5:	addl	$1, %eax
	incb	5b + 2
	loop	5b
	CHECK(%eax, $1 + 2 + 3 + 4)

	TEST("an instruction over two pages, second half rewritten")
	movb	$0xb8, PROBE + 0xffe
	movb	$0x11, PROBE + 0xfff
	movl	$0xc3000000, PROBE + 0x1000
	movl	$PROBE + 0xffe, %esi
	call	*%esi
	CHECK(%eax, $0x11)
	movb	$0x33, PROBE + 0x1000
	call	*%esi
	CHECK(%eax, $0x3311)
	movb	$0x44, PROBE + 0xfff
	call	*%esi
	CHECK(%eax, $0x3344)
	movl	$0xc3000055, PROBE + 0xfff	/* over both */
	movb	$0, PROBE + 0x1001
	movb	$0, PROBE + 0x1002
	movb	$0xc3, PROBE + 0x1003
	call	*%esi
	CHECK(%eax, $0x55)

	TEST("by a repeated string")
	movl	$PROBE, %esi
	movl	$0xc39090c3, PROBE + 8
	call	*%esi
	movl	$PROBE, %edi
	movl	$0x90909090, %eax
	movl	$2, %ecx
	rep stosl
	movl	$0xaa, %eax
	call	*%esi
	CHECK(%eax, $0xaa)
	movl	$template, %esi
	movl	$PROBE, %edi
	movl	$6, %ecx
	rep movsb
	movl	$PROBE, %esi
	call	*%esi
	CHECK(%eax, $0x01020304)

	TEST("by the device model")
	movl	$0x0a0b0c0d, %eax
	outl	%eax, $P_DMA_DATA
	movl	$PROBE + 1, %eax
	outl	%eax, $P_DMA
	call	*%esi
	CHECK(%eax, $0x0a0b0c0d)
	movl	$50, %ecx
6:	movl	%ecx, %eax
	outl	%eax, $P_DMA_DATA
	movl	$PROBE + 1, %eax
	outl	%eax, $P_DMA
	call	*%esi
	CHECK(%eax, %ecx)
	loop	6b

	TEST("by the device model, the very next instruction")
	movl	$0x1a2b3c4d, %eax
	outl	%eax, $P_DMA_DATA
	movl	$7f + 1, %eax
	outl	%eax, $P_DMA
7:	movl	$0, %eax
	CHECK(%eax, $0x1a2b3c4d)

	TEST("data on the page of the code")
	movl	$0, %eax
	movl	$1000, %ecx
8:	incl	counter
	addl	counter, %eax
	loop	8b
	CHECK(counter, $1000)
	CHECK(%eax, $500500)

	TEST("through another mapping of the page")
	movl	$0x101007, 0x100000
	movl	$0x102007, 0x100004
	movl	$0x101000, %edi
	movl	$7, %eax
9:	stosl
	addl	$4096, %eax
	cmpl	$0x400000, %eax
	jb	9b
	movl	$PROBE + 7, 0x102000
	movl	$0x100000, %eax
	movl	%eax, %cr3
	movl	%cr0, %eax
	orl	$0x80000000, %eax
	movl	%eax, %cr0
	call	*%esi
	movl	$0x66, 0x400001
	call	*%esi
	CHECK(%eax, $0x66)
	movl	$0x400000, %ebx
	call	*%ebx
	CHECK(%eax, $0x66)
	movl	$0x77, PROBE + 1
	call	*%ebx
	CHECK(%eax, $0x77)

	TEST("the mapping changes, the code with it")
	movl	$PROBE + 0x2007, 0x102000
	movl	$0x0099b8, PROBE + 0x2000
	movl	$0xc30000, PROBE + 0x2003
	invlpg	0x400000
	call	*%ebx
	CHECK(%eax, $0x99)

	TEST("a page-table entry on a page with code")
	movl	$0xc3, 0x102100			/* RET, among the entries of the second table */
	movl	$0x102100, %edx
	call	*%edx
	movl	$PROBE + 7, 0x102004
	movl	0x401000, %eax
	movl	0x102004, %eax
	CHECK(%eax, $PROBE + 0x27)
	movl	$0x0020c347, 0x102008		/* INC EDI; RET, and an entry with A clear */
	movl	$0x102008, %edx
	xorl	%edi, %edi
	call	*%edx
	movl	0x402000, %eax			/* sets A: the opcode becomes a prefix */
	call	*%edx
	CHECK(%edi, $1)
	movl	%cr0, %eax
	andl	$0x7fffffff, %eax
	movl	%eax, %cr0
	ret

	.balign	64
counter: .long	0
template: MOV_EAX(0x01020304)
	ret
