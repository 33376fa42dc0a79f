/*
 * The local APIC and the I/O APIC, as a guest's code meets them: registers in
 * memory and as MSRs, the timer's three modes, IPIs to itself, edges, levels,
 * messages.  SDM vol. 3 chapter 11.  The clock moves when the test says so.
 */
#include "metal.inc"
	.code32
#define APIC	0xfee00000
#define A_ID	APIC + 0x20
#define A_VER	APIC + 0x30
#define A_TPR	APIC + 0x80
#define A_EOI	APIC + 0xb0
#define A_SVR	APIC + 0xf0
#define A_ISR1	APIC + 0x110
#define A_IRR1	APIC + 0x210
#define A_ICR	APIC + 0x300
#define A_TIMER	APIC + 0x320
#define A_LINT0	APIC + 0x350
#define A_INIT	APIC + 0x380
#define A_CUR	APIC + 0x390
#define A_DIV	APIC + 0x3e0
#define IOSEL	0xfec00000
#define IOWIN	0xfec00010

.macro	line n:req, level:req
	movl	$(\n * 2 + \level), %eax
	outl	%eax, $P_IRQ
.endm
.macro	pass ns:req
	movl	$\ns, %eax
	outl	%eax, $P_TIME
.endm
.macro	window
	sti
	nop
	nop
	cli
.endm
.macro	redirect pin:req, low:req
	movl	$(0x10 + 2 * \pin), IOSEL
	movl	$(\low), IOWIN
.endm
.macro	msr index:req, low:req, high=0
	movl	$(\index), %ecx
	movl	$(\low), %eax
	movl	$(\high), %edx
	wrmsr
.endm

main:
	movl	$taken, hook

	TEST("there is a local APIC")
	movl	$1, %eax
	cpuid
	andl	$0x200, %edx
	CHECK(%edx, $0x200)
	andl	$0x01200000, %ecx
	CHECK(%ecx, $0x01200000)	/* x2APIC, TSC deadline */
	movl	$0x1b, %ecx
	rdmsr
	CHECK(%eax, $0xfee00900)
	CHECK(A_ID, $0)
	CHECK(A_VER, $0x01050014)
	movl	$0x1ff, A_SVR
	movl	$0x10000, A_LINT0

	TEST("an IPI to itself")
	movl	$0x40031, A_ICR
	CHECK(A_IRR1, $0x20000)
	CHECK(ex_count, $0)
	window
	CHECK(ex_count, $1)
	CHECK(ex_vector, $0x31)
	CHECK(A_IRR1, $0)
	CHECK(A_ISR1, $0x20000)
	window
	CHECK(ex_count, $1)
	movl	$0, A_EOI
	CHECK(A_ISR1, $0)

	TEST("task priority")
	movl	$0, ex_count
	movl	$0x30, A_TPR
	movl	$0x40032, A_ICR
	window
	CHECK(ex_count, $0)
	sti
	movl	$0x2f, A_TPR
1:	nop
	cli
	CHECK(ex_count, $1)
	CHECK(ex_eip, $1b)		/* it came with the write */
	movl	$0, A_EOI
	movl	$0, A_TPR

	TEST("timer, one-shot")
	movl	$0, ex_count
	movl	$0xb, A_DIV
	movl	$0x33, A_TIMER
	movl	$1000, A_INIT
	pass	39999
	CHECK(A_CUR, $1)
	window
	CHECK(ex_count, $0)
	pass	1
	CHECK(A_CUR, $0)
	window
	CHECK(ex_count, $1)
	CHECK(ex_vector, $0x33)
	movl	$0, A_EOI

	TEST("timer, ends MWAIT")
	movl	$0, ex_count
	movl	$25000, A_INIT
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	sti
	mwait					/* nothing is watched: at once */
	cli
	CHECK(ex_count, $0)
	movl	$ex_count, %eax
	monitor
	sti
	mwait
	cli
	CHECK(ex_count, $1)
	CHECK(ex_vector, $0x33)
	movl	$0, A_EOI

	TEST("timer, periodic, ends HLT")
	movl	$0, ex_count
	movl	$0x20033, A_TIMER
	movl	$25000, A_INIT
	movl	$5, %esi
