/*
 * AVX as a kernel sees it: who may use it, XCR0 and leaf 0Dh, the XSAVE area in
 * both formats and what is in use, exceptions, masks and gathers where a page
 * ends and in device memory.  What instructions compute is tests/diff's.
 * SDM vol. 1 ch. 13, 14.
 */
#include "metal.inc"
#include "long.inc"
	.set	TS, 8
	.set	EM, 4
	.set	OSFXSR, 0x200
	.set	OSXMM, 0x400
	.set	OSXSAVE, 0x40000
	.code32
.macro cr0_set bits
	movl	%cr0, %eax
	orl	$(\bits), %eax
	movl	%eax, %cr0
.endm
.macro cr0_clear bits
	movl	%cr0, %eax
	andl	$~(\bits), %eax
	movl	%eax, %cr0
.endm
.macro cr4_is bits
	movl	$(\bits), %eax
	movl	%eax, %cr4
.endm
.macro xcr0_is bits
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	movl	$(\bits), %eax
	xsetbv
.endm
/* Every component, in EDX:EAX; the area filled with a byte. */
.macro all
	movl	$-1, %eax
	movl	$-1, %edx
.endm
.macro fill byte
	movl	$area, %edi
	movl	$1024, %ecx
	movb	$\byte, %al
	rep stosb
.endm

main:
	movl	$1, %eax
	cpuid
	testl	$1 << 28, %ecx
	jnz	1f
	ret					/* a host without it */
1:	clts
	cr0_set	0x20				/* NE */

	TEST("AVX wants OSXSAVE and its bits of XCR0")
	cr4_is	OSFXSR | OSXMM
	FAULT(6, 0, vaddps %ymm0, %ymm1, %ymm2)
	FAULT(6, 0, vzeroupper)
	cr4_is	OSFXSR | OSXMM | OSXSAVE
	xcr0_is	1
	FAULT(6, 0, vaddps %ymm0, %ymm1, %ymm2)
	xcr0_is	3
	FAULT(6, 0, vaddps %xmm0, %xmm1, %xmm2)
	FAULT(6, 0, vmovaps 1, %ymm2)
	FAULT(6, 0, vstmxcsr scratch)
	cr0_set	TS
	FAULT(6, 0, vaddps %ymm0, %ymm1, %ymm2)	/* before #NM */
	FAULT(7, 0, addps %xmm0, %xmm1)
	xcr0_is	7
	FAULT(7, 0, vaddps %ymm0, %ymm1, %ymm2)
	FAULT(7, 0, vmovaps 1, %ymm2)		/* before the misalignment */
	FAULT(7, 0, vzeroall)
	FAULT(7, 0, vpgatherdd %xmm0, (%eax,%xmm1), %xmm2)
	clts
	vaddps	%ymm0, %ymm1, %ymm2
	vzeroall

	TEST("neither CR0.EM nor CR4.OSFXSR matters to VEX")
	cr0_set	EM
	vpaddb	%xmm0, %xmm1, %xmm2
	vldmxcsr mxcsr_default
	cr0_clear EM
	cr4_is	OSXSAVE
	FAULT(6, 0, addps %xmm0, %xmm1)
	vaddps	%xmm0, %xmm1, %xmm2
	cr4_is	OSFXSR | OSXMM | OSXSAVE

	TEST("VEX is none in virtual-8086 mode, nor with a prefix before it")
	movl	$1f, resume
	movl	%esp, resume_esp
	pushl	$0
	pushl	$0
	pushl	$0
	pushl	$0
	pushl	$0
	pushl	$0xff0
	pushl	$0x20002
	pushl	$0
	pushl	$in_v86
	iretl
