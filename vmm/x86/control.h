/*
 * vmm/x86/control.h - control and debug registers: their bits.  SDM vol. 3 section 2.5, 17.2.
 */
#ifndef CLEAVE_VMM_X86_CONTROL_H
#define CLEAVE_VMM_X86_CONTROL_H

#define X86_CR0_PE	0x00000001u
#define X86_CR0_MP	0x00000002u
#define X86_CR0_EM	0x00000004u
#define X86_CR0_TS	0x00000008u
#define X86_CR0_ET	0x00000010u
#define X86_CR0_NE	0x00000020u
#define X86_CR0_WP	0x00010000u
#define X86_CR0_AM	0x00040000u
#define X86_CR0_NW	0x20000000u
#define X86_CR0_CD	0x40000000u
#define X86_CR0_PG	0x80000000u

#define X86_CR3_PWT	0x008u
#define X86_CR3_PCD	0x010u

#define X86_CR4_VME	0x001u
#define X86_CR4_PVI	0x002u
#define X86_CR4_TSD	0x004u
#define X86_CR4_DE	0x008u
#define X86_CR4_PSE	0x010u
#define X86_CR4_PAE	0x020u
#define X86_CR4_MCE	0x040u
#define X86_CR4_PGE	0x080u
#define X86_CR4_PCE	0x100u
#define X86_CR4_OSFXSR	0x200u
#define X86_CR4_OSXMMEXCPT 0x400u
#define X86_CR4_OSXSAVE	0x40000u
#define X86_CR4_UMIP	0x00000800u
#define X86_CR4_LA57	0x00001000u
#define X86_CR4_FSGSBASE 0x00010000u
#define X86_CR4_PCIDE	0x00020000u
#define X86_CR4_SMEP	0x00100000u
#define X86_CR4_SMAP	0x00200000u

#define X86_CR3_PCID	0xfffull
#define X86_CR3_KEEP	(1ull << 63)	/* written with CR4.PCIDE: the PCID's translations may stay */

#define X86_EFER_SCE	0x001u
#define X86_EFER_LME	0x100u
#define X86_EFER_LMA	0x400u
#define X86_EFER_NXE	0x800u

#define X86_DR6_B	0x0000000fu	/* B0-B3 */
#define X86_DR6_BD	0x00002000u
#define X86_DR6_BS	0x00004000u
#define X86_DR6_BT	0x00008000u
#define X86_DR6_ONES	0xffff0ff0u
#define X86_DR7_GD	0x00002000u
#define X86_DR7_ONES	0x00000400u
#define X86_DR7_ENABLED	0x000000ffu

/* Breakpoint n's condition (R/W) and length fields of DR7. */
#define X86_DR7_RW(dr7, n)	((unsigned)((dr7) >> (16 + 4 * (n))) & 3u)
#define X86_DR7_LEN(dr7, n)	((unsigned)((dr7) >> (18 + 4 * (n))) & 3u)
enum { X86_BP_EXEC, X86_BP_WRITE, X86_BP_IO, X86_BP_ACCESS };

#endif
