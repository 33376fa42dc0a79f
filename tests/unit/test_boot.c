/* Direct boot: what each protocol finds in RAM and registers, and what is refused, by made-up kernels. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/direct.h"
#include "vmm/boot/boot.h"
#include "vmm/mem.h"
#include "vmm/x86/state.h"

#define MIB	(1ull << 20)
#define GIB	(1ull << 30)

enum { FILE_MAX = 256 * 1024 };

static char err[512];
static uint8_t file[FILE_MAX];
static struct mem *mem;
static struct x86_state state;
static char kernel_path[64], initrd_path[64];

/* ---- the made-up files */

static void put(unsigned at, unsigned size, uint64_t v)
{
	memcpy(file + at, &v, size);
}

static void save(char *path, const char *name, const void *bytes, size_t n)
{
	char made[64];
	int fd = memfd_create(name, 0);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), (ssize_t)n);
	snprintf(made, sizeof(made), "/proc/self/fd/%d", fd);
	snprintf(path, sizeof(kernel_path), "%s", made);
}

static uint64_t guest(uint64_t gpa, unsigned size)
{
	uint64_t v = 0;

	assert_true(gpa + size <= mem_ram_bytes(mem));
	memcpy(&v, mem_ram(mem) + gpa, size);
	return v;
}

static const char *guest_text(uint64_t gpa)
{
	return (const char *)mem_ram(mem) + gpa;
}

static void close_path(char *path)
{
	int fd;

	if (sscanf(path, "/proc/self/fd/%d", &fd) == 1)
		close(fd);
	*path = 0;
}

static int load(uint64_t ram, size_t n, const char *initrd, const char *append)
{
	struct boot *b;
	int ret;

	*err = 0;
	close_path(kernel_path);
	save(kernel_path, "kernel", file, n);
	mem_free(mem);
	assert_int_equal(mem_new(&mem, ram, err, sizeof(err)), 0);
	memset(&state, 0x5a, sizeof(state));
	ret = boot_new(&b, kernel_path, initrd, append, err, sizeof(err));
	if (!ret) {
		ret = boot_load(b, mem, &state, err, sizeof(err));
		boot_free(b);
	}
	return ret;
}

static void refused(uint64_t ram, size_t n, const char *initrd, const char *append, int error, const char *why)
{
	assert_int_equal(load(ram, n, initrd, append), error);
	if (!strstr(err, why))
		fail_msg("refused for another reason: %s", err);
}

static int end(void **s)
{
	(void)s;
	close_path(kernel_path);
	close_path(initrd_path);
	mem_free(mem);
	mem = NULL;
	return 0;
}

static void is_flat(bool is64)
{
	for (unsigned i = 0; i < X86_LDTR; i++) {
		assert_int_equal(state.seg[i].base, 0);
		assert_int_equal(state.seg[i].limit, ~0u);
		assert_int_equal(state.seg[i].selector, i == X86_CS ? 0x10 : 0x18);
	}
	assert_int_equal(state.seg[X86_CS].attr & (X86_ATTR_L | X86_ATTR_DB), is64 ? X86_ATTR_L : X86_ATTR_DB);
	assert_int_equal(state.seg[X86_TR].attr, 0x8b);
	assert_int_equal(state.seg[X86_TR].limit, 0x67);
	assert_int_equal(state.rflags, 2);
	assert_int_equal(state.mtrr_def_type, 0x806);
	assert_int_equal(state.cpl, 0);
	assert_false(state.halted || state.sti_shadow || state.nmi_blocked);
	/* The descriptors that are in the registers are also in the table. */
	assert_int_equal(guest(state.gdtr.base + 0x10, 8), is64 ? 0x00af9b000000ffff : 0x00cf9b000000ffff);
	assert_int_equal(guest(state.gdtr.base + 0x18, 8), 0x00cf93000000ffff);
}

/* ---- Linux */

enum { SETUP = 2 * 512, BODY = 4096, LINUX = SETUP + BODY };

