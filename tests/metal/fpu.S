/*
 * x87, MMX and SSE as a kernel sees them: who may use them, exceptions that are
 * unmasked, images in memory and what a device in their place makes of it.
 * What instructions compute is tests/diff's.
 */
#include "metal.inc"
	.code32
	.set	TS, 8
	.set	EM, 4
	.set	MP, 2
	.set	NE, 0x20
	.set	OSFXSR, 0x200
	.set	OSXMM, 0x400
	.set	OSXSAVE, 0x40000

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

main:
	cr0_set	NE
	clts
	xorl	%eax, %eax
	movl	%eax, %cr4

	TEST("without CR4.OSFXSR there is no SSE, but x87 and MMX")
	FAULT(6, 0, addps %xmm0, %xmm1)
	FAULT(6, 0, ldmxcsr mxcsr_default)
	fninit
	fld1
	fstp	%st(0)
	paddb	%mm0, %mm1
	emms
	fxsave	image

	movl	$(OSFXSR | OSXMM), %eax
	movl	%eax, %cr4

	TEST("TS: everything is #NM")
	cr0_set	TS
	FAULT(7, 0, fld1)
	FAULT(7, 0, fnstsw %ax)
	FAULT(7, 0, fnclex)
	FAULT(7, 0, paddb %mm0, %mm1)
	FAULT(7, 0, emms)
	FAULT(7, 0, addps %xmm0, %xmm1)
	FAULT(7, 0, movaps 1, %xmm1)		/* before the misalignment */
	FAULT(7, 0, stmxcsr scratch)
	FAULT(7, 0, fxsave image)
	FAULT(7, 0, fxrstor image)
	sfence
	movl	%eax, scratch
	movnti	%eax, scratch
	popcnt	%eax, %eax
	crc32b	%al, %eax
	fwait					/* MP is clear */
	cr0_set	MP
	FAULT(7, 0, fwait)
	clts
	fwait
	fld1
	fstp	%st(0)
	cr0_clear MP

	TEST("EM: x87 is #NM, MMX and SSE #UD")
	cr0_set	EM
	FAULT(7, 0, fld1)
	FAULT(6, 0, paddb %mm0, %mm1)
	FAULT(6, 0, emms)
	FAULT(6, 0, addps %xmm0, %xmm1)
	FAULT(7, 0, fxsave image)
	fwait
	cr0_set	TS
	FAULT(7, 0, fld1)
	FAULT(6, 0, paddb %mm0, %mm1)
	FAULT(6, 0, addps %xmm0, %xmm1)
	cr0_clear EM
	clts

	TEST("FNINIT, control and status words")
	fninit
	fnstcw	scratch
	movzwl	scratch, %eax
	CHECK(%eax, $0x37f)
	fnstsw	%ax
	movzwl	%ax, %eax
	CHECK(%eax, $0)
	fld1
	fnstsw	%ax
	movzwl	%ax, %eax
	CHECK(%eax, $0x3800)			/* TOP is 7 */
	fldcw	cw_all
	fnstcw	scratch
	movzwl	scratch, %eax
	CHECK(%eax, $0x1f7f)

	TEST("an unmasked x87 exception waits for the next instruction that does")
	fninit
	fldcw	cw_zero_unmasked
	fld1
	fldz
	fdivrp	%st, %st(1)			/* 1 / 0 */
	fnstsw	%ax
	movzwl	%ax, %ebx
	andl	$0x80ff, %ebx
	CHECK(%ebx, $0x8084)			/* B, ES, ZE */
	FAULT(16, 0, fld1)
	FAULT(16, 0, fwait)
	FAULT(16, 0, fldcw cw_all)
	FAULT(16, 0, paddb %mm0, %mm1)
	FAULT(16, 0, fstpl 0xfffffffc)		/* before the address is looked at */
	addps	%xmm0, %xmm1			/* SSE does not care */
	fxsave	image
	fnstenv	image + 512			/* which masks everything */
	CHECK(image + 512, $0xffff037b)
	fwait
	fnclex
	fld1
	fstp	%st(0)
	fxrstor	image				/* brings it back */
	FAULT(16, 0, fwait)
	fninit
	fwait

	TEST("an unmasked exception of a store leaves memory and stack alone")
	fninit
	fldcw	cw_invalid_unmasked
	fldl	huge
	movl	$0x55555555, scratch
	fistpl	scratch
	movl	scratch, %eax
	CHECK(%eax, $0x55555555)
	FAULT(16, 0, fwait)
	fnclex
	fnstsw	%ax
	movzwl	%ax, %eax
	andl	$0x3800, %eax
	CHECK(%eax, $0x3800)			/* not popped */
	fninit

	TEST("the pointers of FNSTENV and FXSAVE")
	fninit
