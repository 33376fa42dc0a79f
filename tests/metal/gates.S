/*
 * Transfers between privilege levels: far JMP, CALL, RET, IRET, call gates,
 * interrupt gates, privileged instructions and I/O at CPL 3; error codes of
 * broken gates and stacks.  SDM vol. 3 sections 5.8, 5.9, 6.12, 6.13.
 */
#include "metal.inc"
#define S0	SPARE
#define S1	(SPARE + 8)
#define S2	(SPARE + 16)
#define S3	(SPARE + 24)
	.code32
main:
	TEST("far jumps")
	FAULT(13, 0, ljmpl $0, $0)
	FAULT(13, 0xd0, ljmpl $0xd0, $0)
	FAULT(13, DS32, ljmpl $DS32, $0)
	FAULT(13, UCS - 3, ljmpl $UCS - 3, $0)		/* DPL 3 from CPL 0, not conforming */
	FAULT(13, CS32, ljmpl $CS32 + 3, $0)		/* RPL > CPL */
	DESC(gdt + S0, 0, 0xfffff, 0x1a, 0xc)
	FAULT(11, S0, ljmpl $S0, $0)
	DESC(gdt + S0, 0, 0xff, 0x9a, 4)
	FAULT(13, 0, ljmpl $S0, $0x100)			/* beyond the limit: the old CS:EIP is saved */
	CHECK(ex_cs, $CS32)
	DESC(gdt + S0, 0, 0xfffff, 0x9e, 0xc)
	ljmpl	$S0 + 3, $1f				/* conforming: CPL stays, and is the RPL */
1:	movl	%cs, %eax
	CHECK(%eax, $S0)
	ljmpl	$CS32, $1f
1:
	TEST("far calls and returns")
	movl	%esp, %edi
	FAULT(13, 0xd0, lcalll $0xd0, $0)
	CHECK(%esp, %edi)
	lcalll	$CS32, $far_routine
	CHECK(%esp, %edi)
	CHECK(%eax, $0x77)
	pushl	$0xd0
	pushl	$main
	FAULT(13, 0xd0, lretl)
	movl	$0, 4(%esp)
	FAULT(13, 0, lretl)
	movl	$DS32, 4(%esp)
	FAULT(13, DS32, lretl)
	addl	$8, %esp

	TEST("returning inwards is refused")
	UFAULT_IN(13, CS32, jmp return_inwards)

	TEST("call gates at the same level")
	GATE(gdt + S1, CS32, far_routine, 0x8c, 3)
	movl	%esp, %edi
	lcalll	$S1, $0x1234				/* the offset is ignored, nothing is copied */
	CHECK(%esp, %edi)
	CHECK(%eax, $0x77)
	FAULT(13, S1, lcalll $S1 + 3, $0)		/* RPL 3 > the gate's DPL */
	FAULT(13, S1, ljmpl $S1 + 3, $0)
	ACCESS(S1, 0x0c)
	FAULT(11, S1, lcalll $S1, $0)
	GATE(gdt + S1, 0, far_routine, 0x8c, 0)
	FAULT(13, 0, lcalll $S1, $0)
	GATE(gdt + S1, DS32, far_routine, 0x8c, 0)
	FAULT(13, DS32, lcalll $S1, $0)
	GATE(gdt + S1, UCS - 3, far_routine, 0x8c, 0)
	FAULT(13, UCS - 3, lcalll $S1, $0)		/* outwards */
	DESC(gdt + S2, 0, 0xfffff, 0x1a, 0xc)
	GATE(gdt + S1, S2, far_routine, 0x8c, 0)
	FAULT(11, S2, lcalll $S1, $0)
	GATE(gdt + S1, CS32, 0xffff0000, 0x84, 0)	/* 16-bit: the upper offset is not there */
	GATE(gdt + S1, CS32, 1f, 0x8c, 0)
	ljmpl	$S1, $0
	FAIL()