/* A bzImage of protocol 2.15 with one setup sector; its body begins with "BODY". */
static size_t make_linux(bool is64)
{
	memset(file, 0, sizeof(file));
	put(0x1f1, 1, 1);
	put(0x1f4, 4, BODY / 16);
	put(0x1fe, 2, 0xaa55);
	put(0x200, 2, 0x6aeb);		/* jmp over the header */
	put(0x202, 4, 0x53726448);
	put(0x206, 2, 0x20f);
	put(0x211, 1, 1);
	put(0x22c, 4, 0x7fffffff);
	put(0x230, 4, 0x200000);
	put(0x234, 1, 1);
	put(0x236, 2, is64 ? 3 : 0);
	put(0x238, 4, 2047);
	put(0x258, 8, 16 * MIB);
	put(0x260, 4, 4 * MIB);
	memcpy(file + SETUP, "BODY", 4);
	return LINUX;
}

static void linux_64(void **s)
{
	const char initrd[] = "an initramfs";
	uint64_t zero, at;
	unsigned n;

	(void)s;
	save(initrd_path, "initrd", initrd, sizeof(initrd));
	assert_int_equal(load(512 * MIB, make_linux(true), initrd_path, "console=ttyS0"), 0);
	assert_int_equal(state.rip, 16 * MIB + 0x200);
	assert_int_equal(guest(16 * MIB, 4), 0x59444f42);
	is_flat(true);
	assert_int_equal(state.cr0, 0x80000011);
	assert_int_equal(state.cr4, 0x20);
	assert_int_equal(state.efer, 0x500);
	/* 4 GiB one to one: the first and the last page of 2 MiB */
	at = guest(state.cr3, 8);
	assert_int_equal(at & 0xfff, 3);
	assert_int_equal(guest(guest(at & ~0xfffull, 8) & ~0xfffull, 8), 0x83);
	assert_int_equal(guest((guest((at & ~0xfffull) + 24, 8) & ~0xfffull) + 511 * 8, 8), 0xffe00083);

	zero = state.gpr[X86_RSI];
	assert_in_range(zero, 0x1000, BOOT_EBDA - 4096);
	assert_int_equal(guest(zero + 0x1fe, 2), 0xaa55);
	assert_int_equal(guest(zero + 0x202, 4), 0x53726448);
	assert_int_equal(guest(zero + 0x210, 1), 0xff);
	assert_int_equal(guest(zero + 0x070, 8), DIRECT_RSDP);
	assert_int_equal(guest(zero + 0x1ef, 1), 0);		/* the sentinel */
	assert_int_equal(guest(zero + 0x214, 4), 16 * MIB);
	assert_string_equal(guest_text(guest(zero + 0x228, 4)), "console=ttyS0");
	at = guest(zero + 0x218, 4);
	assert_int_equal(guest(zero + 0x21c, 4), sizeof(initrd));
	assert_int_equal(at, 512 * MIB - 4096);
	assert_string_equal(guest_text(at), initrd);
	at = guest(zero + 0x250, 8);
	assert_int_equal(guest(at, 8), 0);
	assert_int_equal(guest(at + 8, 4), 9);			/* SETUP_RNG_SEED */
	assert_int_equal(guest(at + 12, 4), 32);
	for (n = 0; n < 32 && !guest(at + 16 + n, 1); n++)
		;
	assert_true(n < 32);
}

/* What the zero page says of [base, base + len). */
static void is_e820(uint64_t zero, unsigned i, uint64_t base, uint64_t len, unsigned type)
{
	assert_true(i < guest(zero + 0x1e8, 1));
	assert_int_equal(guest(zero + 0x2d0 + i * 20, 8), base);
	assert_int_equal(guest(zero + 0x2d0 + i * 20 + 8, 8), len);
	assert_int_equal(guest(zero + 0x2d0 + i * 20 + 16, 4), type);
}

static void linux_e820(void **s)
{
	uint64_t zero;

	(void)s;
	assert_int_equal(load(64 * MIB, make_linux(true), NULL, NULL), 0);
	zero = state.gpr[X86_RSI];
	assert_int_equal(guest(zero + 0x1e8, 1), 4);
	is_e820(zero, 0, 0, 0x9fc00, 1);
	is_e820(zero, 1, 0x9fc00, 0x400, 2);
	is_e820(zero, 2, 0xe0000, 0x20000, 2);
	is_e820(zero, 3, MIB, 63 * MIB, 1);
	assert_int_equal(guest(0x40e, 2), 0x9fc0);
	assert_int_equal(guest(0x413, 2), 639);
}