3:	faddl	scratch8
	fnstenv	image
	CHECK(image + 12, $3b)
	CHECK(image + 16, $0x04050000)		/* DC /0 with a 32-bit displacement: opcode 405h, selector 0 */
	CHECK(image + 20, $scratch8)
	fxsave	image
	CHECK(image + 8, $3b)
	CHECK(image + 16, $scratch8)
	movzwl	image + 6, %eax
	CHECK(%eax, $0x405)
	fnsave	image
	CHECK(image + 12, $3b)
	fnstenv	image
	CHECK(image + 12, $0)			/* FNSAVE has initialised */

	TEST("MMX marks every register valid, EMMS empty")
	fninit
	movl	$0x12345678, %eax
	movd	%eax, %mm3
	fxsave	image
	movzbl	image + 4, %eax
	CHECK(%eax, $0xff)
	movzwl	image + 2, %eax
	CHECK(%eax, $0)				/* TOP is 0 */
	movd	%mm3, %ebx
	CHECK(%ebx, $0x12345678)
	emms
	fnstenv	image
	movzwl	image + 8, %eax
	CHECK(%eax, $0xffff)

	TEST("an MMX store that faults leaves x87's tags")
	fninit
	movl	$SPARE, %eax
	movl	$0x00000fff, spare		/* base 0, limit FFFh */
	movl	$0x00409300, spare + 4
	movl	%eax, %fs
	FAULT(13, 0, movq %mm0, %fs:0x1000)
	FAULT(13, 0, movd %mm0, %fs:0xffd)
	fnstenv	image
	movzwl	image + 8, %eax
	CHECK(%eax, $0xffff)

	TEST("MXCSR")
	FAULT(13, 0, ldmxcsr mxcsr_reserved)
	ldmxcsr	mxcsr_default
	stmxcsr	scratch
	CHECK(scratch, $0x1f80)
	movl	$0x3f800000, %eax		/* 1.0 */
	movd	%eax, %xmm0
	xorps	%xmm1, %xmm1
	divss	%xmm1, %xmm0			/* masked: infinity */
	movd	%xmm0, %ebx
	CHECK(%ebx, $0x7f800000)
	stmxcsr	scratch
	CHECK(scratch, $0x1f84)

	TEST("an unmasked SSE exception is #XM and leaves the destination")
	ldmxcsr	mxcsr_zero_unmasked
	movd	%eax, %xmm0
	FAULT(19, 0, divss %xmm1, %xmm0)
	movd	%xmm0, %ebx
	CHECK(%ebx, $0x3f800000)
	stmxcsr	scratch
	CHECK(scratch, $0x1d84)
	FAULT(19, 0, divss zero, %xmm0)
	fninit					/* x87's state survives */
	fldpi
	FAULT(19, 0, divps %xmm1, %xmm0)
	fstpl	scratch8
	CHECK(scratch8 + 4, $0x400921fb)
	movl	$OSFXSR, %eax
	movl	%eax, %cr4
	FAULT(6, 0, divss %xmm1, %xmm0)		/* without OSXMMEXCPT: #UD */
	movl	$(OSFXSR | OSXMM), %eax
	movl	%eax, %cr4
	ldmxcsr	mxcsr_default

	TEST("alignment of vectors")
	FAULT(13, 0, movaps image + 8, %xmm0)
	FAULT(13, 0, movaps %xmm0, image + 8)
	FAULT(13, 0, addps image + 4, %xmm0)
	FAULT(13, 0, fxsave image + 8)
	FAULT(13, 0, fxrstor image + 8)
	movups	image + 8, %xmm0
	addss	image + 1, %xmm0

	TEST("FXSAVE and FXRSTOR")
	fninit
	fldpi
	pcmpeqd	%xmm7, %xmm7
	fxsave	image
	pxor	%xmm7, %xmm7
	fninit
	movl	$0x1234, image + 480		/* software's own */
	fxrstor	image
	movd	%xmm7, %eax
	CHECK(%eax, $-1)
	fstpl	scratch8
	CHECK(scratch8 + 4, $0x400921fb)
	fxsave	image
	CHECK(image + 480, $0x1234)
	movl	$0x10000, image + 24		/* a reserved bit of MXCSR */
	FAULT(13, 0, fxrstor image)

	TEST("operands in device memory")
	fninit
	fld1
	fldpi
	fstpl	MMIO + 8			/* popped once, however often it waits */
	fnstsw	%ax
	andl	$0x3800, %eax
	CHECK(%eax, $0x3800)
	fstpt	MMIO + 16
	fnstsw	%ax
	andl	$0x3800, %eax
	CHECK(%eax, $0)
	movups	MMIO, %xmm0
	movups	%xmm0, MMIO + 32
	fildl	MMIO
	fninit

	movl	$1, %eax
	cpuid
	testl	$1 << 26, %ecx
	jz	2f
	call	xsave_tests
