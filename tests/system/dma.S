/*
 * tests/system/dma.S - a boot ROM, in real mode, for tests/system/dma.sh.
 *
 * A function in RAM is executed, then changed by DMA, then executed again: by
 * the IDE bus master (READ DMA, READ DMA EXT) and by fw_cfg.  READ MULTIPLE and
 * WRITE DMA take part with data.  What the functions return goes to COM1; on an
 * error '!' and the place; at the end CLI, HLT.
 *
 * Sectors 1 to 4 of hd0 hold "mov $letter, %al; lret"; opt/code holds another.
 */
#define COM1	0x3f8
#define BM	0xc000			/* bus master registers, once BAR 4 says so */
#define TABLE	0x6000			/* of physical regions */
#define ACCESS	0x6100			/* fw_cfg's DMA structure */
#define ENTRY	0x6200			/* one of fw_cfg's directory */
#define CODE	0x8000
#define DATA	0xa000

	.code16
	.text
	.globl start
start:
	cli
	cld
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movw	$0x7000, %sp

	/* 0:1.1: BAR 4 at BM; I/O and bus master enabled */
	movl	$0x80000920, %eax
	movl	$BM | 1, %ecx
	call	config
	movl	$0x80000904, %eax
	movl	$5, %ecx
	call	config
	movl	$0x80000940, %eax	/* both channels decode */
	movl	$0x80008000, %ecx
	call	config

	/* READ DMA over code that ran */
	movl	$CODE, TABLE
	movl	$0x80000000 + 512, TABLE + 4
	movb	$1, %bl
	movw	$0x08c8, %cx
	call	disk_dma
	call	run
	movb	$2, %bl
	movw	$0x08c8, %cx
	call	disk_dma
	call	run

	/* READ DMA EXT, one sector in two regions of odd sizes: the function lies over the seam */
	movl	$2, TABLE + 4
	movl	$CODE + 2, TABLE + 8
	movl	$0x80000000 + 510, TABLE + 12
	movb	$3, %bl
	movw	$0x0825, %cx
	call	disk_dma
	call	run

	/* fw_cfg's DMA, started from elsewhere */
	call	find
	movw	$CODE, %di
	call	prepare
	call	fire
	call	run

	/* and by the very code that it changes: the jump goes to what has come */
	movw	$self, %si
	movw	$CODE, %di
	movw	$self_end - self, %cx
	rep	cs movsb
	movw	$CODE + 0x10, %di
	call	prepare
	movw	$0x518, %dx
	movl	$ACCESS, %esi
	bswapl	%esi
	lcall	$0, $CODE
	call	print

	/* READ MULTIPLE: two sectors in a block */
	movb	$2, %bl
	movw	$2, %cx
	movb	$0xc6, %al
	call	command
	call	ready
	movb	$3, %bl
	movw	$2, %cx
	movb	$0xc4, %al
	call	command
	call	ready
	testb	$8, %al
	movb	$'m', %ah
	jz	wrong
	movw	$0x1f0, %dx
	movw	$DATA, %di
	movw	$512, %cx
	rep	insw
	call	ready
	testb	$8, %al
	movb	$'M', %ah
	jnz	wrong
	movb	DATA + 1, %al
	call	print
	movb	DATA + 512 + 1, %al
	call	print

	/* WRITE DMA: these two sectors, to 8 and 9 */
	movl	$DATA, TABLE
	movl	$0x80000000 + 1024, TABLE + 4
	movb	$8, %bl
	movw	$0x00ca, %cx
	movb	$2, sectors
	call	disk_dma

	movb	$'\n', %al
	call	print
halt:	cli
	hlt
	jmp	halt

	.set sectors, 0x6300

/* config: %ecx to PCI configuration register %eax */
config:
	movw	$0xcf8, %dx
	outl	%eax, %dx
	movw	$0xcfc, %dx
	movl	%ecx, %eax
	outl	%eax, %dx
	ret

/* run: the function at CODE, often enough that every cache knows it, and its letter */
run:
	movw	$1000, %cx
1:	lcall	$0, $CODE
	loop	1b
print:
	movw	$COM1, %dx
	outb	%al, %dx
	ret

/* wrong: says '!' and the letter in %ah */
wrong:
	movb	$'!', %al
	call	print
	movb	%ah, %al
	call	print
	jmp	halt

/* ready: %al is the status once it is neither busy nor in error */
ready:
	movw	$0x3f6, %dx