/* Untouched memory costs nothing: 6 GiB on any host. */
static void linux_above_4g(void **s)
{
	uint64_t zero;
	int ret;

	(void)s;
	make_linux(true);
	if (mem_new(&mem, 6 * GIB, err, sizeof(err)))
		skip();		/* a host with less memory and swap */
	mem_free(mem);
	mem = NULL;
	ret = load(6 * GIB, LINUX, NULL, NULL);
	assert_int_equal(ret, 0);
	zero = state.gpr[X86_RSI];
	assert_int_equal(guest(zero + 0x1e8, 1), 5);
	is_e820(zero, 3, MIB, MEM_LOW_MAX - MIB, 1);
	is_e820(zero, 4, 4 * GIB, 6 * GIB - MEM_LOW_MAX, 1);
}

static void linux_32(void **s)
{
	(void)s;
	assert_int_equal(load(64 * MIB, make_linux(false), NULL, NULL), 0);
	assert_int_equal(state.rip, 16 * MIB);
	is_flat(false);
	assert_int_equal(state.cr0, 0x11);
	assert_int_equal(state.cr4, 0);
	assert_int_equal(state.efer, 0);
	assert_int_equal(state.gpr[X86_RBX] | state.gpr[X86_RBP] | state.gpr[X86_RDI], 0);
}

/* Protocol 2.02 has neither a preferred address nor setup data. */
static void linux_old(void **s)
{
	uint64_t zero;

	(void)s;
	make_linux(true);
	put(0x206, 2, 0x202);
	put(0x250, 8, 0x1234);
	assert_int_equal(load(64 * MIB, LINUX, NULL, "x"), 0);
	zero = state.gpr[X86_RSI];
	assert_int_equal(state.rip, MIB);
	assert_int_equal(guest(MIB, 4), 0x59444f42);
	assert_int_equal(guest(zero + 0x250, 8), 0x1234);
}

static void linux_refused(void **s)
{
	char line[3000];

	(void)s;
	make_linux(true);
	refused(16 * MIB, LINUX, NULL, NULL, -ENOMEM, "give more with -m");
	refused(64 * MIB, LINUX - 17, NULL, NULL, -EINVAL, "cut short");
	refused(64 * MIB, SETUP, NULL, NULL, -EINVAL, "cut short");
	memset(line, 'a', sizeof(line) - 1);
	line[sizeof(line) - 1] = 0;
	refused(64 * MIB, LINUX, NULL, line, -E2BIG, "takes 2047");
	save(initrd_path, "initrd", file, FILE_MAX);
	put(0x22c, 4, MIB + FILE_MAX - 4096 - 1);
	refused(64 * MIB, LINUX, initrd_path, NULL, -ENOMEM, "no room");
	refused(64 * MIB, LINUX, "/nowhere/initrd", NULL, -ENOENT, "initramfs /nowhere/initrd");
	put(0x258, 8, 4 * GIB);
	refused(64 * MIB, LINUX, NULL, NULL, -EINVAL, "damaged");
	put(0x206, 2, 0x201);
	refused(64 * MIB, LINUX, NULL, NULL, -ENOTSUP, "2.02");
	make_linux(true);
	put(0x211, 1, 0);
	refused(64 * MIB, LINUX, NULL, NULL, -ENOTSUP, "zImage");
}

/* ---- PVH */

enum { NOTE_AT = 0x200, TEXT_AT = 0x1000, TEXT = 0x800, PVH = TEXT_AT + TEXT };

static void segment64(unsigned i, Elf64_Phdr p)
{
	memcpy(file + sizeof(Elf64_Ehdr) + i * sizeof(p), &p, sizeof(p));
}

