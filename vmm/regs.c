/*
 * vmm/regs.c - names of registers and where they stand in struct x86_state.
 */
#include <errno.h>
#include <string.h>

#include "proto/names.h"
#include "vmm/regs.h"

#define AT(field) offsetof(struct x86_state, field)

const struct reg_row reg_table[] = {
	{ "rax", AT(gpr[X86_RAX]), 8 }, { "rbx", AT(gpr[X86_RBX]), 8 },
	{ "rcx", AT(gpr[X86_RCX]), 8 }, { "rdx", AT(gpr[X86_RDX]), 8 },
	{ "rsi", AT(gpr[X86_RSI]), 8 }, { "rdi", AT(gpr[X86_RDI]), 8 },
	{ "rbp", AT(gpr[X86_RBP]), 8 }, { "rsp", AT(gpr[X86_RSP]), 8 },
	{ "r8", AT(gpr[X86_R8]), 8 }, { "r9", AT(gpr[X86_R9]), 8 },
	{ "r10", AT(gpr[X86_R10]), 8 }, { "r11", AT(gpr[X86_R11]), 8 },
	{ "r12", AT(gpr[X86_R12]), 8 }, { "r13", AT(gpr[X86_R13]), 8 },
	{ "r14", AT(gpr[X86_R14]), 8 }, { "r15", AT(gpr[X86_R15]), 8 },
	{ "rip", AT(rip), 8 }, { "rflags", AT(rflags), 8 },
	{ "cr0", AT(cr0), 8 }, { "cr2", AT(cr2), 8 },
	{ "cr3", AT(cr3), 8 }, { "cr4", AT(cr4), 8 }, { "cr8", AT(cr8), 8 },
	{ "efer", AT(efer), 8 }, { "xcr0", AT(xcr0), 8 },
	{ "dr0", AT(dr[0]), 8 }, { "dr1", AT(dr[1]), 8 }, { "dr2", AT(dr[2]), 8 },
	{ "dr3", AT(dr[3]), 8 }, { "dr6", AT(dr[6]), 8 }, { "dr7", AT(dr[7]), 8 },
	{ "tsc", AT(tsc), 8 },
	{ "sysenter_cs", AT(sysenter_cs), 8 }, { "sysenter_esp", AT(sysenter_esp), 8 },
	{ "sysenter_eip", AT(sysenter_eip), 8 },
	{ "star", AT(star), 8 }, { "lstar", AT(lstar), 8 }, { "cstar", AT(cstar), 8 }, { "sfmask", AT(sfmask), 8 },
	{ "fs_base", AT(seg[X86_FS].base), 8 }, { "gs_base", AT(seg[X86_GS].base), 8 },
	{ "kernel_gs_base", AT(kernel_gs_base), 8 }, { "tsc_aux", AT(tsc_aux), 8 }, { "pat", AT(pat), 8 },
	{ "mtrr_def_type", AT(mtrr_def_type), 8 },
	{ "cs", AT(seg[X86_CS].selector), 2 }, { "ds", AT(seg[X86_DS].selector), 2 },
	{ "es", AT(seg[X86_ES].selector), 2 }, { "fs", AT(seg[X86_FS].selector), 2 },
	{ "gs", AT(seg[X86_GS].selector), 2 }, { "ss", AT(seg[X86_SS].selector), 2 },
	{ "tr", AT(seg[X86_TR].selector), 2 }, { "ldtr", AT(seg[X86_LDTR].selector), 2 },
	{ NULL, 0, 0 },
};

const struct desc_row desc_table[] = {
	{ "cs", AT(seg[X86_CS]), false }, { "ds", AT(seg[X86_DS]), false },
	{ "es", AT(seg[X86_ES]), false }, { "fs", AT(seg[X86_FS]), false },
	{ "gs", AT(seg[X86_GS]), false }, { "ss", AT(seg[X86_SS]), false },
	{ "tr", AT(seg[X86_TR]), false }, { "ldtr", AT(seg[X86_LDTR]), false },
	{ "gdtr", AT(gdtr), true }, { "idtr", AT(idtr), true },
	{ NULL, 0, false },
};

const struct reg_row *reg_find(const char *name)
{
	for (const struct reg_row *r = reg_table; r->name; r++)
		if (!strcmp(r->name, name))
			return r;
	return NULL;
}

const struct desc_row *desc_find(const char *name)
{
	for (const struct desc_row *d = desc_table; d->name; d++)
		if (!strcmp(d->name, name))
			return d;
	return NULL;
}

uint64_t reg_get(const struct x86_state *s, const struct reg_row *r)
{
	uint64_t value = 0;

	memcpy(&value, (const char *)s + r->offset, r->width);	/* the host is little-endian, as the guest */
	return value;
}

int reg_set(struct x86_state *s, const struct reg_row *r, uint64_t value)
{
	if (r->width < 8 && value >> (8 * r->width))
		return -ERANGE;
	memcpy((char *)s + r->offset, &value, r->width);
	return 0;
}

const char *reg_hint(const char *name, char *to, size_t n)
{
	struct names_hint h;

	names_begin(&h, name);
	for (const struct reg_row *r = reg_table; r->name; r++)
		names_offer(&h, r->name);
	return names_hint(&h, to, n);
}

const char *desc_hint(const char *name, char *to, size_t n)
{
	struct names_hint h;

	names_begin(&h, name);
	for (const struct desc_row *d = desc_table; d->name; d++)
		names_offer(&h, d->name);
	return names_hint(&h, to, n);
}
