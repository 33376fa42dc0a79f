/*
 * Device memory, ROM and nothing at all behind ordinary instructions: one
 * access for each datum, accesses that cross from RAM, strings, stacks, LOCK;
 * the memory map changes.  Unit under test: vmm/soft/mmu.c.
 */
#include "metal.inc"
#define V	0x400000	/* a RAM page, then the device's */
#define COUNT(n) pushl %eax; inl $P_COUNT, %eax; CHECK(%eax, n); popl %eax
#define ROM	0xf0000
	.code32
main:
	TEST("loads and stores")
	inl	$P_COUNT, %eax
	movl	MMIO + 4, %eax
	CHECK(%eax, $0xa7a6a5a4)
	COUNT($1)
	movzbl	MMIO + 9, %eax
	CHECK(%eax, $0xa9)
	movzwl	MMIO + 3, %eax			/* misaligned: still one */
	CHECK(%eax, $0xa4a3)
	COUNT($2)
	movl	$0x12345678, MMIO + 0x100
	COUNT($1)
	movb	$0x99, MMIO + 0x102
	movl	MMIO + 0x100, %eax
	CHECK(%eax, $0x12995678)
	COUNT($2)

	TEST("the same instruction in a loop asks each time")
	movl	$1000, %ecx
1:	movl	MMIO, %eax
	addl	MMIO + 4, %eax
	loop	1b
	COUNT($2000)

	TEST("read-modify-write: a read and a write")
	incl	MMIO + 0x200
	COUNT($2)
	lock orl $0x10000, MMIO + 0x200
	COUNT($2)
	movl	$1, %eax
	lock xaddl %eax, MMIO + 0x200
	CHECK(%eax, $0xa3a3a1a1)
	COUNT($2)
	xchgl	%eax, MMIO + 0x200
	CHECK(%eax, $0xa3a3a1a2)
	COUNT($2)
	btsl	$0, MMIO + 0x204
	jc	bad
	COUNT($2)
	cmpl	$0, MMIO + 0x204
	COUNT($1)
	movl	MMIO + 0x204, %eax
	CHECK(%eax, $0xa7a6a5a5)
	inl	$P_COUNT, %eax

	TEST("strings: an access each")
	movl	$MMIO, %esi
	movl	$0x200000, %edi
	movl	$8, %ecx
	rep movsl
	COUNT($8)
	CHECK(0x200000, $0xa3a2a1a0)
	CHECK(0x20001c, $0xafaeadac)
	CHECK(%esi, $MMIO + 32)
	movl	$MMIO, %esi
	movl	$MMIO + 0x300, %edi
	movl	$5, %ecx
	rep movsw				/* from device to device */
	COUNT($10)
	movl	MMIO + 0x304, %eax
	CHECK(%eax, $0xa7a6a5a4)
	COUNT($1)
	movl	$MMIO + 0x400, %edi
	movl	$0x5a5a5a5a, %eax
	movl	$4, %ecx
	rep stosl
	COUNT($4)
	movl	$MMIO + 0x400, %edi
	movl	$0x200100, %esi
	movl	$0x5a5a5a5a, (%esi)
	movl	$0x5a5a5a5a, 4(%esi)
	movl	$0x5a5a5a00, 8(%esi)
	movl	$4, %ecx
	repe cmpsl
	CHECK(%ecx, $1)
	COUNT($3)

	TEST("ports to and from device memory")
	movl	$MMIO + 0x500, %edi
	movl	$P_PORT, %edx
	movl	$3, %ecx
	rep insl
	COUNT($3)
	movl	MMIO + 0x508, %eax
	CHECK(%eax, $0x11223344)
	COUNT($1)
	movl	$MMIO + 0x500, %esi
	movl	$2, %ecx
	rep outsl
	COUNT($2)

	TEST("a stack in device memory")
	movl	%esp, %ebp
	movl	$MMIO + 0x800, %esp
	pushl	$0x1234
	popl	%eax
	CHECK(%eax, $0x1234)
	call	2f
2:	popl	%ecx
	movl	%ebp, %esp
	movl	$2b, %edx
	CHECK(%ecx, %edx)
	inl	$P_COUNT, %eax

	TEST("exceptions and far returns on it")
	movl	$MMIO + 0x800, %esp
	TRAP(0x30, int $0x30)
	movl	%ebp, %esp
	CHECK(ex_esp, $MMIO + 0x800 - 20)
	movl	$MMIO + 0x800, %esp
	FAULT(6, 0, ud2)
	pushfl
	pushl	$CS32
	pushl	$3f
	iretl
