/*
 * tests/system/direct.S - a small kernel for direct boot, in four wrappings.
 *
 *	-DPVH		ELF with a PVH note
 *	-DMULTIBOOT	ELF with a multiboot header
 *	-DFLAT		flat binary with a multiboot header that has addresses
 *	-DLINUX		bzImage of a 32-bit kernel
 *
 * Says on COM1 what it was told, spoils its own data and resets the machine;
 * says it again, which shows that it was loaded again, and halts for good.
 */
#define COM1	0x3f8
#define BASE	0x100000
#define MARK	0x9f000			/* survives the reset */
#define FLAGS	(3 | FLAT << 16)

	.code32
	.text
	.globl start
#ifdef LINUX
	.org 0x1f1
	.byte 1				/* setup_sects */
	.word 0
	.long (end - body + 15) / 16	/* syssize */
	.word 0, 0xffff, 0
	.word 0xaa55
	.byte 0xeb, 0x66		/* over the header */
	.ascii "HdrS"
	.word 0x020b
	.org 0x211
	.byte 1				/* LOADED_HIGH */
	.org 0x22c
	.long 0x7fffffff, 0x1000	/* initrd_addr_max, kernel_alignment */
	.org 0x238
	.long 255			/* cmdline_size */
	.org 0x258
	.quad BASE			/* pref_address */
	.long 0x10000			/* init_size */
	.org 0x400
#endif
body:
start:
	mov $stack_top, %esp
#ifdef LINUX
	mov %esi, %ebp
	cmpw $0xaa55, 0x1fe(%ebp)
	jne wrong
	mov $linux_name, %edi
	mov 0x228(%ebp), %eax
	mov %eax, cmdline
	mov 0x218(%ebp), %eax
	mov %eax, module
	mov 0x070(%ebp), %eax
	mov %eax, rsdp
#elif defined(PVH)
	mov $pvh_name, %edi
	cmpl $0x336ec578, (%ebx)
	jne wrong
	mov 24(%ebx), %eax
	mov %eax, cmdline
	mov 16(%ebx), %eax
	mov (%eax), %eax
	mov %eax, module
	mov 32(%ebx), %eax
	mov %eax, rsdp
#else
	cmp $0x2badb002, %eax
	jne wrong
	mov $multiboot_name, %edi
	mov 16(%ebx), %eax
	mov %eax, cmdline
	mov 24(%ebx), %eax
	mov (%eax), %eax
	mov %eax, module
#endif
	mov %edi, %esi
	call print
	mov cmdline, %esi
	call print
	mov $comma, %esi
	call print
	mov module, %esi
	call print
	mov $comma, %esi
	call print
	mov $data, %esi
	call print
	/* the segments work: reload one from the table that the loader made */
	mov %ds, %ax
	mov %ax, %es
	cmpl $0xb007, MARK
	je again
	movl $0xb007, MARK
	movl $0x78787878, data
	mov $0xcf9, %dx
	mov $6, %al
	out %al, %dx
1:	jmp 1b
again:
	mov $done, %esi
	call print
wrong:
	cli
	hlt

print:	/* the text at esi */
	lodsb
	test %al, %al
	jz 2f
	mov %al, %ah
	mov $COM1 + 5, %dx
1:	in %dx, %al
	test $0x20, %al
	jz 1b
	mov $COM1, %dx
	mov %ah, %al
	out %al, %dx
	jmp print
2:	ret

#ifndef LINUX
	.balign 4
header:
#ifndef PVH
	.long 0x1badb002, FLAGS, -(0x1badb002 + FLAGS)
	.long header, BASE, loaded, end, start
#endif
#endif
multiboot_name:	.asciz "multiboot: "
pvh_name:	.asciz "pvh: "
linux_name:	.asciz "linux: "
comma:		.asciz ", "
data:		.asciz "data\n"
done:		.asciz "done\n"
	.balign 4
cmdline:	.long 0
module:		.long 0
rsdp:		.long 0
	.balign 16
loaded:
#ifdef LINUX
	.fill 1024
stack_top:
end:
#else
	.bss
	.fill 1024
stack_top:
end:
#endif

#ifdef PVH
	.section .note.Xen, "a", @note
	.long 4, 4, 18
	.asciz "Xen"
	.long start
#endif
	.section .note.GNU-stack, "", @progbits