static size_t make_pvh(void)
{
	const Elf64_Ehdr h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT }, .e_type = ET_EXEC,
		.e_machine = EM_X86_64, .e_phoff = sizeof(h), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2 };

	memset(file, 0, sizeof(file));
	memcpy(file, &h, sizeof(h));
	segment64(0, (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = TEXT_AT, .p_vaddr = ~0xffffffull, .p_paddr = 2 * MIB, .p_filesz = TEXT, .p_memsz = 0x10000 });
	segment64(1, (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = NOTE_AT, .p_filesz = 0x100 });
	/* another note first, whose name and content want padding */
	put(NOTE_AT, 4, 5), put(NOTE_AT + 4, 4, 3), put(NOTE_AT + 8, 4, 18);
	memcpy(file + NOTE_AT + 12, "GNUX", 5);
	put(NOTE_AT + 24, 4, 4), put(NOTE_AT + 28, 4, 8), put(NOTE_AT + 32, 4, 18);
	memcpy(file + NOTE_AT + 36, "Xen", 4);
	put(NOTE_AT + 40, 8, 2 * MIB + 0x40);
	memcpy(file + TEXT_AT, "TEXT", 4);
	return PVH;
}

static void pvh(void **s)
{
	const char initrd[] = "a module";
	uint64_t info, at;

	(void)s;
	save(initrd_path, "initrd", initrd, sizeof(initrd));
	assert_int_equal(load(64 * MIB, make_pvh(), initrd_path, "root=/dev/ram"), 0);
	assert_int_equal(state.rip, 2 * MIB + 0x40);
	assert_int_equal(guest(2 * MIB, 4), 0x54584554);
	is_flat(false);
	assert_int_equal(state.cr0, 0x11);
	info = state.gpr[X86_RBX];
	assert_int_equal(guest(info, 4), 0x336ec578);
	assert_int_equal(guest(info + 4, 4), 1);
	assert_int_equal(guest(info + 12, 4), 1);
	at = guest(info + 16, 8);
	assert_string_equal(guest_text(guest(at, 8)), initrd);
	assert_int_equal(guest(at + 8, 8), sizeof(initrd));
	assert_string_equal(guest_text(guest(info + 24, 8)), "root=/dev/ram");
	assert_int_equal(guest(info + 32, 8), DIRECT_RSDP);
	at = guest(info + 40, 8);
	assert_int_equal(guest(info + 48, 4), 4);
	assert_int_equal(guest(at + 3 * 24, 8), MIB);
	assert_int_equal(guest(at + 3 * 24 + 8, 8), 63 * MIB);
	assert_int_equal(guest(at + 3 * 24 + 16, 4), 1);
}

/* A second load, as after a reset, leaves nothing of what the guest wrote: its bss is zero again. */
static void loads_again(void **s)
{
	struct boot *b;

	(void)s;
	assert_int_equal(load(64 * MIB, make_pvh(), NULL, NULL), 0);
	memset(mem_ram(mem) + 2 * MIB, 0xcc, 0x10000);
	assert_int_equal(boot_new(&b, kernel_path, NULL, NULL, err, sizeof(err)), 0);
	assert_int_equal(boot_load(b, mem, &state, err, sizeof(err)), 0);
	assert_int_equal(guest(2 * MIB, 4), 0x54584554);
	for (unsigned i = TEXT; i < 0x10000; i++)
		assert_int_equal(guest(2 * MIB + i, 1), 0);
	/* and a file that has become shorter is an error, not a signal */
	assert_int_equal(truncate(kernel_path, TEXT_AT), 0);
	assert_int_equal(boot_load(b, mem, &state, err, sizeof(err)), -EIO);
	boot_free(b);
}

static void pvh_refused(void **s)
{
	(void)s;
	make_pvh();
	refused(64 * MIB, PVH - 1, NULL, NULL, -EINVAL, "cut short");
	refused(64 * MIB, 100, NULL, NULL, -EINVAL, "cut short");
	refused(2 * MIB, PVH, NULL, NULL, -ENOMEM, "give more with -m");
	put(NOTE_AT + 40, 8, 3 * MIB);
	refused(64 * MIB, PVH, NULL, NULL, -EINVAL, "entry 0x300000 lies outside");
	put(NOTE_AT + 32, 4, 17);
	refused(64 * MIB, PVH, NULL, NULL, -ENOEXEC, "neither a PVH entry");
	make_pvh();
	segment64(1, (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = 0, .p_paddr = 2 * MIB + 0xffff, .p_filesz = 1, .p_memsz = 1 });
	refused(64 * MIB, PVH, NULL, NULL, -ENOEXEC, "neither a PVH entry");	/* the note went */
	make_pvh();
	segment64(0, (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = TEXT_AT, .p_paddr = 0xa0000 - 0x10, .p_filesz = TEXT, .p_memsz = TEXT });
	put(NOTE_AT + 40, 8, 0xa0000);
	refused(64 * MIB, PVH, NULL, NULL, -EINVAL, "no free RAM");
	segment64(0, (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = TEXT_AT, .p_paddr = 0x400, .p_filesz = TEXT, .p_memsz = TEXT });
	put(NOTE_AT + 40, 8, 0x400);
	refused(64 * MIB, PVH, NULL, NULL, -EINVAL, "no free RAM");
	make_pvh();
	put(offsetof(Elf64_Ehdr, e_machine), 2, EM_AARCH64);
	refused(64 * MIB, PVH, NULL, NULL, -ENOEXEC, "another processor");
}