1:
	TEST("call gate inwards, with parameters")
	GATE(gdt + S1, CS32, inner, 0xec, 2)
	movl	$0, seen_esp
	UOK(call through_gate)
	CHECK(seen_esp, $0x6e00 - 24)			/* SS ESP p1 p0 CS EIP */
	CHECK(seen_frame + 4, $UCS)
	CHECK(seen_frame + 8, $0x1111)
	CHECK(seen_frame + 12, $0x2222)
	CHECK(seen_frame + 20, $UDS)
	CHECK(after_gate, $0x6700)			/* RET 8 dropped them on both stacks */

	TEST("call gate: privilege and stack checks")
	ACCESS(S1, 0x8c)
	UFAULT(13, S1, lcalll $S1, $0)			/* DPL 0 */
	DESC(gdt + S2, 0, 0xfffff, 0xba, 0xc)		/* the target is of level 1, so that faults find a good stack at 0 */
	DESC(gdt + S3, 0, 0xfffff, 0xb2, 0xc)
	GATE(gdt + S1, S2 + 1, int30, 0xec, 0)
	movl	$0x6a00, tss + 12
	movl	$S3 + 1, tss + 16
	movl	$1f, resume
	movl	%esp, resume_esp
	pushl	$UDS
	pushl	$0x6700
	pushfl
	pushl	$UCS
	pushl	$2f
	iretl
