/*
 * Hardware task switches: JMP, CALL, INT and IRET between 32- and 16-bit
 * tasks, busy bits, NT and the link, what is saved, CR3, LDT, the T bit, and
 * the checks with their error codes.  SDM vol. 3 ch. 7.
 */
#include "metal.inc"
#define T1	SPARE		/* 32-bit task */
#define G1	(SPARE + 8)	/* task gate to T1 */
#define T16	(SPARE + 16)	/* 16-bit task */
#define S0	(SPARE + 24)
#define NT	0x4000
	.code32
#define BUSY(sel, want) movzbl gdt + (sel) + 5, %ecx; CHECK(%ecx, $want)
/* A descriptor whose base is a label */
.macro	at_label sel, label, limit, access
	movl	$\label, %eax
	movl	%eax, %edx
	shll	$16, %eax
	orl	$\limit, %eax
	movl	%eax, gdt + \sel
	shrl	$16, %edx
	orl	$\access << 8, %edx
	movl	%edx, gdt + \sel + 4
.endm
.macro	set_task eip
	movl	$\eip, tss1 + 32
	movl	$2, tss1 + 36
	movl	$0x6600, tss1 + 56
	movl	$0x1111, tss1 + 40	/* EAX */
	movl	$0x7777, tss1 + 68	/* EDI */
	movl	$DS32, tss1 + 72
	movl	$CS32, tss1 + 76
	movl	$DS32, tss1 + 80
	movl	$DS32, tss1 + 84
	movl	$0, tss1 + 88
	movl	$UDS, tss1 + 92
	movl	$0, tss1 + 96
	movl	$0, tss1 + 100
.endm

main:
	at_label T1, tss1, 0x67, 0x89
	DESC(gdt + G1, 0, 0, 0x85, 0)
	movw	$T1, gdt + G1 + 2
	at_label T16, tss16, 0x2b, 0x81

	TEST("JMP to a task and back")
	set_task task_jmp
	movl	$0xabcd, %ebx
	movl	%esp, save_esp
	movl	$0x3333, %ebp
	movl	$0x4ff, %eax			/* all breakpoints, local and global, at addresses that nobody touches */
	movl	$0xfff00000, %edx
	movl	%edx, %dr0
	movl	%edx, %dr1
	movl	%edx, %dr2
	movl	%edx, %dr3
	movl	%eax, %dr7
	ljmpl	$T1, $0
back1:	CHECK(%ebx, $0xabcd)
	CHECK(%ebp, $0x3333)
	CHECK(%esp, save_esp)
	CHECK(seen, $0x1111)
	CHECK(seen + 4, $0x7777)
	movl	%dr7, %eax
	CHECK(%eax, $0x4aa)			/* the local ones are gone */
	movl	$0x400, %eax
	movl	%eax, %dr7
	BUSY(T1, 0x89)
	BUSY(TSS, 0x8b)
	movl	%cr0, %eax
	andl	$8, %eax
	CHECK(%eax, $8)				/* TS */
	clts
	str	%eax
	CHECK(%eax, $TSS)
	CHECK(tss1 + 32, $task_jmp_end)

	TEST("CALL nests, IRET returns")
	set_task task_call
	lcalll	$T1, $0
back2:	CHECK(seen, $TSS)			/* the link */
	CHECK(seen + 4, $NT)
	CHECK(seen + 8, $0x8b)			/* both busy inside */
	CHECK(seen + 12, $0x8b)
	BUSY(T1, 0x89)
	CHECK(tss + 32, $back2)
	movl	tss1 + 36, %eax
	andl	$NT, %eax
	CHECK(%eax, $0)				/* IRET stores NT clear */
	CHECK(tss1 + 32, $task_call_end)

	TEST("a second CALL goes on behind the IRET")
	movl	$0, seen
	lcalll	$T1, $0
	CHECK(seen, $0x99)

	TEST("through a task gate, and from CPL 3")
	set_task task_call
	ACCESS(G1, 0xe5)
	ACCESS(T1, 0x89)
	UOK(lcalll $G1, $0)
	CHECK(seen + 4, $NT)
	ACCESS(G1, 0x85)
	UFAULT(13, G1, lcalll $G1, $0)
	UFAULT(13, T1, lcalll $T1, $0)
	ACCESS(G1, 0x05)
	FAULT(11, G1, lcalll $G1, $0)
	ACCESS(G1, 0x85)

	TEST("an exception with an error code through a task gate")
	set_task task_fault
	GATE(idt + 13 * 8, T1, 0, 0x85, 0)
	movl	$0xd0, %ebx