static void segments_overlap(void **s)
{
	(void)s;
	make_pvh();
	put(offsetof(Elf64_Ehdr, e_phnum), 2, 3);
	segment64(2, (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = 0, .p_paddr = 2 * MIB + 0xffff, .p_filesz = 1, .p_memsz = 1 });
	/* the note lies behind the third header, not in it */
	assert_true(sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Phdr) <= NOTE_AT);
	refused(64 * MIB, PVH, NULL, NULL, -EINVAL, "two of its pieces");
	segment64(2, (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = 0, .p_paddr = 2 * MIB + 0x10000, .p_filesz = 1, .p_memsz = 1 });
	assert_int_equal(load(64 * MIB, PVH, NULL, NULL), 0);
}

/* ---- multiboot */

enum { HEADER_AT = 0x40, FLAT = 0x1000 };

static void multiboot_header(unsigned at, uint32_t flags)
{
	put(at, 4, 0x1badb002);
	put(at + 4, 4, flags);
	put(at + 8, 4, -(0x1badb002u + flags));
}

static size_t make_flat(void)
{
	memset(file, 0, sizeof(file));
	multiboot_header(HEADER_AT, 1 << 16 | 3);
	put(HEADER_AT + 12, 4, MIB + 0x20);	/* so the file's byte 20h is loaded first */
	put(HEADER_AT + 16, 4, MIB);
	put(HEADER_AT + 20, 4, MIB + 0x800);
	put(HEADER_AT + 24, 4, MIB + 0x3000);
	put(HEADER_AT + 28, 4, MIB + 0x100);
	memcpy(file + 0x20, "FLAT", 4);
	return FLAT;
}

static void multiboot_flat(void **s)
{
	uint64_t info, mods, map;
	char list[200];

	(void)s;
	save(initrd_path, "module", "first", 6);
	snprintf(list, sizeof(list), "%s one,,two,%s", initrd_path, initrd_path);
	assert_int_equal(load(64 * MIB, make_flat(), list, "verbose"), 0);
	assert_int_equal(state.gpr[X86_RAX], 0x2badb002);
	assert_int_equal(state.rip, MIB + 0x100);
	is_flat(false);
	assert_int_equal(guest(MIB, 4), 0x54414c46);
	info = state.gpr[X86_RBX];
	assert_int_equal(guest(info, 4) & 0x4d, 0x4d);
	assert_int_equal(guest(info + 4, 4), 639);
	assert_int_equal(guest(info + 8, 4), 63 * 1024);
	assert_non_null(strstr(guest_text(guest(info + 16, 4)), " verbose"));
	assert_int_equal(guest(info + 20, 4), 2);
	mods = guest(info + 24, 4);
	assert_true(guest(mods, 4) >= MIB + 0x3000);
	assert_int_equal(guest(mods, 4) % 4096, 0);
	assert_int_equal(guest(mods + 4, 4) - guest(mods, 4), 6);
	assert_string_equal(guest_text(guest(mods, 4)), "first");
	assert_non_null(strstr(guest_text(guest(mods + 8, 4)), " one,two"));
	assert_true(guest(mods + 16, 4) >= guest(mods + 4, 4));
	assert_int_equal(guest(info + 44, 4), 4 * 24);
	map = guest(info + 48, 4);
	assert_int_equal(guest(map + 3 * 24, 4), 20);
	assert_int_equal(guest(map + 3 * 24 + 4, 8), MIB);
	assert_int_equal(guest(map + 3 * 24 + 20, 4), 1);
	assert_string_equal(guest_text(guest(info + 64, 4)), "cleave");
}

