/*
 * vmm/x86/flags.h - EFLAGS, and the form in which the soft engine keeps the
 * arithmetic ones: as the host's LAHF (bits 15-8) and SETO (bit 0) deliver
 * them, so that an operation is the host's own instruction followed by these
 * two.  SDM vol. 1 section 3.4.3, appendix A and B.
 */
#ifndef CLEAVE_VMM_X86_FLAGS_H
#define CLEAVE_VMM_X86_FLAGS_H

#include <stdbool.h>
#include <stdint.h>

#define X86_RFLAGS_CF	0x00000001u
#define X86_RFLAGS_FIXED 0x00000002u
#define X86_RFLAGS_PF	0x00000004u
#define X86_RFLAGS_AF	0x00000010u
#define X86_RFLAGS_ZF	0x00000040u
#define X86_RFLAGS_SF	0x00000080u
#define X86_RFLAGS_TF	0x00000100u
#define X86_RFLAGS_IF	0x00000200u
#define X86_RFLAGS_DF	0x00000400u
#define X86_RFLAGS_OF	0x00000800u
#define X86_RFLAGS_IOPL	0x00003000u
#define X86_RFLAGS_NT	0x00004000u
#define X86_RFLAGS_RF	0x00010000u
#define X86_RFLAGS_VM	0x00020000u
#define X86_RFLAGS_AC	0x00040000u
#define X86_RFLAGS_VIF	0x00080000u
#define X86_RFLAGS_VIP	0x00100000u
#define X86_RFLAGS_ID	0x00200000u
#define X86_RFLAGS_ARITH (X86_RFLAGS_CF | X86_RFLAGS_PF | X86_RFLAGS_AF | X86_RFLAGS_ZF | X86_RFLAGS_SF | X86_RFLAGS_OF)

enum {
	FL_OF = 0x0001,
	FL_CF = 0x0100,
	FL_PF = 0x0400,
	FL_AF = 0x1000,
	FL_ZF = 0x4000,
	FL_SF = 0x8000,
	FL_ALL = FL_OF | FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF,
};

/* `fl` may hold LAHF's constant bit 9; nobody looks at it. */
static inline uint64_t fl_to_rflags(uint32_t fl)
{
	return (fl >> 8 & (X86_RFLAGS_ARITH & 0xff)) | (fl & FL_OF) << 11;
}

static inline uint32_t fl_from_rflags(uint64_t rflags)
{
	return (uint32_t)(rflags & (X86_RFLAGS_ARITH & 0xff)) << 8 | (rflags >> 11 & FL_OF);
}

/* Condition `cc` as in the low four bits of Jcc, SETcc and CMOVcc.  Constant cc: one or two operations. */
static inline bool fl_cond(uint32_t fl, unsigned cc)
{
	bool yes = false;

	switch (cc >> 1) {
	case 0: yes = fl & FL_OF; break;
	case 1: yes = fl & FL_CF; break;
	case 2: yes = fl & FL_ZF; break;
	case 3: yes = fl & (FL_CF | FL_ZF); break;
	case 4: yes = fl & FL_SF; break;
	case 5: yes = fl & FL_PF; break;
	case 6: yes = (fl >> 15 ^ fl) & 1; break;
	case 7: yes = ((fl >> 15 ^ fl) & 1) | (fl & FL_ZF); break;
	}
	return yes ^ (cc & 1);
}

#endif