1:	CHECK(ex_vector, $6)
	CHECK(ex_eip, $in_v86)
	FAULT(6, 0, .byte 0x66, 0xc5, 0xf0, 0x58, 0xc2)
	FAULT(6, 0, .byte 0xf3, 0xc5, 0xf0, 0x58, 0xc2)
	FAULT(6, 0, .byte 0xf0, 0xc5, 0xf0, 0x58, 0x00)
	FAULT(6, 0, .byte 0xc5, 0xe8, 0x51, 0xc2)		/* VSQRTPS has no second source */
	FAULT(6, 0, .byte 0xc4, 0xe3, 0x79, 0x19, 0xc0, 0x01)	/* VEXTRACTF128 of 128 bits */
	FAULT(6, 0, .byte 0xc4, 0xe3, 0xfd, 0x19, 0xc0, 0x01)	/* and with W */

	TEST("XCR0: AVX goes with SSE")
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	movl	$5, %eax
	FAULT(13, 0, xsetbv)
	movl	$4, %eax
	FAULT(13, 0, xsetbv)
	movl	$0xf, %eax
	FAULT(13, 0, xsetbv)
	movl	$0xe7, %eax
	FAULT(13, 0, xsetbv)
	movl	$7, %eax
	movl	$1, %edx
	FAULT(13, 0, xsetbv)
	xorl	%ecx, %ecx
	xgetbv
	CHECK(%eax, $7)

	TEST("leaf 0Dh")
	movl	$0xd, %eax
	xorl	%ecx, %ecx
	cpuid
	CHECK(%eax, $7)
	CHECK(%ebx, $832)
	CHECK(%ecx, $832)
	CHECK(%edx, $0)
	movl	$0xd, %eax
	movl	$1, %ecx
	cpuid
	CHECK(%eax, $0xf)
	CHECK(%ebx, $832)
	CHECK(%ecx, $0)
	movl	$0xd, %eax
	movl	$2, %ecx
	cpuid
	CHECK(%eax, $256)
	CHECK(%ebx, $576)
	CHECK(%ecx, $0)
	movl	$0xd, %eax
	movl	$3, %ecx
	cpuid
	orl	%ebx, %eax
	CHECK(%eax, $0)
	xcr0_is	3
	movl	$0xd, %eax
	xorl	%ecx, %ecx
	cpuid
	CHECK(%ebx, $576)
	CHECK(%ecx, $832)
	xcr0_is	7

	TEST("upper halves: VEX clears them, SSE leaves them")
	vmovups	ones, %ymm1
	vmovups	ones, %ymm2
	vmovaps	%xmm1, %xmm3
	paddb	%xmm0, %xmm2
	vmovups	%ymm3, area
	CHECK(area + 16, $0)
	vmovups	%ymm2, area
	CHECK(area + 16, $-1)
	vzeroupper
	vmovups	%ymm1, area
	CHECK(area, $-1)
	CHECK(area + 16, $0)
	vzeroall
	vmovups	%ymm1, area
	CHECK(area, $0)

	TEST("an unmasked exception is #XM and leaves destination and flags' sources")
	vmovups	ones, %ymm2
	vmovups	one_to_eight, %ymm1
	vldmxcsr mxcsr_zero_unmasked
	FAULT(19, 0, vdivps %ymm0, %ymm1, %ymm2)
	FAULT(19, 0, vdivps zeros, %ymm1, %ymm2)
	vmovups	%ymm2, area
	CHECK(area, $-1)
	CHECK(area + 28, $-1)
	vstmxcsr scratch
	CHECK(scratch, $0x1d84)
	cr4_is	OSFXSR | OSXSAVE
	FAULT(6, 0, vdivps %ymm0, %ymm1, %ymm2)	/* without OSXMMEXCPT */
	cr4_is	OSFXSR | OSXMM | OSXSAVE
	FAULT(13, 0, vldmxcsr mxcsr_reserved)
	vldmxcsr mxcsr_default
	vdivps	%ymm0, %ymm1, %ymm2
	vmovups	%ymm2, area
	CHECK(area + 28, $0x7f800000)
	vldmxcsr mxcsr_default

	TEST("alignment: only the moves that say so")
	FAULT(13, 0, vmovaps area + 16, %ymm0)
	FAULT(13, 0, vmovdqa %ymm0, area + 16)
	FAULT(13, 0, vmovntdq %ymm0, area + 16)
	FAULT(13, 0, vmovaps area + 8, %xmm0)
	vmovaps	area + 16, %xmm0
	vmovups	area + 1, %ymm0
	vaddps	area + 1, %ymm0, %ymm1
	vpaddb	area + 7, %xmm0, %xmm1
	vmovapd	area + 32, %ymm0

	TEST("XSAVE: what is initial is not in use")
	fninit
	vzeroall
	vldmxcsr mxcsr_default
	fill	0x55
	movl	$0, area + 512
	movl	$0, area + 516
	all
	xsave	area
	CHECK(area + 512, $0)
	CHECK(area + 520, $0x55555555)		/* XCOMP_BV is not written */
	movzwl	area, %eax
	CHECK(%eax, $0x37f)			/* but the components are */
	CHECK(area + 160, $0)
	CHECK(area + 576, $0)
	CHECK(area + 24, $0x1f80)
	movl	$1, %ecx
	xgetbv
	CHECK(%eax, $0)
	vmovups	one_to_eight, %ymm7
	movl	$1, %ecx
	xgetbv
	CHECK(%eax, $6)
	vzeroupper
	movl	$1, %ecx
	xgetbv
	CHECK(%eax, $2)
	vzeroall
	vldmxcsr mxcsr_zero_unmasked		/* MXCSR counts as SSE's */
	movl	$1, %ecx
	xgetbv
	CHECK(%eax, $2)
	vldmxcsr mxcsr_default
	fldz
	movl	$1, %ecx
	xgetbv
	CHECK(%eax, $1)
	fninit
	movl	$2, %ecx
	FAULT(13, 0, xgetbv)

	TEST("XSAVE's AVX component")
	vmovups	one_to_eight, %ymm2
	fill	0x55
	movl	$0, area + 512
	movl	$0, area + 516
	movl	$4, %eax			/* AVX alone: MXCSR with it, nothing else */
	xorl	%edx, %edx
	xsave	area
	CHECK(area + 512, $4)
	CHECK(area + 24, $0x1f80)
	CHECK(area, $0x55555555)
	CHECK(area + 160, $0x55555555)
	CHECK(area + 576 + 32, $0x40a00000)	/* 5.0 is the first of the upper half */
	CHECK(area + 576 + 44, $0x41000000)
	CHECK(area + 576 + 124, $0)
	CHECK(area + 576 + 128, $0x55555555)	/* eight registers in this mode */
	vzeroall
	vmovups	ones, %ymm3
	movl	$4, %eax
	movl	$0, area + 520			/* a header that is one */
	movl	$0, area + 524
	movl	$0, area + 528
	movl	$0, area + 532
	xrstor	area
	vmovups	%ymm2, area2
	CHECK(area2, $0)			/* the lower half is SSE's */
	CHECK(area2 + 16, $0x40a00000)
	vmovups	%ymm3, area2
	CHECK(area2, $-1)
	CHECK(area2 + 16, $0)
	movl	$0, area + 512			/* initial */
	movl	$4, %eax
	xrstor	area
	vmovups	%ymm2, area2
	CHECK(area2 + 16, $0)
	xcr0_is	3
	movl	$4, area + 512
	all
	FAULT(13, 0, xrstor area)		/* XCR0 has it not */
	xcr0_is	7

	TEST("XSAVEOPT leaves out what is initial")
	vzeroall
	vmovups	one_to_eight, %xmm1
	fill	0x55
	movl	$7, area + 512
	movl	$0, area + 516
	all
	xsaveopt area
	CHECK(area + 512, $2)
	CHECK(area + 160 + 16, $0x3f800000)
	CHECK(area + 576, $0x55555555)
	CHECK(area, $0x55555555)
	CHECK(area + 24, $0x1f80)

	TEST("XSAVEC and the compacted format")
	vmovups	one_to_eight, %ymm4
	fill	0x55
	movl	$6, %eax
	movl	$-1, %edx
	xsavec	area
	CHECK(area + 512, $6)
	CHECK(area + 516, $0)
	CHECK(area + 520, $6)
	CHECK(area + 524, $0x80000000)
	CHECK(area + 528, $0x55555555)		/* the rest of the header is not written */
	CHECK(area, $0x55555555)
	CHECK(area + 24, $0x1f80)
	CHECK(area + 160 + 64, $0x3f800000)
	CHECK(area + 576 + 64, $0x40a00000)
	all
	FAULT(13, 0, xrstor area)		/* whose reserved bytes must be 0 */
	movl	$area + 528, %edi
	movl	$12, %ecx
	xorl	%eax, %eax
	rep stosl
	vzeroall
	vldmxcsr mxcsr_zero_unmasked
	fldpi
	all
	xrstor	area				/* x87 is not there: initial */
	vmovups	%ymm4, area2
	CHECK(area2, $0x3f800000)
	CHECK(area2 + 28, $0x41000000)
	vstmxcsr scratch
	CHECK(scratch, $0x1f80)
	fnstenv	area2
	movzwl	area2 + 8, %eax
	CHECK(%eax, $0xffff)			/* empty */
	fninit
	movl	$7, area + 512			/* in use, but not in the format */
	all
	FAULT(13, 0, xrstor area)
	movl	$6, area + 512
	movl	$0xe, area + 520		/* a component that XCR0 has not */
	FAULT(13, 0, xrstor area)
	movl	$6, area + 520
	xrstor	area
	movl	$0, area + 512			/* MXCSR is SSE's, initial with it */
	vldmxcsr mxcsr_zero_unmasked
	all
	xrstor	area
	vstmxcsr scratch
	CHECK(scratch, $0x1f80)
	vzeroall
	fill	0x55
	all
	xsavec	area				/* nothing in use: nothing but the header */
	CHECK(area + 512, $0)
	CHECK(area + 520, $7)
	CHECK(area + 160, $0x55555555)
	CHECK(area + 576, $0x55555555)
	CHECK(area + 24, $0x55555555)

	TEST("XSAVES and XRSTORS")
	fill	0
	vmovups	one_to_eight, %ymm5
	all
	xsaves	area
	CHECK(area + 512, $6)
	CHECK(area + 520, $7)
	CHECK(area + 524, $0x80000000)
	vzeroall
	xrstors	area
	vmovups	%ymm5, area2
	CHECK(area2 + 28, $0x41000000)
	movl	$0, area + 520
	movl	$0, area + 524
	FAULT(13, 0, xrstors area)		/* not compacted */
	FAULT(13, 0, xsaves area + 16)
	UFAULT(13, 0, xsaves area)
	UFAULT(13, 0, xrstors area)
	movl	$0xda0, %ecx			/* IA32_XSS */
	rdmsr
	CHECK(%eax, $0)
	xorl	%edx, %edx
	wrmsr
	movl	$0x100, %eax
	FAULT(13, 0, wrmsr)
	cr0_set	TS
	FAULT(7, 0, xsavec area)
	FAULT(7, 0, xsaves area)
	clts

	call	enter_long			/* which has its own CR4 */
	.code16
