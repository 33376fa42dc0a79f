/*
 * Debug registers and single-stepping: execution, data and I/O breakpoints,
 * RF, BS, BD, GD, TF over REP, over loads of SS, and INT n.
 * SDM vol. 3 ch. 17.2, 17.3.
 */
#include "metal.inc"
#define S0	SPARE
	.code32
.macro	dr n, val
	movl	$\val, %eax
	movl	%eax, %dr\n
.endm
#define DR6(want) movl %dr6, %eax; CHECK(%eax, $want); xorl %eax, %eax; movl %eax, %dr6

main:
	TEST("registers")
	movl	%dr6, %eax
	CHECK(%eax, $0xffff0ff0)
	movl	%dr7, %eax
	CHECK(%eax, $0x400)
	dr	6, 0
	movl	%dr6, %eax
	CHECK(%eax, $0xffff0ff0)
	dr	6, 0xffffffff
	movl	%dr6, %eax
	CHECK(%eax, $0xffffefff)
	dr	6, 0
	dr	0, 0x12345678
	movl	%dr0, %ebx
	CHECK(%ebx, $0x12345678)
	.byte	0x0f, 0x21, 0xe3		/* MOV EBX, DR4: is DR6 */
	CHECK(%ebx, $0xffff0ff0)
	movl	$8, %eax
	movl	%eax, %cr4			/* DE */
	FAULT(6, 0, .byte 0x0f, 0x21, 0xe3)
	FAULT(6, 0, .byte 0x0f, 0x21, 0xeb)
	xorl	%eax, %eax
	movl	%eax, %cr4

	TEST("single step")
	movl	$count_hook, hook
	movl	$0, ex_count
	pushfl
	orl	$0x100, (%esp)
	popfl				/* no trap after this one */
	nop				/* 1 */
1:	nop				/* 2 */
	pushfl				/* 3 */
	andl	$~0x100, (%esp)		/* 4 */
	popfl				/* 5: TF was set when it began */
	nop
	CHECK(ex_count, $5)
	CHECK(ex_vector, $1)
	DR6(0xffff4ff0)

	TEST("the trap's EIP is the next instruction, TF is in the image")
	movl	$first_hook, hook
	pushfl
	orl	$0x100, (%esp)
	popfl
	nop
2:	nop
	CHECK(seen, $2b)
	movl	seen + 4, %eax
	andl	$0x100, %eax
	CHECK(%eax, $0x100)
	DR6(0xffff4ff0)

	TEST("IRET that sets TF: the trap comes after the next instruction")
	movl	$first_hook, hook
	pushfl
	orl	$0x100, (%esp)
	pushl	$CS32
	pushl	$3f
	iretl
3:	nop
4:	nop
	CHECK(seen, $4b)
	DR6(0xffff4ff0)

	TEST("single step over a repeated string: each element")
	movl	$count_hook, hook
	movl	$0, ex_count
	movl	$0x200000, %edi
	movl	$3, %ecx
	pushfl
	orl	$0x100, (%esp)
	popfl
5:	rep stosb
	pushfl
	andl	$~0x100, (%esp)
	popfl
	CHECK(ex_count, $6)
	CHECK(%ecx, $0)
	DR6(0xffff4ff0)

	TEST("no trap between a load of SS and what follows")
	movl	$first_hook, hook
	movl	%ss, %edx
	pushfl
	orl	$0x100, (%esp)
	popfl
	movl	%edx, %ss
	nop
6:	nop
	CHECK(seen, $6b)
	DR6(0xffff4ff0)

	TEST("INT n clears TF and is not followed by a trap")
	movl	$0, ex_count
	movl	$int_hook, hook
	pushfl
	orl	$0x100, (%esp)
	popfl
	int	$0x30
7:	nop				/* TF is back: a trap after this one */
8:	nop
	CHECK(seen, $8b)
	CHECK(ex_count, $2)
	DR6(0xffff4ff0)

	TEST("execution breakpoint: a fault, before the instruction")
	movl	$0, hook
	movl	$9f, %eax
	movl	%eax, %dr0
	dr	7, 0x401
	movl	$9f, expect_at
	movl	$1f, resume
	movl	%esp, resume_esp
	xorl	%ebx, %ebx
	nop
9:	incl	%ebx
	FAIL()
1:	CHECK(ex_vector, $1)
	CHECK(ex_eip, expect_at)
	CHECK(%ebx, $0)
	movl	ex_eflags, %eax
	andl	$0x10000, %eax
	CHECK(%eax, $0)
	DR6(0xffff0ff1)

	TEST("RF in the image lets it pass once")
	movl	$rf_hook, hook
	movl	$0, ex_count
	movl	$0, %ebx
	movl	$2f, %eax
	movl	%eax, %dr0
	movl	$2, %ecx
