/*
 * boot.S - what brings the benchmark guest from the boot sector to C.
 *
 * The firmware loads this sector; it loads the rest of the image by INT 13h
 * (LBA packets of 32 sectors), opens A20 by port 92h, and enters flat 32-bit
 * protected mode without paging at guest_main.  Interrupts stay off throughout.
 */
	.code16
	.section .boot, "ax"
	.globl _start
_start:
	cli
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movw	$0x7c00, %sp
	movb	%dl, drive
	movw	$(IMAGE_SECTORS / 32), %cx
1:	pushw	%cx
	movw	$packet, %si
	movb	$0x42, %ah
	movb	drive, %dl
	int	$0x13
	jc	fail
	addw	$(32 * 512 / 16), packet_seg
	addl	$32, packet_lba
	popw	%cx
	loop	1b

	inb	$0x92, %al
	orb	$2, %al
	andb	$0xfe, %al
	outb	%al, $0x92
	lgdtl	gdtr
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$8, $protected
fail:	hlt
	jmp	fail

	.code32
protected:
	movw	$16, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movw	%ax, %fs
	movw	%ax, %gs
	movl	$0x90000, %esp
	call	guest_main
2:	cli
	hlt
	jmp	2b

	.p2align 2
packet:	.byte	16, 0
	.word	32, 0
packet_seg:
	.word	0x1000
packet_lba:
	.quad	1
	.p2align 3
gdt:	.quad	0
	.quad	0x00cf9a000000ffff
	.quad	0x00cf92000000ffff
gdtr:	.word	. - gdt - 1
	.long	gdt
drive:	.byte	0
	.org	510
	.word	0xaa55
