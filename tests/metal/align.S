/*
 * Alignment checking: CR0.AM, EFLAGS.AC and CPL 3 together, for the program's
 * own accesses only.  SDM vol. 3 section 6.15, interrupt 17.
 */
#include "metal.inc"
	.code32
.macro	set_ac
	pushfl
	orl	$0x40000, (%esp)
	popfl
.endm
.macro	clear_ac
	pushfl
	andl	$~0x40000, (%esp)
	popfl
.endm
main:
	TEST("not before CR0.AM is set")
	set_ac
	UOK(movl word + 1, %eax)
	clear_ac
	movl	%cr0, %eax
	orl	$0x40000, %eax
	movl	%eax, %cr0
	UOK(movl word + 1, %eax)

	TEST("words and doublewords")
	set_ac
	UFAULT(17, 0, movl word + 1, %eax)
	UFAULT(17, 0, movl word + 2, %eax)
	UFAULT(17, 0, movl %eax, word + 3)
	UFAULT(17, 0, movw word + 1, %ax)
	UFAULT(17, 0, incl word + 2)
	UFAULT(17, 0, lock incw word + 1)
	UOK(movl word, %eax)
	UOK(movl %eax, word + 4)
	UOK(movw word + 2, %ax)
	UOK(movb word + 1, %al)
	UOK(incl word)

	TEST("strings and stack")
	movl	$word + 1, %esi
	movl	$word + 32, %edi
	movl	$4, %ecx
	UFAULT(17, 0, rep movsl)
	CHECK(%ecx, $4)
	movl	$4, %ecx
	movl	$word + 1, %esi
	UOK(rep movsb)
	CHECK(%ecx, $0)
	UFAULT_IN(17, 0, call odd_stack)

	TEST("not for the supervisor, nor for the processor's own accesses")
	movl	word + 1, %eax
	incl	word + 1
	movl	$0x6e01, tss + 4		/* the inner stack */
	UOK(movl word, %eax)
	movl	$0x6e00, tss + 4

	TEST("a misaligned access that would also miss its page")
	clear_ac
	movl	$0x101007, 0x100000
	movl	$0, 0x100004
	movl	$0x101000, %edi
	movl	$7, %eax
1:	stosl
	addl	$4096, %eax
	cmpl	$0x400000, %eax
	jb	1b
	movl	$0x100000, %eax
	movl	%eax, %cr3
	movl	%cr0, %eax
	orl	$0x80000000, %eax
	movl	%eax, %cr0
	set_ac
	UFAULT(14, 4, movl 0x400000, %eax)
	UFAULT(17, 0, movl word + 1, %eax)
	clear_ac
	movl	%cr0, %eax
	andl	$0x7ffbffff, %eax
	movl	%eax, %cr0
	ret

odd_stack:
	decl	%esp
	pushl	%eax
	.data
	.balign	64
word:	.fill	16, 4, 0