2:	incl	%ebx
	loop	2b
	CHECK(%ebx, $2)
	CHECK(ex_count, $2)
	dr	7, 0x400
	DR6(0xffff0ff1)

	TEST("data breakpoints: a trap, after the access")
	movl	$0, hook
	movl	$word, %eax
	movl	%eax, %dr1
	dr	7, 0x00d00404		/* DR1, writes, 4 bytes */
	movl	word, %ebx
	TRAP(1, movl $0x55, word)
	CHECK(word, $0x55)
	DR6(0xffff0ff2)
	TRAP(1, movb $0x66, word + 3)
	DR6(0xffff0ff2)
	TRAP(1, movl %ebx, word - 3)	/* overlaps */
	DR6(0xffff0ff2)
	movl	%ebx, word - 4
	movl	%ebx, word + 4
	TRAP(1, incl word)
	DR6(0xffff0ff2)
	dr	7, 0x00f00404		/* reads and writes */
	TRAP(1, movl word, %ebx)
	DR6(0xffff0ff2)
	TRAP(1, pushl word)
	DR6(0xffff0ff2)
	movl	$word, %edi
	movl	$word, %esi
	TRAP(1, cmpsb)
	DR6(0xffff0ff2)

	TEST("a string stops after the element that hits")
	dr	7, 0x00500404		/* writes, 2 bytes */
	movl	$word - 4, %edi
	movl	$3, %ecx
	movl	$1f, resume
	movl	%esp, resume_esp
2:	rep stosl
	FAIL()
1:	CHECK(%ecx, $1)
	CHECK(ex_eip, $2b)
	DR6(0xffff0ff2)
	dr	7, 0x400

	TEST("an access that faults does not hit")
	movl	$0, %eax
	movl	%eax, %fs
	movl	$word, %eax
	movl	%eax, %dr1
	dr	7, 0x00f00404
	FAULT(13, 0, movl %fs:word, %ebx)
	DR6(0xffff0ff0)
	movl	$word, %esi
	movl	%fs, %eax
	movl	%eax, %es
	FAULT(13, 0, movsl)		/* the load hits, the store faults */
	DR6(0xffff0ff0)
	dr	7, 0x400

	TEST("I/O breakpoints")
	movl	$P_PORT, %eax
	movl	%eax, %dr2
	dr	7, 0x02000420		/* DR2, R/W 10: nothing without CR4.DE */
	inb	$P_PORT, %al
	movl	$8, %eax
	movl	%eax, %cr4
	TRAP(1, inb $P_PORT, %al)
	CHECK(ex_eax, $0x44)		/* after the access */
	DR6(0xffff0ff4)
	TRAP(1, outl %eax, $P_PORT)
	DR6(0xffff0ff4)
	TRAP(1, inl $P_PORT - 2, %eax)	/* overlaps */
	DR6(0xffff0ff4)
	inb	$P_PORT + 1, %al
	dr	7, 0x400
	xorl	%eax, %eax
	movl	%eax, %cr4

	TEST("general detect")
	movl	$gd_hook, hook
	dr	7, 0x2400
9:	movl	%dr0, %eax
	CHECK(seen, $9b)
	CHECK(seen + 8, $0xffff2ff0)
	movl	%dr7, %eax
	CHECK(%eax, $0x400)		/* GD was cleared on the way in */
	DR6(0xffff2ff0)

	TEST("ICEBP sets no bit")
	movl	$0, hook
	TRAP(1, .byte 0xf1)
	DR6(0xffff0ff0)
	ret

count_hook:
	jmp	hook_return

/* Notes the first trap, and ends the stepping in the image. */
first_hook:
	movl	ex_eip, %eax
	movl	%eax, seen
	movl	ex_eflags, %eax
	movl	%eax, seen + 4
	movl	ex_eax, %eax
	andl	$~0x100, 16(%esp)
	jmp	hook_return

int_hook:
	cmpl	$1, ex_vector
	je	first_hook
	jmp	hook_return

rf_hook:
	orl	$0x10000, 16(%esp)
	jmp	hook_return

gd_hook:
	movl	ex_eip, %eax
	movl	%eax, seen
	movl	%dr6, %eax
	movl	%eax, seen + 8
	jmp	hook_return

	.data
	.balign	8
	.quad	0
word:	.quad	0
seen:	.fill	4, 4, 0