1:	sti
	hlt
	cli
	movl	$0, A_EOI
	decl	%esi
	jnz	1b
	CHECK(ex_count, $5)
	movl	$0x30033, A_TIMER	/* masked */
	pass	5000000
	window
	CHECK(ex_count, $5)

	TEST("timer, TSC deadline")
	movl	$0, ex_count
	movl	$0x40033, A_TIMER
	rdtsc
	addl	$100000000, %eax
	adcl	$0, %edx
	movl	%eax, %esi
	movl	$0x6e0, %ecx
	wrmsr
	rdmsr
	CHECK(%eax, %esi)
	sti
	hlt
	cli
	CHECK(ex_count, $1)
	CHECK(ex_vector, $0x33)
	movl	$0, A_EOI
	movl	$0x6e0, %ecx
	rdmsr
	CHECK(%eax, $0)
	CHECK(%edx, $0)
	msr	0x6e0, 1		/* past */
	window
	CHECK(ex_count, $2)
	movl	$0, A_EOI
	movl	$0x10033, A_TIMER

	TEST("I/O APIC, edge")
	movl	$0, ex_count
	line	5, 1
	window
	CHECK(ex_count, $0)		/* masked: lost */
	line	5, 0
	redirect 5, 0x35
	line	5, 1
	window
	CHECK(ex_count, $1)
	CHECK(ex_vector, $0x35)
	movl	$0, A_EOI
	line	5, 0
	line	0, 0
	redirect 2, 0x36		/* ISA IRQ0 */
	line	0, 1
	window
	CHECK(ex_count, $2)
	CHECK(ex_vector, $0x36)
	movl	$0, A_EOI

	TEST("I/O APIC, level")
	movl	$0, ex_count
	redirect 17, 0x8037
	line	17, 1
	window
	CHECK(ex_count, $1)
	CHECK(IOWIN, $0xc037)		/* remote IRR */
	movl	$0, A_EOI
	window				/* still asserted */
	CHECK(ex_count, $2)
	line	17, 0
	movl	$0, A_EOI
	CHECK(IOWIN, $0x8037)
	window
	CHECK(ex_count, $2)

	TEST("a message")
	movl	$0, ex_count
	movl	$APIC, %eax
	outl	%eax, $P_MSI_ADDR
	movl	$0x38, %eax
	outl	%eax, $P_MSI
	window
	CHECK(ex_count, $1)
	CHECK(ex_vector, $0x38)
	movl	$0, A_EOI

	TEST("the 8259A by ExtINT")
	movl	$0, ex_count
	movb	$0x13, %al
	outb	%al, $0x20
	movb	$0x20, %al
	outb	%al, $0x21
	movb	$0x03, %al
	outb	%al, $0x21
	movb	$0, %al
	outb	%al, $0x21
	line	3, 0
	line	3, 1
	window
	CHECK(ex_count, $0)		/* LINT0 is masked */
	movl	$0x700, A_LINT0
	window
	CHECK(ex_count, $1)
	CHECK(ex_vector, $0x23)
	CHECK(A_ISR1, $0)		/* the local APIC knows nothing of it */
	movl	$0x10000, A_LINT0
	line	3, 0

	TEST("x2APIC")
	movl	$0, hook
	movl	$0x803, %ecx
	FAULT(13, 0, rdmsr)
	msr	0x1b, 0xfee00d00
	CHECK(A_VER, $0xffffffff)	/* memory no more */
	movl	$0x803, %ecx
	rdmsr
	CHECK(%eax, $0x01050014)
	movl	$0x80b, %ecx
	movl	$1, %eax
	xorl	%edx, %edx
	FAULT(13, 0, wrmsr)		/* EOI takes 0 only */
	movl	$0x1b, %ecx
	movl	$0xfee00900, %eax
	FAULT(13, 0, wrmsr)		/* not straight back */
	movl	$taken, hook
	movl	$0, ex_count
	msr	0x83f, 0x39		/* self IPI */
	window
	CHECK(ex_count, $1)
	CHECK(ex_vector, $0x39)
	msr	0x80b, 0
	msr	0x830, 0x3a		/* to processor 0 */
	window
	CHECK(ex_count, $2)
	CHECK(ex_vector, $0x3a)
	msr	0x80b, 0

	TEST("switched off")
	msr	0x1b, 0xfee00100
	movl	$1, %eax
	cpuid
	andl	$0x200, %edx
	CHECK(%edx, $0)
	movl	$0, ex_count
	line	3, 1
	window				/* the pin is INTR */
	CHECK(ex_count, $1)
	CHECK(ex_vector, $0x23)
	ret

taken:	jmp	hook_return