2:	ret

xsave_tests:
	TEST("XSAVE and XCR0")
	xorl	%ecx, %ecx
	FAULT(6, 0, xgetbv)
	FAULT(6, 0, xsave image)
	movl	$(OSFXSR | OSXMM | OSXSAVE), %eax
	movl	%eax, %cr4
	xorl	%ecx, %ecx
	xgetbv
	andl	$1, %eax
	CHECK(%eax, $1)
	xorl	%edx, %edx
	movl	$2, %eax			/* SSE without x87 */
	FAULT(13, 0, xsetbv)
	movl	$3, %eax
	xsetbv
	xgetbv
	CHECK(%eax, $3)
	incl	%ecx
	FAULT(13, 0, xsetbv)
	movl	$0x8000, %eax
	xorl	%ecx, %ecx
	FAULT(13, 0, xsetbv)
	movl	$-1, %eax
	movl	$-1, %edx
	FAULT(13, 0, xsave image + 16)		/* 64 bytes */
	movl	$image + 512, %edi
	movl	$16, %ecx
	xorl	%eax, %eax
	rep	stosl
	movl	$-1, %eax
	fninit
	fldpi
	pcmpeqd	%xmm6, %xmm6
	xsave	image
	CHECK(image + 512, $3)
	fninit
	pxor	%xmm6, %xmm6
	xrstor	image
	movd	%xmm6, %ebx
	CHECK(%ebx, $-1)
	fstpl	scratch8
	CHECK(scratch8 + 4, $0x400921fb)
	movl	$0, image + 512			/* both initial */
	xrstor	image
	movd	%xmm6, %ebx
	CHECK(%ebx, $0)
	fnstcw	scratch
	movzwl	scratch, %ebx
	CHECK(%ebx, $0x37f)
	movl	$0x100, image + 512		/* a component that XCR0 has not */
	FAULT(13, 0, xrstor image)
	movl	$3, image + 512
	movl	$1, image + 528
	FAULT(13, 0, xrstor image)
	movl	$0, image + 528
	xrstor	image
	ret

	.data
	.balign	64
image:	.fill	832, 1, 0
scratch8: .quad	0
scratch: .long	0
zero:	.long	0, 0, 0, 0
mxcsr_default: .long 0x1f80
mxcsr_reserved: .long 0x11f80
mxcsr_zero_unmasked: .long 0x1d80
huge:	.double	1e300
cw_all:	.word	0x1f7f
cw_zero_unmasked: .word 0x37b
cw_invalid_unmasked: .word 0x37e