at_fault:
	movl	%ebx, %es
after_fault:
	CHECK(seen, $0xd0)			/* the error code was on the new stack */
	CHECK(seen + 4, $at_fault)
	CHECK(seen + 8, $0x10000)		/* RF */
	movl	$DS32, %eax
	movl	%eax, %es
	movb	$0x8e, idt + 13 * 8 + 5
	movl	$stubs + 13 * STUB, %eax
	movw	%ax, idt + 13 * 8
	movw	$CS32, idt + 13 * 8 + 2
	shrl	$16, %eax
	movw	%ax, idt + 13 * 8 + 6

	TEST("checks of the target's descriptor")
	set_task task_call
	ACCESS(T1, 0x8b)
	FAULT(13, T1, lcalll $T1, $0)		/* busy */
	ACCESS(T1, 0x09)
	FAULT(11, T1, ljmpl $T1, $0)
	ACCESS(T1, 0x89)
	movw	$0x66, gdt + T1
	FAULT(10, T1, ljmpl $T1, $0)		/* limit */
	movw	$0x67, gdt + T1
	movw	$T1 + 4, gdt + G1 + 2
	FAULT(13, T1 + 4, ljmpl $G1, $0)	/* in the LDT */
	movw	$DS32, gdt + G1 + 2
	FAULT(13, DS32, ljmpl $G1, $0)
	movw	$T1, gdt + G1 + 2
	str	%eax
	CHECK(%eax, $TSS)

	TEST("IRET with NT checks the link")
	pushfl
	orl	$NT, (%esp)
	popfl
	movw	$0, tss
	FAULT(10, 0, iretl)
	pushfl					/* the gate cleared NT */
	popl	%eax
	andl	$NT, %eax
	CHECK(%eax, $0)
	movw	$T1, tss
	pushfl
	orl	$NT, (%esp)
	popfl
	FAULT(10, T1, iretl)			/* not busy */
	pushfl
	orl	$NT, (%esp)
	popfl
	movw	$0xd0, tss
	FAULT(10, 0xd0, iretl)
	pushfl
	andl	$~NT, (%esp)
	popfl

	TEST("what is wrong with the new task's segments is raised there")
	set_task task_call
	movl	$0xd0, tss1 + 84		/* DS */
	movl	$new_task_fault, hook
	movl	$1f, seen + 16
	ljmpl	$T1, $0
	FAIL()
1:	CHECK(ex_vector, $10)
	CHECK(ex_error, $0xd0)
	CHECK(ex_eip, $task_call)		/* the new task's */
	CHECK(ex_cs, $CS32)
	CHECK(seen + 20, $T1)
	set_task task_call
	movl	$DS32, tss1 + 8			/* at CPL 3, so that the fault finds a good stack */
	movl	$0x6d00, tss1 + 4
	movl	$UCS, tss1 + 76
	DESC(gdt + S0, 0, 0xfffff, 0x72, 0xc)
	movl	$S0 + 3, tss1 + 80
	movl	$1f, seen + 16
	ljmpl	$T1, $0
	FAIL()
1:	CHECK(ex_vector, $12)
	CHECK(ex_error, $S0)
	set_task task_call
	movl	$UDS, tss1 + 80
	movl	$UCS - 3, tss1 + 76		/* RPL 0, DPL 3 */
	movl	$0x6d00, tss1 + 4
	movl	$1f, seen + 16
	movl	$DS32, tss1 + 80
	ljmpl	$T1, $0
	FAIL()
1:	CHECK(ex_vector, $10)
	CHECK(ex_error, $UCS - 3)
	set_task task_call
	movl	$DS32, tss1 + 96		/* LDT */
	movl	$1f, seen + 16
	movl	$UCS, tss1 + 76
	movl	$DS32, tss1 + 8
	ljmpl	$T1, $0
	FAIL()
