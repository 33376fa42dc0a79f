/*
 * vmm/x86/state.h - what software can see of one x86 processor.
 *
 * Plain data, the form in which engines, the control tool and (later) the
 * debugger and snapshots exchange a processor.  SDM vol. 3 ch. 2 and 3.
 */
#ifndef CLEAVE_VMM_X86_STATE_H
#define CLEAVE_VMM_X86_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/x86/fpu.h"

enum x86_gpr {
	X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI,
	X86_R8, X86_R9, X86_R10, X86_R11, X86_R12, X86_R13, X86_R14, X86_R15,
	X86_GPRS
};

/* In the order of the instruction encoding; LDTR and TR follow. */
enum x86_seg { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS, X86_LDTR, X86_TR, X86_SEGS };

/* Segment attributes: descriptor bits 40-47 and 52-55 as in VMX (type, S, DPL, P, AVL, L, D/B, G; bit 16 unusable). */
#define X86_ATTR_TYPE		0x000fu
#define X86_ATTR_S		0x0010u
#define X86_ATTR_DPL		0x0060u
#define X86_ATTR_P		0x0080u
#define X86_ATTR_AVL		0x1000u
#define X86_ATTR_L		0x2000u
#define X86_ATTR_DB		0x4000u
#define X86_ATTR_G		0x8000u
#define X86_ATTR_UNUSABLE	0x10000u

struct x86_segment {
	uint64_t base;
	uint32_t limit;		/* in bytes, G applied */
	uint32_t attr;		/* X86_ATTR_* */
	uint16_t selector;
};

struct x86_table {
	uint64_t base;
	uint32_t limit;
};

struct x86_state {
	uint64_t gpr[X86_GPRS];
	uint64_t rip, rflags;
	struct x86_segment seg[X86_SEGS];
	struct x86_table gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4, cr8;
	uint64_t efer;
	uint64_t dr[8];		/* 4 and 5 unused */
	uint64_t tsc;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	struct x86_fxsave fpu;	/* x87, MXCSR, XMM */
	uint8_t ymm_high[16][16];	/* what YMM registers have above XMM */
	uint64_t xcr0;
	uint64_t star, lstar, cstar, sfmask;
	uint64_t kernel_gs_base;	/* FS's and GS's bases are seg[]'s */
	uint64_t tsc_aux, pat, mtrr_def_type;
	bool halted;
	bool sti_shadow;	/* STI or MOV SS/POP SS: the next instruction is shielded */
	bool nmi_blocked;
	uint8_t cpl;
};

/* What differs between processors. */
struct x86_limits {
	uint64_t cr4, efer, xcr0;	/* bits that may be set */
	unsigned phys_bits;	/* of CR3 */
};

/* False: no processor can hold it. */
bool x86_state_possible(const struct x86_state *, const struct x86_limits *);

#endif
