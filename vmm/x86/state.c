/*
 * vmm/x86/state.c - which states a processor can hold.  SDM vol. 3 ch. 2.5, 2.6, 4.1.
 */
#include "vmm/x86/control.h"
#include "vmm/x86/flags.h"
#include "vmm/x86/msr.h"
#include "vmm/x86/state.h"

#define RFLAGS_DEFINED	0x3f7fd7ull

/* The address registers' upper halves, where there is no long mode to use them. */
static bool wide(const struct x86_state *s)
{
	uint64_t all = s->rip | s->cr3 | s->gdtr.base | s->idtr.base;

	for (unsigned i = 0; i < X86_SEGS; i++)
		all |= s->seg[i].base;
	return all >> 32;
}

static bool canonical_state(const struct x86_state *s)
{
	const uint64_t at[] = { s->gdtr.base, s->idtr.base, s->seg[X86_FS].base, s->seg[X86_GS].base, s->seg[X86_LDTR].base,
		s->seg[X86_TR].base, s->kernel_gs_base, s->lstar, s->cstar, s->sysenter_esp, s->sysenter_eip };
	unsigned unused = s->cr4 & X86_CR4_LA57 ? 7 : 16;

	for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++)
		if ((uint64_t)((int64_t)(at[i] << unused) >> unused) != at[i])
			return false;
	return true;
}

/* EFER and what goes with it. */
static bool possible_mode(const struct x86_state *s, const struct x86_limits *l)
{
	bool on = (s->efer & X86_EFER_LME) && (s->cr0 & X86_CR0_PG);

	if ((s->efer & ~l->efer) || on != !!(s->efer & X86_EFER_LMA))
		return false;
	if (!on)
		return !wide(s) && !(s->cr4 & X86_CR4_PCIDE);
	return (s->cr4 & X86_CR4_PAE) && !(s->rflags & X86_RFLAGS_VM) && !(s->cr3 >> l->phys_bits)
		&& (s->seg[X86_CS].attr & (X86_ATTR_L | X86_ATTR_DB)) != (X86_ATTR_L | X86_ATTR_DB);
}

bool x86_state_possible(const struct x86_state *s, const struct x86_limits *l)
{
	if (s->cr0 >> 32 || s->cr8 > 15 || s->cpl > 3 || s->sfmask >> 32 || s->tsc_aux >> 32 || s->sysenter_cs >> 32)
		return false;
	if ((s->cr0 & X86_CR0_PG) && !(s->cr0 & X86_CR0_PE))
		return false;
	if ((s->cr0 & X86_CR0_NW) && !(s->cr0 & X86_CR0_CD))
		return false;
	if ((s->xcr0 & ~l->xcr0) || (s->xcr0 & (X86_XSTATE_SSE | X86_XSTATE_AVX)) == X86_XSTATE_AVX)
		return false;
	if (!x86_types_valid(s->pat, X86_PAT_TYPES) || !x86_mtrr_def_type_valid(s->mtrr_def_type))
		return false;
	if ((s->cr4 & ~l->cr4) || (s->rflags & ~RFLAGS_DEFINED) || !canonical_state(s) || !possible_mode(s, l))
		return false;
	return !(s->rflags & X86_RFLAGS_VM) || ((s->cr0 & X86_CR0_PE) && s->cpl == 3);
}