2:	lcalll	$S1, $0
1:	CHECK(ex_vector, $0x30)
	CHECK(ex_cs, $S2 + 1)
	CHECK(ex_oldss, $S3 + 1)
	CHECK(ex_oldesp, $0x6a00 - 16)
	movl	$0, tss + 16
	UFAULT(10, 0, lcalll $S1, $0)
	movl	$S3, tss + 16				/* RPL 0 */
	UFAULT(10, S3, lcalll $S1, $0)
	movl	$UDS, tss + 16
	UFAULT(10, UDS - 3, lcalll $S1, $0)
	movl	$0xd1, tss + 16
	UFAULT(10, 0xd0, lcalll $S1, $0)
	movl	$S2 + 1, tss + 16			/* code */
	UFAULT(10, S2, lcalll $S1, $0)
	movl	$S3 + 1, tss + 16
	ACCESS(S3, 0x32)
	UFAULT(12, S3, lcalll $S1, $0)			/* not present */
	DESC(gdt + S3, 0, 0x8000, 0xb2, 4)
	movl	$4, tss + 12
	UFAULT(12, S3, lcalll $S1, $0)			/* no room on the new stack */
	DESC(gdt + S2, 0, 0xff, 0xba, 4)
	movl	$0x6a00, tss + 12
	UFAULT(13, 0, lcalll $S1, $0)			/* beyond the new code segment */
	DESC(gdt + S2, 0, 0xfffff, 0xba, 0xc)
	DESC(gdt + S3, 0, 0xfffff, 0xb2, 0xc)
	DESC(gdt + S0, TSS_AT, 0x10, 0x89, 0)		/* a TSS that ends inside SS1 */
	movl	$S0, %eax
	ltr	%ax
	UFAULT(10, S0, lcalll $S1, $0)
	ACCESS(TSS, 0x89)
	movl	$TSS, %eax
	ltr	%ax

	TEST("privileged instructions at CPL 3")
	UFAULT(13, 0, hlt)
	UFAULT(13, 0, cli)
	UFAULT(13, 0, sti)
	UFAULT(13, 0, movl %cr0, %eax)
	UFAULT(13, 0, movl %eax, %cr3)
	UFAULT(13, 0, movl %dr7, %eax)
	UFAULT(13, 0, clts)
	UFAULT(13, 0, lmsw %ax)
	UFAULT(13, 0, lgdt gdtr)
	UFAULT(13, 0, lidt idtr)
	UFAULT(13, 0, lldt %ax)
	UFAULT(13, 0, ltr %ax)
	UFAULT(13, 0, invlpg main)
	UFAULT(13, 0, invd)
	UFAULT(13, 0, wbinvd)
	UFAULT(13, 0, rdmsr)
	UFAULT(13, 0, wrmsr)
	UOK(smsw %eax)					/* these are not */
	UOK(sgdt far_table)
	UOK(sldt %eax)
	UOK(str %eax)

	TEST("RDTSC and CR4.TSD")
	movl	$4, %eax
	movl	%eax, %cr4
	rdtsc
	UFAULT(13, 0, rdtsc)
	xorl	%eax, %eax
	movl	%eax, %cr4

	TEST("CR and MSR values that do not exist")
	movl	$0x80000010, %eax			/* PG without PE */
	FAULT(13, 0, movl %eax, %cr0)
	movl	$0x20000011, %eax			/* NW without CD */
	FAULT(13, 0, movl %eax, %cr0)
	movl	$0x2000, %eax			/* VMXE */
	FAULT(13, 0, movl %eax, %cr4)
	movl	$0x1a, %ecx
	FAULT(13, 0, rdmsr)
	movl	$0x12345678, %ecx
	FAULT(13, 0, rdmsr)
	FAULT(13, 0, wrmsr)

	TEST("I/O permission bitmap")
	movw	$0x1234, %bx
	UOK(inb $0xbc, %al)
	movb	$0x40, tss + 0x68 + 0xbc / 8		/* port BEh */
	UFAULT(13, 0, inl $0xbc, %eax)			/* its third byte is refused */
	UFAULT(13, 0, inb $0xbe, %al)
	UOK(inb $0xbd, %al)
	UOK(inw $0xbc, %ax)
	UFAULT(13, 0, outb %al, $0xbe)
	movb	$0, tss + 0x68 + 0xbc / 8
	movw	$0x2067, tss + 102			/* the bitmap begins one byte before the limit */
	UOK(inb $0x3, %al)
	UFAULT(13, 0, inb $0xbc, %al)
	movw	$0x2068, tss + 102			/* two bytes are read */
	UFAULT(13, 0, inb $0x3, %al)
	movw	$0x68, tss + 102
	movb	$0x01, tss + 0x68 + 0xc0 / 8
	UFAULT(13, 0, inl $0xbd, %eax)			/* over two bytes of the bitmap */
	UOK(inw $0xbd, %ax)
	movb	$0, tss + 0x68 + 0xc0 / 8

	TEST("IOPL 3 lets everything through")
	movb	$0xff, tss + 0x68 + 0xbc / 8
	pushfl
	orl	$0x3000, (%esp)
	popfl
	UOK(inb $0xbe, %al)
	UOK(cli)
	pushfl
	andl	$~0x3000, (%esp)
	popfl
	movb	$0, tss + 0x68 + 0xbc / 8

	TEST("POPF at CPL 3 changes neither IF nor IOPL")
	UOK(call pop_flags)
	movl	ex_eflags, %eax
	andl	$0x3200, %eax
	CHECK(%eax, $0)

	TEST("broken IDT entries")
	UFAULT(13, 13 * 8 + 2, int $13)			/* DPL 0 */
	UFAULT(13, 64 * 8 + 2, int $64)			/* beyond the limit */
	movb	$0x6e, idt + 0x21 * 8 + 5
	UFAULT(11, 0x21 * 8 + 2, int $0x21)		/* not present */
	FAULT(11, 0x21 * 8 + 2, int $0x21)
	movb	$0xec, idt + 0x21 * 8 + 5		/* a call gate */
	FAULT(13, 0x21 * 8 + 2, int $0x21)
	movb	$0xee, idt + 0x21 * 8 + 5
	movw	$0, idt + 0x21 * 8 + 2
	FAULT(13, 0, int $0x21)				/* null CS, not external */
	movw	$DS32, idt + 0x21 * 8 + 2
	FAULT(13, DS32, int $0x21)
	movw	$UCS, idt + 0x21 * 8 + 2
	FAULT(13, UCS - 3, int $0x21)			/* outwards */
	DESC(gdt + S2, 0, 0xfffff, 0x1b, 0xc)
	movw	$S2, idt + 0x21 * 8 + 2
	FAULT(11, S2, int $0x21)
	movw	$CS32, idt + 0x21 * 8 + 2

	TEST("EXT where an exception's own gate is broken")
	movb	$0x0e, idt + 6 * 8 + 5
	FAULT(11, 6 * 8 + 3, ud2)
	movb	$0x8e, idt + 6 * 8 + 5
	movw	$DS32, idt + 6 * 8 + 2
	FAULT(13, DS32 + 1, ud2)
	movw	$CS32, idt + 6 * 8 + 2
	movb	$0x0e, idt + 1 * 8 + 5
	FAULT(11, 1 * 8 + 3, .byte 0xf1)		/* ICEBP counts as external */
	movb	$0x8e, idt + 1 * 8 + 5

	TEST("contributory on contributory is a double fault")
	movb	$0x0e, idt + 0 * 8 + 5
	xorl	%ecx, %ecx
	FAULT(8, 0, divl %ecx)
	movb	$0x8e, idt + 0 * 8 + 5
	movb	$0x0e, idt + 13 * 8 + 5
	FAULT(8, 0, ljmpl $0, $0)
	movb	$0x8e, idt + 13 * 8 + 5

	TEST("trap gates leave IF, interrupt gates clear it")
	movl	$flags_hook, hook
	movb	$0xef, idt + 0x22 * 8 + 5
	pushl	$0x202
	popfl
	int	$0x22
	CHECK(seen_flags, $0x202)
	int	$0x23
	CHECK(seen_flags, $0x002)
	cli
	movl	$0, hook

	TEST("16-bit gates push words")
	movb	$0x86, idt + 0x24 * 8 + 5
	movw	$gate16, idt + 0x24 * 8
	movl	%esp, %edi
	int	$0x24
