/*
 * tests/diff/host.h - the host's own processor as the reference for an instruction.
 *
 * host_run() executes guest bytes in user mode in a 16-, 32- or 64-bit code
 * segment, with the registers, flags and memory that the caller asks for, and
 * reports the state at the breakpoint or fault that ended it.  State goes in by
 * sigreturn and comes out by a signal, so there is no trampoline to get wrong.
 *
 * Code and data live at fixed linear addresses below 4 GiB; nothing else of the
 * process does (it must be built as a position-independent executable), so a
 * wild 32-bit access faults as it does in the guest.
 */
#ifndef CLEAVE_TESTS_DIFF_HOST_H
#define CLEAVE_TESTS_DIFF_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/x86/fpu.h"

enum {
	HOST_CODE = 0x10000000,		/* one page, filled with INT3 around the instruction */
	HOST_CODE_BYTES = 0x1000,
	HOST_DATA = 0x20000000,		/* 16-bit segments cover exactly this */
	HOST_DATA_BYTES = 0x10000,
};

enum host_mode { HOST_16, HOST_32, HOST_64, HOST_MODES };

struct host_cpu {
	uint64_t gpr[16];		/* in the order of the instruction encoding */
	uint64_t rip;			/* offset in the code segment */
	uint64_t rflags;
	struct x86_fxsave fpu;		/* without instruction and operand pointers */
	uint8_t ymm_high[16][16];	/* where the host has AVX */
	/* out */
	unsigned vector;		/* 3 at a breakpoint: rip is behind it */
	uint32_t error;
	uint64_t cr2;			/* with vector 14 */
};

/* Maps the areas and makes the segments.  0, or -1 after saying on stderr what this host does not allow. */
int host_init(void);
/* Which modes work here (bit per enum host_mode). */
unsigned host_modes(void);
uint8_t *host_code(void);
uint8_t *host_data(void);
/* Base of CS and of DS, ES, SS in this mode. */
uint32_t host_code_base(enum host_mode);
uint32_t host_data_base(enum host_mode);
const char *host_vendor(void);
/* False: it neither ended in a breakpoint nor a fault within a second. */
bool host_run(enum host_mode, struct host_cpu *);

#endif