in_v86:	vaddps	%xmm0, %xmm1, %xmm2
	hlt

	.code64
#define PAGE0	PAGE(0)
#define AT(n)	(V + 4096 - (n))
start64:
	movq	%cr4, %rax
	orl	$(OSFXSR | OSXMM | OSXSAVE), %eax
	movq	%rax, %cr4
	movl	$PAGE0 + 3, PTE(0)			/* one page, and none behind it */

	TEST64("sixteen registers")
	vmovups	one_to_eight, %ymm15
	movl	$-1, %eax
	movl	$-1, %edx
	xsave	area
	CHECK64(area + 576 + 240, one_to_eight + 16)
	vzeroupper
	xrstor	area
	vmovups	%ymm15, area2
	CHECK64(area2 + 24, one_to_eight + 24)

	TEST64("a load does not fault for what the mask leaves out")
	vmovups	one_to_eight, %ymm0
	vmovups	%ymm0, V + 4064
	vmovups	low_half, %ymm1
	vpmaskmovd AT(16), %ymm1, %ymm2
	vmovups	%ymm2, area2
	CHECK64(area2, one_to_eight + 16)
	CHECK64(area2 + 8, one_to_eight + 24)
	CHECK64(area2 + 16, $0)
	vmaskmovps AT(16), %ymm1, %ymm2
	vxorps	%ymm3, %ymm3, %ymm3
	vpmaskmovq V + 8192, %ymm3, %ymm4		/* nothing at all */
	vmovups	ones, %ymm1
	LFAULT(14, 0, vpmaskmovd AT(16), %ymm1, %ymm2)
	CHECK64(lex_cr2, $V + 4096)
	vmovups	%ymm2, area2
	CHECK64(area2, one_to_eight + 16)		/* as before */
	vmovups	sixth, %ymm1
	LFAULT(14, 0, vmaskmovps AT(16), %ymm1, %ymm2)
	CHECK64(lex_cr2, $V + 4096 + 4)

	TEST64("a store that faults has stored nothing")
	vmovups	ones, %ymm1
	vmovups	one_to_eight, %ymm0
	movq	$0x77, V + 4080
	movq	$0x77, V + 4088
	LFAULT(14, 2, vpmaskmovd %ymm0, %ymm1, AT(16))
	CHECK64(lex_cr2, $V + 4096)
	CHECK64(V + 4080, $0x77)
	vmovups	low_two, %ymm1
	vmaskmovps %ymm0, %ymm1, AT(8)
	CHECK64(V + 4088, one_to_eight)
	LFAULT(14, 2, vmaskmovpd %ymm0, %ymm1, V + 4092)	/* an element of both pages */

	TEST64("a gather keeps what it has done before a fault")
	vmovups	one_to_eight, %ymm0
	vmovups	%ymm0, V + 4064
	vmovups	indices, %ymm1
	vmovups	ones, %ymm2
	vmovups	ones, %ymm3
	LFAULT(14, 0, vpgatherdd %ymm3, AT(8)(,%ymm1,4), %ymm2)
	CHECK64(lex_cr2, $V + 4096)
	vmovups	%ymm2, area2
	movl	$0x41000000, %eax			/* 8.0, 7.0 */
	cmpl	%eax, area2
	jne	bad
	CHECK64(area2 + 4, six_seven + 4)
	CHECK64(area2 + 12, $-1)			/* not yet */
	vmovups	%ymm3, area2
	CHECK64(area2, $0)
	CHECK64(area2 + 4, $0)
	CHECK64(area2 + 12, $-1)
	CHECK64(area2 + 24, $-1)
	movl	$PAGE(1) + 3, PTE(1)
	movl	$0x12345678, PAGE(1)
	vpgatherdd %ymm3, AT(8)(,%ymm1,4), %ymm2	/* goes on */
	vmovups	%ymm2, area2
	CHECK64(area2 + 4, six_seven + 4)
	movl	area2 + 12, %eax
	CHECK64(%rax, $0x12345678)
	movl	area2 + 28, %eax
	CHECK64(%rax, $0x41000000)
	vmovups	%ymm3, area2
	CHECK64(area2, $0)
	CHECK64(area2 + 24, $0)
	vmovups	ones, %ymm2				/* of 128 bits: the rest is cleared */
	vmovups	ones, %ymm3
	vgatherdps %xmm3, AT(8)(,%xmm1,4), %xmm2
	vmovups	%ymm2, area2
	CHECK64(area2 + 16, $0)
	vmovups	ones, %ymm2				/* two elements of 32 bits by two indices of 64 */
	vmovups	ones, %ymm3
	vpxor	%xmm4, %xmm4, %xmm4
	vpgatherqd %xmm3, V + 4064(,%xmm4,1), %xmm2
	vmovups	%ymm2, area2
	CHECK64(area2, one_one)
	CHECK64(area2 + 8, $0)
	LFAULT(6, 0, .byte 0xc4, 0xe2, 0x71, 0x90, 0x0c, 0x98)	/* mask and destination are one register */

	TEST64("operands in device memory")
	movl	$MMIO + 3, PTE(2)
	vmovups	one_to_eight, %ymm0
	vmovups	%ymm0, V + 8192 + 4
	vmovups	V + 8192 + 4, %ymm1
	vmovups	%ymm1, area2
	CHECK64(area2, one_to_eight)
	CHECK64(area2 + 24, one_to_eight + 24)
	vpaddd	V + 8192 + 4, %ymm1, %ymm1
	vmovups	ones, %ymm1
	vpmaskmovd %ymm0, %ymm1, V + 8192 - 16		/* memory and a device */
	CHECK64(V + 8192 - 8, one_to_eight + 8)
	CHECK64(V + 8192, one_to_eight + 16)
	CHECK64(V + 8192 + 8, one_to_eight + 24)
	vpmaskmovd V + 8192 - 16, %ymm1, %ymm2
	vmovups	%ymm2, area2
	CHECK64(area2 + 8, one_to_eight + 8)
	CHECK64(area2 + 24, one_to_eight + 24)
	vmovups	device_indices, %ymm1			/* a device twice, memory, nowhere */
	vmovups	ones, %ymm2
	vmovups	ones, %ymm3
	inl	$P_COUNT, %eax
	LFAULT(14, 0, vpgatherqq %ymm3, V(,%ymm1,8), %ymm2)
	CHECK64(lex_cr2, $V + 12288)
	inl	$P_COUNT, %eax
	CHECK64(%rax, $2)				/* however often it has waited */
	vmovups	%ymm2, area2
	CHECK64(area2, one_to_eight + 16)
	CHECK64(area2 + 8, one_to_eight + 16)
	CHECK64(area2 + 16, one_to_eight)
	CHECK64(area2 + 24, $-1)
	vmovups	%ymm3, area2
	CHECK64(area2 + 16, $0)
	CHECK64(area2 + 24, $-1)
	vcvtps2ph $0, %ymm0, V + 8192
	vcvtph2ps V + 8192, %ymm1
	vmovups	%ymm1, area2
	CHECK64(area2 + 24, one_to_eight + 24)

	TEST64("a conversion that may not store raises no flag")
	vldmxcsr mxcsr_default
	movl	$0, PTE(3)
	vmovups	thirds, %xmm0
	LFAULT(14, 2, vcvtps2ph $0, %xmm0, V + 12288)
	vstmxcsr scratch
	movl	scratch, %eax
	CHECK64(%rax, $0x1f80)
	vcvtps2ph $0, %xmm0, V + 8192
	vstmxcsr scratch
	movl	scratch, %eax
	CHECK64(%rax, $0x1fa0)
	jmp	leave_long
bad:	fail64_	0

	.data
	.balign	64
area:	.fill	1024, 1, 0
area2:	.fill	64, 1, 0
ones:	.fill	32, 1, 0xff
zeros:	.fill	32, 1, 0
one_to_eight: .float 1, 2, 3, 4, 5, 6, 7, 8
low_half: .long	-1, -1, -1, -1, 0, 0, 0, 0
low_two: .long	-1, -1, 0, 0, 0, 0, 0, 0
sixth:	.long	0, 0, 0, 0, 0, -1, 0, 0
indices: .long	1, 0, -1, 2, 0, 0, 0, 1
device_indices: .quad 1024, 1024, 1022, 1536
six_seven: .float 0, 7, 6
one_one: .float 1, 1
thirds:	.float	0.333333333, 0.333333333, 0.333333333, 0.333333333
	.balign	8
scratch: .long	0
mxcsr_default: .long 0x1f80
mxcsr_reserved: .long 0x11f80
mxcsr_zero_unmasked: .long 0x1d80