3:	movl	%ebp, %esp

	TEST("nobody answers: all ones, writes are lost")
	movl	MMIO + 0x10000, %eax
	CHECK(%eax, $-1)
	movl	$0, MMIO + 0x10000
	notl	MMIO + 0x10000
	movl	MMIO + 0x10000, %eax
	CHECK(%eax, $-1)

	TEST("accesses over the edge of RAM")
	movl	$0x101007, 0x100000
	movl	$0x102007, 0x100004
	movl	$MMIO + 0x87, 0x100000 + (MMIO >> 22) * 4
	andl	$0xffc000ff, 0x100000 + (MMIO >> 22) * 4
	movl	$0x101000, %edi
	movl	$7, %eax
4:	stosl
	addl	$4096, %eax
	cmpl	$0x400000, %eax
	jb	4b
	movl	$0x200007, 0x102000
	movl	$MMIO + 7, 0x102004
	movl	$0x10, %eax
	movl	%eax, %cr4
	movl	$0x100000, %eax
	movl	%eax, %cr3
	movl	%cr0, %eax
	orl	$0x80000000, %eax
	movl	%eax, %cr0
	inl	$P_COUNT, %eax
	movl	$0x44332211, 0x200ffc
	movl	V + 0xffe, %eax
	CHECK(%eax, $0xa1a04433)
	COUNT($1)
	movl	$0x0badcafe, V + 0xffd		/* one byte to the device */
	COUNT($1)
	CHECK(0x200ffc, $0xadcafe11)
	movzbl	MMIO, %eax
	CHECK(%eax, $0x0b)
	incl	V + 0xffe
	COUNT($3)
	movl	$V + 0xff8, %edi
	movl	$4, %ecx
	movl	$0x01010101, %eax
	rep stosl
	COUNT($2)
	movl	MMIO + 4, %eax
	CHECK(%eax, $0x01010101)

	TEST("ROM in front of RAM: writes go behind it")
	CHECK(ROM, $0x5a5a5a5a)
	movl	$0, ROM				/* the power-on map drops writes */
	movl	$4, %eax
	outl	%eax, $P_MAP
	CHECK(ROM, $0x5a5a5a5a)
	movl	$0x11111111, ROM
	incl	ROM + 4
	lock incl ROM + 8
	movl	$ROM + 12, %edi
	movl	$0x22222222, %eax
	stosl
	CHECK(ROM, $0x5a5a5a5a)
	CHECK(ROM + 4, $0x5a5a5a5a)
	CHECK(ROM + 12, $0x5a5a5a5a)
	movl	$1, %eax
	outl	%eax, $P_MAP
	CHECK(ROM, $0x11111111)
	CHECK(ROM + 4, $0x5a5a5a5b)
	CHECK(ROM + 8, $0x5a5a5a5b)
	CHECK(ROM + 12, $0x22222222)

	TEST("the memory map changes: RAM, ROM, nothing")
	movl	$1, %eax
	outl	%eax, $P_MAP
	movl	$0xdeadbeef, ROM
	CHECK(ROM, $0xdeadbeef)
	movl	$2, %eax
	outl	%eax, $P_MAP
	movl	$0, ROM				/* dropped */
	CHECK(ROM, $0xdeadbeef)
	incl	ROM
	lock incl ROM
	CHECK(ROM, $0xdeadbeef)
	movl	$ROM, %edi
	xorl	%eax, %eax
	movl	$16, %ecx
	rep stosl
	CHECK(ROM, $0xdeadbeef)
	xorl	%eax, %eax
	outl	%eax, $P_MAP
	CHECK(ROM, $-1)
	movl	$1, %eax
	outl	%eax, $P_MAP
	CHECK(ROM, $0xdeadbeef)

	TEST("code in a page that is mapped away")
	movl	$0x000011b8, ROM
	movl	$0xc30000, ROM + 3
	movl	$ROM, %esi
	call	*%esi
	CHECK(%eax, $0x11)
	movl	$2, %eax
	outl	%eax, $P_MAP
	call	*%esi
	CHECK(%eax, $0x11)
	xorl	%eax, %eax
	outl	%eax, $P_MAP
	movl	$5f, resume
	movl	%esp, resume_esp
	call	*%esi				/* FFh FFh: no instruction */
	FAIL()
5:	CHECK(ex_vector, $6)
	CHECK(ex_eip, $ROM)
	ret
bad:	FAIL()
