/*
 * tests/system/translator.S - a kernel (PVH) that enters 64-bit mode, says so on
 * COM1 and goes round in a loop for ever: all of it hot code.
 *
 * After COUNT rounds that gdb has asked for (limit) it halts for good.
 */
#define COM1	0x3f8

	.code32
	.text
	.globl start, round, work, stored, back, rounds, twice, limit
start:
	lgdt gdt_pointer
	mov $tables, %eax
	mov %eax, %cr3
	mov %cr4, %eax
	or $0x20, %eax			/* PAE */
	mov %eax, %cr4
	mov $0xc0000080, %ecx		/* EFER.LME */
	rdmsr
	or $0x100, %eax
	wrmsr
	mov %cr0, %eax
	or $0x80000000, %eax
	mov %eax, %cr0
	ljmp $8, $long

	.code64
long:
	mov $stack_top, %rsp
	mov $said, %rsi
	mov $COM1, %dx
1:	lodsb
	out %al, %dx
	test %al, %al
	jnz 1b
	.balign 16
round:
	mov rounds, %rdi
	call work
back:
	incq rounds
	mov rounds, %rax
	cmp limit, %rax
	jne round
	cli
	hlt
	.balign 16
work:
	lea (%rdi,%rdi), %rax
	mov %rax, twice
stored:
	ret

said:	.asciz "running\n"
	.balign 8
gdt:	.quad 0, 0x00af9b000000ffff
gdt_pointer: .word 15; .long gdt

	.data
	.balign 4096
tables:	.quad pointers + 3
	.fill 511, 8
pointers: .quad directory + 3
	.fill 511, 8
directory: .quad 0x83
	.fill 511, 8
	.balign 4096
rounds:	.quad 0
twice:	.quad 0
limit:	.quad 0
	.fill 1024
stack_top:

	.section .note.Xen, "a", @note
	.long 4, 4, 18
	.asciz "Xen"
	.long start
	.section .note.GNU-stack, "", @progbits
