/*
 * The processor as it identifies itself: CPUID, EFLAGS.ID, MSRs, the time-stamp
 * counter, what CPUID denies is not there, control registers' fixed bits.
 */
#include "metal.inc"
	.code32
main:
	TEST("EFLAGS.ID can be changed, AC too")
	pushfl
	popl	%eax
	movl	%eax, %ecx
	xorl	$0x240000, %eax
	pushl	%eax
	popfl
	pushfl
	popl	%ebx
	pushl	%ecx
	popfl
	andl	$0x240000, %ebx
	CHECK(%ebx, $0x240000)

	TEST("CPUID")
	xorl	%eax, %eax
	cpuid
	CHECK(%eax, $0x16)
	movl	$1, %eax
	cpuid
	CHECK(%eax, $0x106ca)
	andl	$(1 << 28), %edx			/* one processor */
	CHECK(%edx, $0)
	andl	$(1 << 3 | 1 << 5 | 1 << 6 | 1 << 27), %ecx	/* MONITOR VMX SMX OSXSAVE */
	CHECK(%ecx, $(1 << 3))
	movl	$1, %eax
	cpuid
	andl	$0xf97e, %edx		/* DE PSE TSC MSR PAE CX8 SEP MTRR PGE MCA CMOV */
	CHECK(%edx, $0xf97c)
	movl	$0x80000000, %eax
	cpuid
	CHECK(%eax, $0x80000008)
	movl	$0x80000001, %eax
	cpuid
	andl	$(1 << 11 | 1 << 20 | 1 << 26 | 1 << 27 | 1 << 29), %edx	/* SYSCALL NX 1 GiB RDTSCP LM */
	CHECK(%edx, $(1 << 11 | 1 << 20 | 1 << 26 | 1 << 27 | 1 << 29))
	movl	$0x80000008, %eax
	cpuid
	CHECK(%eax, $0x3028)
	movl	$0x80000009, %eax			/* beyond the last leaf */
	cpuid
	orl	%ebx, %eax
	CHECK(%eax, $0)
	movl	$0x12345, %eax
	cpuid
	orl	%ebx, %eax
	CHECK(%eax, $0)

	TEST("the time-stamp counter counts, and can be set")
	rdtsc
	movl	%eax, %ebx
	movl	%edx, %ecx
	rdtsc
	subl	%ebx, %eax
	sbbl	%ecx, %edx
	CHECK(%edx, $0)				/* went on, by less than 2^32 */
	movl	$0x10, %ecx
	xorl	%eax, %eax
	movl	$0x1234, %edx
	wrmsr
	rdtsc
	CHECK(%edx, $0x1234)
	movl	$0x10, %ecx
	rdmsr
	CHECK(%edx, $0x1234)

	TEST("MONITOR and MWAIT")
	movl	$5, %eax
	cpuid
	CHECK(%eax, $64)
	CHECK(%ebx, $64)
	CHECK(%ecx, $1)					/* no extensions */
	CHECK(%edx, $0)					/* no C-states */
	movl	$0x9000, %eax
	xorl	%ecx, %ecx
	mwait						/* nothing is watched */
	monitor
	mwait						/* it does not last */
	movl	$1, %ecx
	FAULT(13, 0, monitor)
	FAULT(13, 0, mwait)
	xorl	%ecx, %ecx
	UFAULT(6, 0, monitor)
	UFAULT(6, 0, mwait)
	FAULT(6, 0, .byte 0xf0, 0x0f, 0x01, 0xc9)	/* LOCK */
	movl	$0x1a0, %ecx
	rdmsr
	andl	$~(1 << 18), %eax			/* switched off */
	wrmsr
	movl	$1, %eax
	cpuid
	andl	$8, %ecx
	CHECK(%ecx, $0)
	FAULT(6, 0, monitor)
	FAULT(6, 0, mwait)
	movl	$0x1a0, %ecx
	rdmsr
	orl	$1 << 18, %eax
	wrmsr

	TEST("a microcode revision of none")
	movl	$0x8b, %ecx
	xorl	%eax, %eax
	xorl	%edx, %edx
	wrmsr
	movl	$-1, %edx
	rdmsr
	CHECK(%edx, $0)
	movl	$0x48, %ecx			/* SPEC_CTRL, not offered */
	FAULT(13, 0, rdmsr)
	FAULT(13, 0, wrmsr)

	TEST("memory types are kept")
	movl	$0xfe, %ecx			/* MTRRcap */
	rdmsr
	CHECK(%eax, $0x508)
	FAULT(13, 0, wrmsr)
	movl	$0x20f, %ecx			/* the last mask */
	movl	$0xfffff800, %eax
	movl	$0xff, %edx
	wrmsr
	xorl	%eax, %eax
	rdmsr
	CHECK(%eax, $0xfffff800)
	movl	$0x100, %edx			/* beyond the physical address */
	FAULT(13, 0, wrmsr)
	movl	$0x210, %ecx
	FAULT(13, 0, rdmsr)
	movl	$0x26f, %ecx
	movl	$0x06050401, %eax
	xorl	%edx, %edx
	wrmsr
	rdmsr
	CHECK(%eax, $0x06050401)
	movb	$2, %al				/* reserved */
	FAULT(13, 0, wrmsr)
	movl	$0x277, %ecx			/* PAT */
	rdmsr
	CHECK(%eax, $0x00070406)
	CHECK(%edx, $0x00070406)
	movb	$3, %al
	FAULT(13, 0, wrmsr)

	TEST("EFER")
	movl	$0xc0000080, %ecx
	movl	$0x801, %eax			/* NXE SCE */
	xorl	%edx, %edx
	wrmsr
	rdmsr
	CHECK(%eax, $0x801)
	movl	$0x1801, %eax			/* SVME */
	FAULT(13, 0, wrmsr)
	xorl	%eax, %eax
	wrmsr

	TEST("TSC_ADJUST")
	movl	$0x3b, %ecx
	rdmsr
	movl	%edx, %ebx
	addl	$0x100, %edx
	wrmsr
	movl	$0x10, %ecx
	rdmsr
	CHECK(%edx, $0x1334)

	TEST("CR0, CR4")
	movl	%cr0, %eax
	andl	$0x10, %eax
	CHECK(%eax, $0x10)
	movl	%cr0, %eax
	andl	$~0x10, %eax
	movl	%eax, %cr0
	movl	%cr0, %eax
	andl	$0x10, %eax
	CHECK(%eax, $0x10)			/* ET is hard-wired */
	movl	$0x9c, %eax
	movl	%eax, %cr4
	movl	%cr4, %ebx
	CHECK(%ebx, $0x9c)
	movl	$0x2000, %eax			/* VMXE, LA57, PCIDE without long mode */
	FAULT(13, 0, movl %eax, %cr4)
	movl	$0x1000, %eax
	FAULT(13, 0, movl %eax, %cr4)
	movl	$0x20000, %eax
	FAULT(13, 0, movl %eax, %cr4)
	xorl	%eax, %eax
	movl	%eax, %cr4
	movl	$0x123fff, %eax
	movl	%eax, %cr3
	movl	%cr3, %ebx
	CHECK(%ebx, $0x123018)
	xorl	%eax, %eax
	movl	%eax, %cr3

	TEST("SMSW, SGDT, SIDT")
	movl	$-1, table
	smsw	table
	movl	%cr0, %eax
	orl	$0xffff0000, %eax
	movl	table, %ebx
	CHECK(%eax, %ebx)
	sgdt	table
	movzwl	table, %eax
	movzwl	gdtr, %ebx
	CHECK(%eax, %ebx)
	movl	$gdt, %ebx
	CHECK(table + 2, %ebx)
	data16 sidt table			/* all of the base with either operand size */
	movl	$idt, %ebx
	CHECK(table + 2, %ebx)
	ret
	.data
table:	.quad	0
