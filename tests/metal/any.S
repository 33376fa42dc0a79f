/*
 * What every engine must do, in 32-bit instructions that a KVM which emulates
 * them knows too, without an interrupt: device memory, strings of ports, the
 * memory map, A20, code that the device model stores.
 */
#include "metal.inc"
#define ROM	0xf0000
#define COUNT(n) inl $P_COUNT, %eax; CHECK(%eax, n)
	.code32
main:
	inl	$P_COUNT, %eax

	TEST("device memory, all sizes")
	movb	MMIO + 1, %al
	movzbl	%al, %eax
	CHECK(%eax, $0xa1)
	movw	MMIO + 2, %ax
	movzwl	%ax, %eax
	CHECK(%eax, $0xa3a2)
	movl	MMIO + 4, %eax
	CHECK(%eax, $0xa7a6a5a4)
	movl	MMIO + 0x11, %eax		/* not aligned */
	CHECK(%eax, $0xa4a3a2a1)
	COUNT($4)
	movb	$0x11, MMIO + 0x100
	movw	$0x3322, MMIO + 0x101
	movl	$0x77665544, MMIO + 0x103
	movl	MMIO + 0x100, %eax
	CHECK(%eax, $0x44332211)
	movl	MMIO + 0x103, %eax
	CHECK(%eax, $0x77665544)
	COUNT($5)

	TEST("a page's end: three bytes here, one there")
	movl	$0x44332211, MMIO + 0xffd - 0x10
	movl	$0x11223344, 0x201ffd
	movl	0x201ffd, %eax
	CHECK(%eax, $0x11223344)
	inl	$P_COUNT, %eax
	movl	%eax, MMIO + 0xffd
	inl	$P_COUNT, %eax
	orl	$1, %eax			/* in one access or in two */
	CHECK(%eax, $3)

	TEST("strings between ports and memory")
	movl	$P_PORT, %edx
	movl	$0x200000, %edi
	movl	$0xcafebabe, %eax
	movl	$5, %ecx
	rep insl
	CHECK(%ecx, $0)
	CHECK(%edi, $0x200014)
	CHECK(%eax, $0xcafebabe)
	CHECK(0x200000, $0x11223344)
	CHECK(0x200010, $0x11223344)
	movl	$P_CHAR, %edx
	movl	$hello, %esi
	movl	$hello_end - hello, %ecx
	rep outsb
	CHECK(%esi, $hello_end)
	CHECK(%ecx, $0)

	TEST("the memory map changes: ROM, RAM behind it, RAM, nothing")
	CHECK(ROM, $0x5a5a5a5a)
	movl	$0, ROM				/* dropped */
	CHECK(ROM, $0x5a5a5a5a)
	movl	$4, %eax
	outl	%eax, $P_MAP			/* reads from the image, writes to RAM */
	movl	$0x11111111, ROM
	CHECK(ROM, $0x5a5a5a5a)
	movl	$1, %eax
	outl	%eax, $P_MAP
	CHECK(ROM, $0x11111111)
	movl	$0xdeadbeef, ROM
	CHECK(ROM, $0xdeadbeef)
	movl	$2, %eax
	outl	%eax, $P_MAP
	movl	$0, ROM
	CHECK(ROM, $0xdeadbeef)
	xorl	%eax, %eax
	outl	%eax, $P_MAP
	CHECK(ROM, $-1)
	movl	$1, %eax
	outl	%eax, $P_MAP
	CHECK(ROM, $0xdeadbeef)

	TEST("A20 shut: the second megabyte is the first")
	movl	$0x12345678, 0x500
	movl	$0x9abcdef0, 0x100500
	xorl	%eax, %eax
	outl	%eax, $P_A20
	CHECK(0x100500, $0x12345678)
	movl	$0x55aa55aa, 0x100500
	CHECK(0x500, $0x55aa55aa)
	movl	$1, %eax
	outl	%eax, $P_A20
	CHECK(0x100500, $0x9abcdef0)
	CHECK(0x500, $0x55aa55aa)

	TEST("code that is stored by the program, and by the device model")
	movl	$0x000011b8, 0x300000		/* mov $11h, %eax; ret */
	movl	$0xc30000, 0x300003
	movl	$0x300000, %esi
	call	*%esi
	CHECK(%eax, $0x11)
	movb	$0x22, 0x300001
	call	*%esi
	CHECK(%eax, $0x22)
	movl	$0x000033b8, %eax
	outl	%eax, $P_DMA_DATA
	movl	$0x300000, %eax
	outl	%eax, $P_DMA
	call	*%esi
	CHECK(%eax, $0x33)
	ret

	.section .rodata
hello:	.ascii	"a string to a port\n"
hello_end:
