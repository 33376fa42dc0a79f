/*
 * tests/jit/world.h - a processor in 64-bit mode with page tables, one program
 * and a list of rounds: states in which the program is entered.
 *
 * The program stands in a window of 16 pages, which is mapped three times: W1
 * and W2 for user and supervisor, WK for the supervisor alone.  Under the second
 * root W2 shows some of its pages in another order.  Whatever ends a round
 * comes to a handler that keeps registers and frame in the round's record, and
 * begins the next; after the last one the processor halts.
 */
#ifndef CLEAVE_TESTS_JIT_WORLD_H
#define CLEAVE_TESTS_JIT_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/config.h"
#include "vmm/vm.h"
#include "vmm/x86/fpu.h"
#include "vmm/x86/state.h"

enum { PAGE = 4096, ROUNDS = 4 };

/* Pages of the window; the program's come first. */
enum slot {
	SLOT_CODE, SLOT_STACK = 4, SLOT_HOLE, SLOT_DATA, SLOT_READ_ONLY = 9, SLOT_HOLE2, SLOT_DATA2, SLOT_SYSTEM, SLOT_NX,
	SLOT_FUEL, SLOT_LAST, SLOTS
};
enum { SPARE_PAGES = 2, WINDOW_BYTES = SLOTS * PAGE };	/* spare: physical pages that a remapping may show */

#define WORLD_W1	0x0000000000400000ull
#define WORLD_W2	0x00007f0000400000ull
#define WORLD_WK	0xffffffff80400000ull
#define WORLD_SYS	0xffffffff90000000ull		/* + physical address */

/* Where things stand in physical memory. */
enum {
	WORLD_ROOT_A = 0x1000, WORLD_ROOT_B = 0x2000, WORLD_PT_W = 0xa000, WORLD_PT_K = 0xb000, WORLD_PT_B = 0xc000,
	WORLD_ROUNDS = 0x18000, WORLD_WINDOW = 0x40000, WORLD_END = WORLD_WINDOW + (SLOTS + SPARE_PAGES) * PAGE,
};

/* The program's code knows it by the offsets in world.c. */
struct round {
	uint64_t cr3, pte, pte_value, flush;	/* pte: linear address of an entry that is changed first, or 0 */
	uint64_t cr4;
	uint64_t rip, cs, rflags, rsp, ss;
	uint64_t gpr[16];			/* [4] is not looked at */
	uint64_t fs_base, gs_base;
	uint32_t port;				/* not 0: told to world.patch() */
	uint32_t unused;
	uint64_t cr0, unused1[2];
	struct x86_fxsave fx;
	/* what came of it */
	uint64_t end_gpr[16];
	uint64_t vector, error, end_rip, end_cs, end_rflags, end_rsp, end_ss, cr2;
	uint64_t unused2[8];
	struct x86_fxsave end_fx;
	uint8_t unused3[512];
};
_Static_assert(sizeof(struct round) == 2048, "world.c");

struct world {
	struct vm vm;
	struct config config;
	struct vcpu vcpu;
	uint8_t *ram;
	volatile bool enough;			/* a kick ends the run */
	void (*patch)(struct world *, uint32_t port);	/* stores to memory behind the processor's back */
};

/* NULL: no memory, or no translator where one is asked for. */
struct world *world_new(bool jit, bool lockstep);
void world_free(struct world *);
/* Memory as the image has it from WORLD_PT_W on; `rounds` of it are run.  Returns how the engine stopped. */
enum vcpu_exit world_run(struct world *, const uint8_t *image, unsigned rounds, struct x86_state *end);
/* As it may begin: plain flags, everything masked, the first root, registers 0 and a stack. */
struct round world_round(uint64_t rip, bool user);
/* Of a fresh world's memory, from physical address 0 on: page tables. */
void world_tables(uint8_t *image);

#endif