1:	CHECK(%esp, %edi)
	CHECK(seen_esp, %edi)
	CHECK(seen_frame, $1b)
	CHECK(seen_frame + 4, $CS32)

	TEST("a conforming handler runs at CPL 3")
	movw	$CONF, idt + 0x25 * 8 + 2
	movl	$conforming_handler, %eax
	movw	%ax, idt + 0x25 * 8
	shrl	$16, %eax
	movw	%ax, idt + 0x25 * 8 + 6
	utry_	__LINE__, int $0x25
	CHECK(ex_vector, $0x30)
	CHECK(seen_frame, $CONF + 3)
	CHECK(ex_cs, $CONF + 3)

	TEST("IRET checks")
	pushfl
	pushl	$0xd0
	pushl	$main
	FAULT(13, 0xd0, iretl)
	addl	$12, %esp
	pushl	$0					/* SS null */
	pushl	$0x6700
	pushfl
	pushl	$UCS
	pushl	$main
	FAULT(13, 0, iretl)
	addl	$20, %esp
	pushl	$DS32					/* DPL 0 for CPL 3 */
	pushl	$0x6700
	pushfl
	pushl	$UCS
	pushl	$main
	FAULT(13, DS32, iretl)
	addl	$20, %esp
	ret

return_inwards:
	pushl	$CS32
	pushl	$main
	lretl

pop_flags:
	pushl	$0x3202
	popfl
	ret

int30:	int	$0x30

far_routine:
	movl	$0x77, %eax
	lretl

through_gate:
	popl	back
	pushl	$0x2222
	pushl	$0x1111
	lcalll	$S1, $0
	movl	%esp, after_gate
	jmp	*back

inner:
	movl	%esp, seen_esp
	movl	(%esp), %eax
	movl	%eax, seen_frame
	movl	4(%esp), %eax
	movl	%eax, seen_frame + 4
	movl	8(%esp), %eax
	movl	%eax, seen_frame + 8
	movl	12(%esp), %eax
	movl	%eax, seen_frame + 12
	movl	20(%esp), %eax
	movl	%eax, seen_frame + 20
	lretl	$8

flags_hook:
	pushfl
	popl	seen_flags
	andl	$0x202, seen_flags
	jmp	hook_return

gate16:
	movzwl	(%esp), %eax
	movl	%eax, seen_frame
	movzwl	2(%esp), %eax
	movl	%eax, seen_frame + 4
	leal	6(%esp), %eax
	movl	%eax, seen_esp
	iretw

conforming_handler:
	movl	%cs, %eax
	movl	%eax, seen_frame
	int	$0x30

	.data
seen_esp: .long 0
seen_frame: .fill 8, 4, 0
seen_flags: .long 0
after_gate: .long 0
far_table: .quad 0
back:	.long	0