1:	inb	%dx, %al
	testb	$0x80, %al
	jnz	1b
	movw	$0x1f7, %dx
	inb	%dx, %al
	testb	$0x21, %al
	movb	$'e', %ah
	jnz	wrong
	ret

/* command: %al to the master, LBA %bl, %cl sectors; 48-bit registers for READ DMA EXT */
command:
	pushw	%ax
	cmpb	$0x25, %al
	movw	$0x1f6, %dx
	movb	$0xe0, %al
	outb	%al, %dx
	movw	$0x1f2, %dx
	jne	1f
	xorb	%al, %al		/* the high bytes first */
	outb	%al, %dx
	incw	%dx
	outb	%al, %dx
	incw	%dx
	outb	%al, %dx
	incw	%dx
	outb	%al, %dx
	movw	$0x1f2, %dx
1:	movb	%cl, %al
	outb	%al, %dx
	incw	%dx
	movb	%bl, %al
	outb	%al, %dx
	xorb	%al, %al
	incw	%dx
	outb	%al, %dx
	incw	%dx
	outb	%al, %dx
	movw	$0x1f7, %dx
	popw	%ax
	outb	%al, %dx
	ret

/* disk_dma: command %cl for LBA %bl by TABLE, direction %ch (8: to memory); one sector or `sectors` */
disk_dma:
	movw	$BM + 4, %dx
	movl	$TABLE, %eax
	outl	%eax, %dx
	movw	$BM + 2, %dx
	movb	$6, %al			/* clears error and interrupt */
	outb	%al, %dx
	movw	$BM, %dx
	movb	%ch, %al
	outb	%al, %dx
	pushw	%cx
	movb	%cl, %al
	movb	sectors, %cl
	testb	%cl, %cl
	jnz	1f
	movb	$1, %cl
1:	call	command
	popw	%cx
	movw	$BM, %dx
	movb	%ch, %al
	orb	$1, %al
	outb	%al, %dx
	movw	$BM + 2, %dx
2:	inb	%dx, %al
	testb	$4, %al			/* the drive's interrupt */
	jz	2b
	testb	$3, %al			/* neither active nor in error */
	movb	$'d', %ah
	jnz	wrong
	movw	$BM, %dx
	movb	%ch, %al
	outb	%al, %dx
	jmp	ready

/* find: %bp is the selector, as it stands there, of opt/code, by reading the directory */
find:
	movw	$0x510, %dx
	movw	$0x19, %ax
	outw	%ax, %dx
	incw	%dx
	movw	$ENTRY, %di
	movw	$4, %cx
	rep	insb
	movl	ENTRY, %eax
	bswapl	%eax
	movl	%eax, %ebx
1:	movb	$'f', %ah
	subl	$1, %ebx
	jc	wrong
	movw	$0x511, %dx
	movw	$ENTRY, %di
	movw	$64, %cx
	rep	insb
	movw	$ENTRY + 8, %si
	movw	$name, %di
	movw	$name_end - name, %cx
2:	lodsb
	cmpb	%cs:(%di), %al
	leaw	1(%di), %di
	loope	2b
	jne	1b
	movw	ENTRY + 4, %bp
	ret
name:	.asciz	"opt/code"
name_end:

/* prepare: ACCESS says: select %bp, read it to %di */
prepare:
	movw	%bp, %ax		/* as the directory has it: big-endian */
	movw	%ax, ACCESS
	movw	$0x0a00, ACCESS + 2
	movl	ENTRY, %eax
	movl	%eax, ACCESS + 4
	movl	$0, ACCESS + 8
	movzwl	%di, %eax
	bswapl	%eax
	movl	%eax, ACCESS + 12
	ret

/* fire: starts it, and it is done */
fire:
	movw	$0x514, %dx
	xorl	%eax, %eax
	outl	%eax, %dx
	movw	$0x518, %dx
	movl	$ACCESS, %eax
	bswapl	%eax
	outl	%eax, %dx
	cmpl	$0, ACCESS
	movb	$'w', %ah
	jne	wrong
	ret

/* self: through the jump nine times, so that its target has been decoded; the tenth time opt/code comes there */
self:
	movw	$10, %cx
1:	decw	%cx
	jnz	2f
	movl	%esi, %eax
	outl	%eax, %dx
2:	jmp	3f
	.org	self + 0x10
3:	movb	$'?', %al
	nop				/* lret, then */
	testw	%cx, %cx
	jnz	1b
	movb	$'s', %al
	lret
self_end:

	.org	0xfff0
	ljmp	$0xf000, $0
	.org	0x10000
