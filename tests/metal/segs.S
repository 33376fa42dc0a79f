/*
 * Loading segment registers in protected mode: every check and its error code;
 * LAR, LSL, VERR, VERW, ARPL; LLDT, LTR.  SDM vol. 3 sections 5.2-5.6, vol. 2.
 */
#include "metal.inc"
#define S0	SPARE
#define S1	(SPARE + 8)
	.code32
.macro	load sreg, sel
	movl	$\sel, %eax
	movl	%eax, %\sreg
.endm
#define LOAD_FAULT(v, e, sreg, sel) movl $(sel), %eax; FAULT(v, e, movl %eax, %sreg)

main:
	TEST("data segments")
	DESC(gdt + S0, 0x1000, 0xfff, 0x92, 4)
	load	ds, S0
	movl	%cs:gdt + S0 + 5, %ebx
	load	ds, DS32
	andl	$0xff, %ebx
	CHECK(%ebx, $0x93)			/* the accessed bit is set */
	LOAD_FAULT(13, 0xd0, es, 0xd0)		/* beyond the GDT's limit */
	LOAD_FAULT(13, 0xd4, es, 0xd7)		/* the LDT has not been loaded; RPL is not in the code */
	ACCESS(S0, 0x12)
	LOAD_FAULT(11, S0, es, S0)		/* not present */
	ACCESS(S0, 0x98)
	LOAD_FAULT(13, S0, es, S0)		/* execute-only code */
	ACCESS(S0, 0x9a)
	load	es, S0				/* readable code */
	ACCESS(S0, 0x89)
	LOAD_FAULT(13, S0, es, S0)		/* a TSS */
	ACCESS(S0, 0x92)
	LOAD_FAULT(13, S0, es, S0 + 3)		/* RPL 3 > DPL 0 */
	ACCESS(S0, 0x9e)
	load	es, S0 + 3			/* conforming: no matter */
	load	es, UDS
	load	es, DS32

	TEST("stack segment")
	LOAD_FAULT(13, 0, ss, 0)
	LOAD_FAULT(13, 0, ss, 3)
	LOAD_FAULT(13, UCS - 3, ss, UCS)
	LOAD_FAULT(13, UDS - 3, ss, UDS)	/* RPL and DPL differ from CPL */
	LOAD_FAULT(13, CS32, ss, CS32)
	ACCESS(S0, 0x90)
	LOAD_FAULT(13, S0, ss, S0)		/* not writable */
	ACCESS(S0, 0x12)
	LOAD_FAULT(12, S0, ss, S0)		/* not present: #SS */
	ACCESS(S0, 0x92)
	LOAD_FAULT(13, S0, ss, S0 + 1)

	TEST("loading pointers")
	movl	$0x11223344, far_ptr
	movw	$0xd0, far_ptr + 4
	movl	$0x55, %ebx
	FAULT(13, 0xd0, lesl far_ptr, %ebx)
	CHECK(%ebx, $0x55)			/* nothing is loaded */
	movw	$DS32, far_ptr + 4
	lfsl	far_ptr, %ebx
	CHECK(%ebx, $0x11223344)
	movl	%fs, %ebx
	CHECK(%ebx, $DS32)
	movl	$0x6f80, far_ptr
	movl	%esp, %edi
	lssl	far_ptr, %esp
	CHECK(%esp, $0x6f80)
	movl	%edi, %esp

	TEST("push and pop")
	movl	$-1, -4(%esp)
	pushl	%ds
	movl	(%esp), %ebx
	andl	$0xffff, %ebx
	CHECK(%ebx, $DS32)
	movl	$0xd0, (%esp)
	movl	%esp, %edi
	FAULT(13, 0xd0, popl %es)
	CHECK(%esp, %edi)
	popl	%ebx

	TEST("LDT")
	DESC(ldt + 8, 0x2000, 0xff, 0x92, 0)
	movl	$LDT, %eax
	lldt	%ax
	sldt	%ebx
	CHECK(%ebx, $LDT)
	load	es, 0xc
	LOAD_FAULT(13, 0x24, es, 0x24)		/* beyond the LDT's limit */
	load	es, DS32
	movl	$DS32, %eax
	FAULT(13, DS32, lldt %ax)
	movl	$0xc, %eax
	FAULT(13, 0xc, lldt %ax)		/* not in the GDT */
	ACCESS(LDT, 0x02)
	movl	$LDT, %eax
	FAULT(11, LDT, lldt %ax)
	xorl	%eax, %eax
	lldt	%ax
	LOAD_FAULT(13, 0xc, es, 0xc)

	TEST("LTR")
	movl	$TSS, %eax
	FAULT(13, TSS, ltr %ax)			/* busy */
	xorl	%eax, %eax
	FAULT(13, 0, ltr %ax)
	DESC(gdt + S1, 0x4000, 0x67, 0x09, 0)
	movl	$S1, %eax
	FAULT(11, S1, ltr %ax)
	str	%ebx
	CHECK(%ebx, $TSS)

	TEST("LAR and LSL")
	DESC(gdt + S0, 0, 0xfffff, 0x92, 0xc)
	movl	$S0, %eax
	larl	%eax, %ebx
	jnz	bad
	CHECK(%ebx, $0xcf9200)
	lsll	%eax, %ebx
	jnz	bad
	CHECK(%ebx, $0xffffffff)
	movl	$-1, %ebx
	larw	%ax, %bx
	CHECK(%ebx, $0xffff9200)
	movl	$TSS, %eax
	lsll	%eax, %ebx
	jnz	bad
	CHECK(%ebx, $0x2068)
	DESC(gdt + S1, 0x10, 0x1234, 0x8c, 0)	/* a call gate */
	movl	$S1, %eax
	larl	%eax, %ebx
	jnz	bad
	movl	$7, %ebx
	lsll	%eax, %ebx			/* has no limit */
	jz	bad
	CHECK(%ebx, $7)
	ACCESS(S1, 0x8e)			/* an interrupt gate */
	larl	%eax, %ebx
	jz	bad
	xorl	%eax, %eax
	larl	%eax, %ebx
	jz	bad
	movl	$0xf8, %eax
	larl	%eax, %ebx
	jz	bad
	movl	$S0 + 3, %eax			/* RPL 3 > DPL 0 */
	larl	%eax, %ebx
	jz	bad
	movl	$CONF + 3, %eax
	larl	%eax, %ebx
	jnz	bad
	ACCESS(S0, 0x12)			/* not present is no obstacle */
	movl	$S0, %eax
	larl	%eax, %ebx
	jnz	bad

	TEST("VERR and VERW")
	movl	$DS32, %eax
	verr	%ax
	jnz	bad
	verw	%ax
	jnz	bad
	movl	$CS32, %eax
	verr	%ax
	jnz	bad
	verw	%ax
	jz	bad
	ACCESS(S0, 0x98)
	movl	$S0, %eax
	verr	%ax
	jz	bad
	ACCESS(S0, 0x90)
	verr	%ax
	jnz	bad
	verw	%ax
	jz	bad
	xorl	%eax, %eax
	verr	%ax
	jz	bad
	movl	$TSS, %eax
	verr	%ax
	jz	bad

	TEST("ARPL")
	movl	$0x10, %eax
	movl	$0x0b, %ebx
	arpl	%bx, %ax
	jnz	bad
	CHECK(%eax, $0x13)
	arpl	%bx, %ax
	jz	bad
	CHECK(%eax, $0x13)

	TEST("the registers of a return to an outer level")
	load	fs, DS32
	load	gs, CONF
	UTRAP(0x30, int $0x30)
	movl	%fs, %ebx
	CHECK(%ebx, $0)
	movl	%gs, %ebx
	CHECK(%ebx, $CONF)
	ret
bad:
	FAIL()
	.data
far_ptr: .long	0, 0
