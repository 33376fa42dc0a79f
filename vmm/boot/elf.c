/*
 * vmm/boot/elf.c - ELF executables: segments to load, and the note with PVH's entry.
 *
 * Tool Interface Standard ELF 1.2; System V ABI, x86-64 supplement.  Segments
 * go to their physical addresses.  Xen, public/elfnote.h: PHYS32_ENTRY.
 */
#include "vmm/boot/load.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#define NOTE_NAME	"Xen"		/* with its zero: 4 bytes */
#define NOTE_PHYS32	18u

enum { NOTES_MAX = 64 * 1024, PHDRS_MAX = 64 };

static int damaged(struct load *l, const char *what)
{
	return load_fail(l, -EINVAL, "%s: %s; the file is damaged", l->kernel->name, what);
}

/* One note at a time; sizes in a note are multiples of 4 once padded. */
static void find_entry(struct elf *e, const uint8_t *notes, uint64_t n)
{
	Elf32_Nhdr h;
	uint64_t at = 0, name, desc, next;

	while (n - at >= sizeof(h)) {
		memcpy(&h, notes + at, sizeof(h));
		name = at + sizeof(h);
		desc = name + ((uint64_t)h.n_namesz + 3) / 4 * 4;
		next = desc + ((uint64_t)h.n_descsz + 3) / 4 * 4;
		if (desc > n || h.n_descsz > n - desc)
			return;
		if (h.n_type == NOTE_PHYS32 && h.n_namesz == sizeof(NOTE_NAME) && !memcmp(notes + name, NOTE_NAME, sizeof(NOTE_NAME)) &&
		    (h.n_descsz == 4 || h.n_descsz == 8)) {
			e->pvh = true;
			e->pvh_entry = 0;
			memcpy(&e->pvh_entry, notes + desc, h.n_descsz);
		}
		if (next > n)
			return;
		at = next;
	}
}

static int read_notes(struct load *l, struct elf *e, uint64_t offset, uint64_t bytes)
{
	static uint8_t notes[NOTES_MAX];	/* the main thread's */
	int ret;

	if (bytes > sizeof(notes))
		return damaged(l, "more than 64 KiB of notes");
	ret = load_read(l, l->kernel, offset, notes, bytes);
	if (!ret)
		find_entry(e, notes, bytes);
	return ret;
}

static int add_segment(struct load *l, struct elf *e, const Elf64_Phdr *p)
{
	if (p->p_type == PT_NOTE)
		return read_notes(l, e, p->p_offset, p->p_filesz);
	if (p->p_type != PT_LOAD || !p->p_memsz)
		return 0;
	if (e->nsegments == ELF_SEGMENTS)
		return damaged(l, "more than 32 segments to load");
	if (p->p_filesz > p->p_memsz)
		return damaged(l, "a segment has more bytes in the file than in memory");
	e->segment[e->nsegments++] = (struct elf_segment){
		.paddr = p->p_paddr, .filesz = p->p_filesz, .memsz = p->p_memsz, .offset = p->p_offset };
	return 0;
}

/* The program header at `offset`, in the wide form. */
static int read_phdr(struct load *l, bool is64, uint64_t offset, Elf64_Phdr *to)
{
	Elf32_Phdr p;
	int ret;

	if (is64)
		return load_read(l, l->kernel, offset, to, sizeof(*to));
	ret = load_read(l, l->kernel, offset, &p, sizeof(p));
	if (!ret)
		*to = (Elf64_Phdr){ .p_type = p.p_type, .p_offset = p.p_offset, .p_paddr = p.p_paddr,
				    .p_filesz = p.p_filesz, .p_memsz = p.p_memsz };
	return ret;
}

/* The file's header, in the wide form. */
static void widen(const struct load *l, bool is64, Elf64_Ehdr *to)
{
	Elf32_Ehdr h;

	memcpy(to, l->head, sizeof(*to));
	memcpy(&h, l->head, sizeof(h));
	if (!is64)
		*to = (Elf64_Ehdr){ .e_type = h.e_type, .e_machine = h.e_machine, .e_entry = h.e_entry, .e_phoff = h.e_phoff,
				    .e_phentsize = h.e_phentsize, .e_phnum = h.e_phnum };
}

int elf_parse(struct load *l, struct elf *e)
{
	Elf64_Ehdr h;
	Elf64_Phdr p;
	int ret = 0;

	*e = (struct elf){ .is64 = l->head[EI_CLASS] == ELFCLASS64 };
	if (memcmp(l->head, ELFMAG, SELFMAG))
		return 1;
	if ((!e->is64 && l->head[EI_CLASS] != ELFCLASS32) || l->head[EI_DATA] != ELFDATA2LSB)
		return damaged(l, "neither a 32-bit nor a 64-bit little-endian ELF file");
	widen(l, e->is64, &h);
	if (h.e_machine != (e->is64 ? EM_X86_64 : EM_386))
		return load_fail(l, -ENOEXEC, "%s: an ELF file for another processor (machine %u)", l->kernel->name, h.e_machine);
	if (h.e_phnum > PHDRS_MAX || h.e_phentsize != (e->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)))
		return damaged(l, "its program headers make no sense");
	e->entry = h.e_entry;
	for (unsigned i = 0; i < h.e_phnum && !ret; i++) {
		if (h.e_phoff > l->kernel->size)
			return damaged(l, "its program headers lie behind its end");
		ret = read_phdr(l, e->is64, h.e_phoff + (uint64_t)i * h.e_phentsize, &p);
		if (!ret)
			ret = add_segment(l, e, &p);
	}
	return ret;
}

int elf_load(struct load *l, const struct elf *e)
{
	int ret = e->nsegments ? 0 : damaged(l, "it has nothing to load");

	for (unsigned i = 0; i < e->nsegments && !ret; i++) {
		const struct elf_segment *s = &e->segment[i];

		ret = load_claim(l, l->kernel, s->paddr, s->memsz);
		if (!ret)
			ret = load_file(l, l->kernel, s->offset, s->paddr, s->filesz);
		if (!ret)
			load_zero(l, s->paddr + s->filesz, s->memsz - s->filesz);
	}
	return ret;
}
