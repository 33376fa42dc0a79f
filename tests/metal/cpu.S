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
	CHECK(%eax, $1)
	movl	$1, %eax
	cpuid
	CHECK(%eax, $0x681)
	andl	$(1 << 12 | 1 << 0 | 1 << 6 | 1 << 23 | 1 << 24 | 1 << 25), %edx	/* MTRR FPU PAE MMX FXSR SSE */
	CHECK(%edx, $0)
	andl	$~(1 << 21 | 1 << 24), %ecx	/* the local APIC's */
	CHECK(%ecx, $0)
	movl	$1, %eax
	cpuid
	andl	$(1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 13 | 1 << 15), %edx
	CHECK(%edx, $(1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 13 | 1 << 15))
	movl	$0x80000000, %eax
	cpuid
	CHECK(%eax, $0x80000004)
	movl	$0x12345, %eax			/* beyond the last leaf */
	cpuid
	CHECK(%eax, $0x681)

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

	TEST("a microcode revision of none")
	movl	$0x8b, %ecx
	xorl	%eax, %eax
	xorl	%edx, %edx
	wrmsr
	movl	$-1, %edx
	rdmsr
	CHECK(%edx, $0)
	movl	$0xfe, %ecx			/* MTRRcap */
	FAULT(13, 0, rdmsr)
	movl	$0xc0000080, %ecx		/* EFER */
	FAULT(13, 0, rdmsr)

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
	movl	$0x20, %eax			/* PAE */
	FAULT(13, 0, movl %eax, %cr4)
	movl	$0x2000, %eax			/* VMXE */
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