static size_t make_elf32(void)
{
	const Elf32_Ehdr h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT }, .e_type = ET_EXEC,
		.e_machine = EM_386, .e_phoff = sizeof(h), .e_phentsize = sizeof(Elf32_Phdr), .e_phnum = 1, .e_entry = MIB + 0x10 };
	const Elf32_Phdr p = { .p_type = PT_LOAD, .p_offset = 0, .p_paddr = MIB, .p_filesz = 0x400, .p_memsz = 0x5000 };

	memset(file, 0, sizeof(file));
	memcpy(file, &h, sizeof(h));
	memcpy(file + sizeof(h), &p, sizeof(p));
	multiboot_header(0x100, 3);
	return 0x400;
}

static void multiboot_elf(void **s)
{
	(void)s;
	assert_int_equal(load(64 * MIB, make_elf32(), NULL, NULL), 0);
	assert_int_equal(state.rip, MIB + 0x10);
	assert_int_equal(guest(MIB + 0x100, 4), 0x1badb002);
	assert_int_equal(guest(state.gpr[X86_RBX] + 20, 4), 0);
}

static void multiboot_refused(void **s)
{
	(void)s;
	make_flat();
	multiboot_header(HEADER_AT, 1 << 16 | 1 << 2);
	refused(64 * MIB, FLAT, NULL, NULL, -ENOTSUP, "video mode");
	multiboot_header(HEADER_AT, 1 << 16 | 1 << 5);
	refused(64 * MIB, FLAT, NULL, NULL, -ENOTSUP, "demands what is not offered");
	make_flat();
	put(HEADER_AT + 8, 4, 0);
	refused(64 * MIB, FLAT, NULL, NULL, -ENOEXEC, "no kernel");
	make_flat();
	put(HEADER_AT + 12, 4, MIB + HEADER_AT + 4);
	refused(64 * MIB, FLAT, NULL, NULL, -EINVAL, "before its first byte");
	make_flat();
	put(HEADER_AT + 20, 4, MIB + FLAT);
	refused(64 * MIB, FLAT, NULL, NULL, -EINVAL, "longer than it is");
	make_flat();
	put(HEADER_AT + 24, 4, MIB + 1);
	refused(64 * MIB, FLAT, NULL, NULL, -EINVAL, "data end before");
	make_flat();
	put(HEADER_AT + 28, 4, MIB + 0x3000);
	refused(64 * MIB, FLAT, NULL, NULL, -EINVAL, "entered outside");
	refused(64 * MIB, make_flat(), "/nowhere/a b,/nowhere/c", NULL, -ENOENT, "/nowhere/a");
}

static void others_refused(void **s)
{
	(void)s;
	memset(file, 0, sizeof(file));
	refused(64 * MIB, 512, NULL, NULL, -ENOEXEC, "no kernel");
	refused(64 * MIB, 1, NULL, NULL, -ENOEXEC, "no kernel");
	refused(64 * MIB, 0, NULL, NULL, -EINVAL, "empty");
	memcpy(file, "\x1f\x8b", 2);
	refused(64 * MIB, 512, NULL, NULL, -ENOEXEC, "gzip");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(linux_64, end),
		cmocka_unit_test_teardown(linux_e820, end),
		cmocka_unit_test_teardown(linux_above_4g, end),
		cmocka_unit_test_teardown(linux_32, end),
		cmocka_unit_test_teardown(linux_old, end),
		cmocka_unit_test_teardown(linux_refused, end),
		cmocka_unit_test_teardown(pvh, end),
		cmocka_unit_test_teardown(loads_again, end),
		cmocka_unit_test_teardown(pvh_refused, end),
		cmocka_unit_test_teardown(segments_overlap, end),
		cmocka_unit_test_teardown(multiboot_flat, end),
		cmocka_unit_test_teardown(multiboot_elf, end),
		cmocka_unit_test_teardown(multiboot_refused, end),
		cmocka_unit_test_teardown(others_refused, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
