/*
 * Interrupts between instructions: INTR, NMI, the shadow of STI and of loads
 * of SS, NMI blocking, HLT, double faults over task gates, breakpoints' kin.
 * SDM vol. 3 sections 6.6-6.8, 9.1.
 */
#include "metal.inc"
#define S0	SPARE
	.code32
.macro	raise
	movl	$7, %eax		/* line 3, up */
	outl	%eax, $P_IRQ
.endm
.macro	lower
	movl	$6, %eax
	outl	%eax, $P_IRQ
.endm

main:
	/* the interrupt controller: vectors 20h-27h, all unmasked, automatic EOI */
	movb	$0x13, %al
	outb	%al, $0x20
	movb	$0x20, %al
	outb	%al, $0x21
	movb	$0x03, %al
	outb	%al, $0x21
	movb	$0, %al
	outb	%al, $0x21
	movl	$int23, hook

	TEST("an interrupt waits for IF")
	raise
	nop
	nop
	CHECK(ex_count, $0)
	lower
	raise
	sti
1:	nop				/* the shadow: one more instruction */
2:	nop
	cli
	CHECK(ex_count, $1)
	CHECK(ex_vector, $0x23)
	CHECK(ex_eip, $2b)
	lower

	TEST("STI; CLI lets nothing in")
	movl	$0, ex_count
	raise
	sti
	cli
	nop
	CHECK(ex_count, $0)
	sti
	sti				/* IF was set: this one casts no shadow */
3:	cli
	CHECK(ex_count, $1)
	CHECK(ex_eip, $3b)
	lower

	TEST("POPF and IRET cast no shadow")
	movl	$0, ex_count
	raise
	pushl	$0x202
	popfl
4:	cli
	CHECK(ex_count, $1)
	CHECK(ex_eip, $4b)
	lower
	raise
	pushl	$0x202
	pushl	$CS32
	pushl	$5f
	iretl
5:	cli
	CHECK(ex_count, $2)
	CHECK(ex_eip, $5b)
	lower

	TEST("MOV SS and POP SS shield the next instruction")
	movl	$0, ex_count
	sti
	nop
	movl	%ss, %ebx
	movl	$7, %eax
	outl	%eax, $P_IRQ		/* taken right here */
	CHECK(ex_count, $1)
	cli
	lower
	movl	$0, ex_count
	raise
	movl	$DS32, %edx
	cli
	movl	%edx, %ss
	sti				/* shielded by itself and by SS */
6:	nop
7:	cli
	CHECK(ex_count, $1)
	CHECK(ex_eip, $7b)
	lower

	TEST("NMI does not care for IF")
	movl	$nmi, hook
	movl	$0, ex_count
	cli
	outl	%eax, $P_NMI
8:	nop
	CHECK(ex_count, $1)
	CHECK(ex_vector, $2)
	CHECK(ex_eip, $8b)

	TEST("NMI is blocked until IRET")
	movl	$nmi_in_nmi, hook
	movl	$0, ex_count
	movl	$0, seen
	outl	%eax, $P_NMI
	nop
	CHECK(seen, $1)			/* none came inside the handler */
	CHECK(ex_count, $2)

	TEST("NMI after a load of SS waits")
	movl	$nmi, hook
	movl	$0, ex_count
	movl	$DS32, %edx
	movl	%edx, %ss
	outl	%eax, $P_NMI
9:	nop
	CHECK(ex_count, $1)
	CHECK(ex_eip, $9b)

	movl	$DS32, MMIO + 0xff0
	movl	$0, ex_count
	movw	MMIO + 0xff0, %ss	/* the NMI comes while SS is loaded */
	nop
1:	nop
	CHECK(ex_count, $1)
	CHECK(ex_eip, $1b)

	TEST("HLT ends by an interrupt")
	movl	$int23, hook
	movl	$0, ex_count
	raise
	sti
	hlt
1:	cli
	CHECK(ex_count, $1)
	CHECK(ex_eip, $1b)
	lower

	TEST("a repeated string is interrupted with RF set")
	movl	$int23, hook
	movl	$0, ex_count
	movl	$0x200000, %edi
	movl	$0x100000, %ecx
	movl	%cr3, %eax
	raise
	sti
	rep stosb			/* the shadow lets one element pass */
	cli
	CHECK(%ecx, $0)
	CHECK(ex_count, $1)
	movl	ex_eflags, %ebx
	andl	$0x10000, %ebx
	CHECK(%ebx, $0x10000)
	lower

	TEST("a page fault on a page fault's stack: double fault through a task gate")
	movl	$0, hook
	call	build_tables
	movl	$df_task, %eax
	movl	%eax, dftss + 32	/* EIP */
	movl	$2, dftss + 36
	movl	$0x6c00, dftss + 56	/* ESP */
	movl	$DS32, dftss + 72
	movl	$CS32, dftss + 76
	movl	$DS32, dftss + 80
	movl	$DS32, dftss + 84
	movl	$0x100000, dftss + 28
	movl	$dftss, %eax
	movl	%eax, %ebx
	shll	$16, %eax
	orl	$0x67, %eax
	movl	%eax, gdt + S0
	shrl	$16, %ebx
	orl	$0x8900, %ebx
	movl	%ebx, gdt + S0 + 4
	GATE(idt + 8 * 8, S0, 0, 0x85, 0)
	movl	$0x100000, %eax
	movl	%eax, %cr3
	movl	%cr0, %eax
	orl	$0x80000000, %eax
	movl	%eax, %cr0
	movl	%esp, save_esp
	movl	$0x500000, %esp		/* not mapped */
at_push:
	pushl	$0
	FAIL()
df_task:
	popl	%eax			/* the error code */
	CHECK(%eax, $0)
	CHECK(tss + 32, $at_push)	/* the old task was saved with the faulting EIP */
	CHECK(tss + 56, $0x500000)
	movl	%cr2, %eax
	CHECK(%eax, $0x4ffffc)		/* the first word of the page fault's frame */
	movw	dftss, %ax
	movzwl	%ax, %eax
	CHECK(%eax, $TSS)		/* linked */
	pushfl
	popl	%eax
	andl	$0x4000, %eax
	CHECK(%eax, $0x4000)		/* nested */
	movl	%cr0, %eax
	andl	$0x7fffffff, %eax
	movl	%eax, %cr0
	done_

int23:	cli
	lower
	movl	ex_eax, %eax
	jmp	hook_return

nmi:	jmp	hook_return

nmi_in_nmi:
	cmpl	$2, ex_count
	je	hook_return
	outl	%eax, $P_NMI
	nop
	nop
	movl	ex_count, %eax
	movl	%eax, seen
	jmp	hook_return

build_tables:
	movl	$0x101007, 0x100000
	movl	$0, 0x100004
	movl	$0x101000, %edi
	movl	$7, %eax
1:	stosl
	addl	$4096, %eax
	cmpl	$0x400000, %eax
	jb	1b
	ret
	.data
seen:	.long	0
save_esp: .long	0
	.balign	4
dftss:	.fill	26, 4, 0
