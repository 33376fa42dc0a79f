/*
 * vmm/boot/load.h - what the boot protocols share: files, places in RAM, the
 * memory map, the processor's first state.
 *
 * A load claims every range of RAM that it writes; a range that is no RAM or
 * claimed already is refused, so a file decides nothing by its addresses but
 * where it lies itself.
 */
#ifndef CLEAVE_VMM_BOOT_LOAD_H
#define CLEAVE_VMM_BOOT_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mem;
struct x86_state;

enum { LOAD_MODULES = 16, LOAD_CLAIMS = 96, LOAD_RANGES = 8, LOAD_HEAD = 8192 };

#define LOAD_PAGE	4096u
#define LOAD_MIB	(1ull << 20)
#define LOAD_HIGH	(4ull << 30)	/* RAM goes on here */

struct boot_file {
	int fd;
	uint64_t size;
	const char *name;
};

struct load_module {
	struct boot_file file;
	const char *arguments;
};

struct load_claim {
	uint64_t base, len;
};

struct load {
	struct mem *mem;
	uint8_t *ram;
	uint64_t low, high;		/* RAM below and above 4 GiB, bytes */
	struct x86_state *state;
	const struct boot_file *kernel;
	const struct load_module *module;
	unsigned nmodules;
	const char *append;
	uint8_t head[LOAD_HEAD];	/* the kernel's first bytes, zeros after its end */
	struct load_claim claim[LOAD_CLAIMS];
	unsigned nclaims;
	char *err;
	size_t errlen;
};

/* Everything that can fail: 0 or -errno with the cause and the cure in l->err. */
int load_fail(struct load *, int error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* A claim where a file wants to be. */
int load_claim(struct load *, const struct boot_file *, uint64_t base, uint64_t len);
/* The highest or lowest free place in [min, max), of RAM below 4 GiB, `align` a power of two. */
int load_below(struct load *, const char *what, uint64_t min, uint64_t max, uint64_t len, uint64_t align, uint64_t *at);
int load_above(struct load *, const char *what, uint64_t min, uint64_t max, uint64_t len, uint64_t align, uint64_t *at);
/* In conventional memory: what the kernel is told.  Zeroed. */
int load_info(struct load *, const char *what, uint64_t len, uint64_t *at);
int load_text(struct load *, const char *text, uint64_t *at);

/* `n` bytes of the file at `off`; a file that ends before is damaged. */
int load_read(struct load *, const struct boot_file *, uint64_t off, void *, uint64_t n);
int load_file(struct load *, const struct boot_file *, uint64_t off, uint64_t gpa, uint64_t n);	/* to a claim */
void load_zero(struct load *, uint64_t gpa, uint64_t n);
void *load_at(struct load *, uint64_t gpa);		/* inside of a claim */

/* What the guest may use, in the order of addresses (ACPI 6.5, 15: address range types). */
enum load_type { LOAD_RAM = 1, LOAD_RESERVED = 2 };
struct load_range {
	uint64_t base, len;
	enum load_type type;
};
unsigned load_memmap(const struct load *, struct load_range [LOAD_RANGES]);

/* state.c: flat segments from a GDT in guest memory. */
enum { LOAD_CS = 0x10, LOAD_DS = 0x18, LOAD_TR = 0x20 };
int load_state32(struct load *, uint64_t entry);	/* protected mode, paging off */
int load_state64(struct load *, uint64_t entry);	/* long mode, the first 4 GiB mapped one to one */

/* The protocols.  0: it is such a file and is loaded; 1: it is none; -errno. */
int linux_load(struct load *);
int pvh_load(struct load *);
int multiboot_load(struct load *);

/* elf.c */
enum { ELF_SEGMENTS = 32 };
struct elf_segment {
	uint64_t paddr, filesz, memsz, offset;
};
struct elf {
	bool is64;
	uint64_t entry;			/* as the header has it: virtual */
	struct elf_segment segment[ELF_SEGMENTS];
	unsigned nsegments;
	bool pvh;
	uint64_t pvh_entry;
};
/* 1: no ELF file. */
int elf_parse(struct load *, struct elf *);
int elf_load(struct load *, const struct elf *);	/* claims and fills its segments */

#endif