1:	CHECK(ex_vector, $10)
	CHECK(ex_error, $DS32)
	movl	$0, hook

	TEST("LDT, CR3")
	set_task task_ldt
	call	build_tables
	DESC(ldt + 8, 0x2000, 0xff, 0x92, 4)
	movl	$LDT, tss1 + 96
	movl	$0xc, tss1 + 84
	movl	$0x100000, tss1 + 28
	movl	$0x103000, %eax
	movl	%eax, tss + 28
	movl	%eax, %cr3
	movl	%cr0, %eax
	orl	$0x80000000, %eax
	movl	%eax, %cr0
	lcalll	$T1, $0
	CHECK(seen, $LDT)
	CHECK(seen + 4, $0xc)
	CHECK(seen + 8, $0x100000)
	movl	%cr3, %eax
	CHECK(%eax, $0x103000)
	sldt	%eax
	CHECK(%eax, $0)
	movl	%cr0, %eax
	andl	$0x7fffffff, %eax
	movl	%eax, %cr0

	TEST("the T bit")
	set_task task_call
	movw	$1, tss1 + 100
	movl	$t_bit, hook
	movl	$0, ex_count
	lcalll	$T1, $0
	CHECK(ex_count, $1)
	CHECK(ex_vector, $1)
	CHECK(ex_eip, $task_call)
	CHECK(seen + 16, $0x8000)		/* BT */
	movl	$0, hook

	TEST("a 16-bit task")
	movw	$0x6500, tss16 + 26		/* SP */
	movw	$2, tss16 + 16
	movl	$task16, %eax
	movw	%ax, tss16 + 14
	movw	$0x1234, tss16 + 18		/* AX */
	movw	$DS16, tss16 + 34
	movw	$CS16, tss16 + 36
	movw	$DS16, tss16 + 38
	movw	$DS16, tss16 + 40
	movw	$0, tss16 + 42
	movl	$0x56789abc, %ebx
	lcalll	$T16, $0
	CHECK(%ebx, $0x56789abc)		/* the 32-bit task keeps all of it */
	CHECK(seen, $0x1234)
	CHECK(seen + 4, $TSS)
	CHECK(seen + 8, $0)			/* FS is null */
	BUSY(T16, 0x81)
	movzwl	tss16 + 14, %eax
	CHECK(%eax, $task16_end)
	ret

/* ---- the other task */
task_jmp:
	movl	%eax, seen
	movl	%edi, seen + 4
	movl	$0, %ebx
	ljmpl	$TSS, $0
task_jmp_end:
	FAIL()

task_call:
	movzwl	tss1, %eax
	movl	%eax, seen
	pushfl
	popl	%eax
	andl	$NT, %eax
	movl	%eax, seen + 4
	movzbl	gdt + TSS + 5, %eax
	movl	%eax, seen + 8
	movzbl	gdt + T1 + 5, %eax
	movl	%eax, seen + 12
	iretl
task_call_end:
	movl	$0x99, seen
	iretl

task_fault:
	popl	seen
	movl	tss + 32, %eax
	movl	%eax, seen + 4
	movl	$after_fault, tss + 32
	movl	tss + 36, %eax
	andl	$0x10000, %eax
	movl	%eax, seen + 8
	movl	$DS32, tss + 72
	iretl

task_ldt:
	movl	%ds, %ecx
	movl	$DS32, %eax
	movl	%eax, %ds
	movl	%ecx, seen + 4
	sldt	seen
	movl	%cr3, %eax
	movl	%eax, seen + 8
	iretl

/* A fault in the new task: note TR, go back to the first task's registers by hand. */
new_task_fault:
	str	%eax
	movl	%eax, seen + 20
	movl	$DS32, %eax
	movl	%eax, %es
	movl	%eax, %ss
	movl	$0x6f80, %esp
	ACCESS(TSS, 0x89)
	ACCESS(T1, 0x89)
	movl	$TSS, %eax
	ltr	%ax
	xorl	%eax, %eax
	lldt	%ax
	movl	save_esp, %esp
	jmp	*seen + 16

t_bit:	movl	%dr6, %eax
	andl	$0x8000, %eax
	movl	%eax, seen + 16
	xorl	%eax, %eax
	movl	%eax, %dr6
	jmp	hook_return

	.code16
task16:
	movl	%eax, %ecx
	movzwl	%cx, %eax
	movl	%eax, seen
	movzwl	tss16, %eax
	movl	%eax, seen + 4
	movl	%fs, %eax
	movl	%eax, seen + 8
	iretw
task16_end:
	.code32

build_tables:
	movl	$0x101007, 0x100000
	movl	$0x101007, 0x103000
	movl	$0x101000, %edi
	movl	$7, %eax
1:	stosl
	addl	$4096, %eax
	cmpl	$0x400000, %eax
	jb	1b
	ret

	.data
	.balign	4
seen:	.fill	8, 4, 0
save_esp: .long	0
tss1:	.fill	26, 4, 0
tss16:	.fill	22, 2, 0
