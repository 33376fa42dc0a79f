/*
 * tests/insn/string_io.h - a machine to run one I/O instruction in, and a model
 * of what it must do.
 *
 * The machine: 1 MiB of RAM, one vCPU, ports in the engine
 * (SIO_ENGINE), in the scripted daemon (tests/unit/fakedaemon.h), and nowhere.
 * Interrupts and faults lead to handlers that halt, so that the vector, the
 * frame and every register can be looked at.
 *
 * The model does what the manual says, one element at a time, on a copy of
 * memory and registers; it knows nothing of requests and batches.
 */
#ifndef CLEAVE_TESTS_STRING_IO_H
#define CLEAVE_TESTS_STRING_IO_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/fakedaemon.h"
#include "vmm/config.h"
#include "vmm/mem.h"
#include "vmm/vm.h"
#include "vmm/x86/state.h"

enum { SIO_ENGINE = 0x1e0, SIO_NOBODY = 0x9000 };
enum {
	SIO_RAM = 1 << 20,
	SIO_GDT = 0x1000, SIO_IDT = 0x1800, SIO_TSS = 0x2000, SIO_DIR = 0x5000, SIO_PT = 0x6000,
	SIO_HANDLERS = 0x7000, SIO_STACK = 0xa000, SIO_STACK0 = 0x9000, SIO_CODE = 0xb000,
	SIO_BASE = 0x20000,		/* base of ES, DS, FS */
	SIO_WINDOW = 0x11000,		/* bytes from there that operands may lie in */
	SIO_INTR = 0x40,		/* the controller's vector */

	/* for long mode: four levels of tables, one of them for SIO_EDGES; an IDT; a TSS */
	SIO_LONG = 0x40000, SIO_PML4 = SIO_LONG, SIO_PDPT = SIO_LONG + 0x1000, SIO_PD64 = SIO_LONG + 0x2000, SIO_PT64 = SIO_LONG + 0x3000,
	SIO_EDGE_PDPT = SIO_LONG + 0x4000, SIO_EDGE_PD = SIO_LONG + 0x5000, SIO_EDGE_PT = SIO_LONG + 0x6000,
	SIO_IDT64 = SIO_LONG + 0x7000, SIO_TSS64 = SIO_LONG + 0x8000, SIO_LONG_END = SIO_LONG + 0xb000,

	/* In 64-bit mode pages of the window are mapped where addresses end, too: */
	SIO_TOP = 0x7000,		/* below 4 GiB, the end of the lower half, and 2^64 */
	SIO_BOTTOM = 0x8000,		/* at 0 and from the beginning of the upper half */
};
#define SIO_LOW_END	0x0000800000000000ull	/* canonical addresses end, */
#define SIO_HIGH	0xffff800000000000ull	/* and go on */

/* From COMPAT16 on with EFER.LMA; 64-bit code at CPL 0 and, with IOPL 3, at CPL 3. */
enum sio_mode { REAL, PROT16, PROT32, USER32, BITMAP32, V86, COMPAT16, COMPAT32, LONG, USER64, SIO_MODES };
enum sio_event { EV_NONE, EV_INTR, EV_NMI, EV_TF, EV_KICK, SIO_EVENTS };

struct sio_case {
	enum sio_mode mode;
	bool input, a32, down, rep;	/* not a32: 16-bit addresses, in 64-bit code 64-bit ones */
	bool rex_w;			/* with a prefix that changes nothing */
	uint8_t size;
	uint16_t port;
	uint64_t off, count;		/* off: in the window, from SIO_BASE */
	uint32_t limit;			/* of ES and DS; 0: 64 KiB - 1, or 4 GiB - 1 in 32-bit modes */
	uint32_t bad_page;		/* linear address of a page that is not there, 0: none */
	bool read_only;			/* ... that is there, but not to be written */
	enum sio_event event;
	uint32_t event_at;		/* element, from 1 */
	uint8_t seg;			/* enum x86_seg of a prefix, 0 (ES): none */
	uint32_t most;			/* elements that the daemon does at once */
	uint32_t cr4, dr0, dr7;
};

/* Where the instruction and its operands stand. */
struct sio_state {
	uint64_t gpr[X86_GPRS];
	int vector;			/* -1: retired */
	uint64_t rip, error, cr2;
	uint32_t done;			/* elements, since the start */
	uint8_t window[SIO_WINDOW];
};

struct sio {
	struct vm vm;
	struct config config;
	struct vcpu vcpu;
	struct fake fake;
	uint8_t *ram, *pristine;

	/* SIO_ENGINE */
	uint64_t reads, writes;
	uint32_t nlog;
	uint8_t log[FAKE_LOG];

	enum sio_event event;
	uint64_t event_at;
	uint32_t events;		/* taken so far */
	uint32_t waits;			/* trips to the daemon */
	uint8_t code[16];
	unsigned code_len;
	struct x86_state start;
	struct sio_state model, got;
	uint64_t rflags;		/* of the frame that an event or fault pushed */
};

struct sio *sio_new(void);				/* on the soft engine */
struct sio *sio_new_on(const struct engine_ops *);	/* ends the program with 77 and the reason where it does not run */
void sio_free(struct sio *);

/* Runs a case and compares everything with the model.  False after printing the difference. */
bool sio_check(struct sio *, const struct sio_case *);

bool sio_is_64bit(const struct sio_case *);
/* The `off` that makes an operand's linear address this. */
uint64_t sio_off(uint64_t linear);

/* The pieces: prepare, run to the next stop, look. */
bool sio_prepare(struct sio *, const struct sio_case *);	/* false: the engine does not take such a state */
enum vcpu_exit sio_run(struct sio *);		/* until something other than a wait; fills `got` */
void sio_resume(struct sio *);			/* undoes an event's or fault's delivery: as IRET would */
uint64_t sio_reads(struct sio *, const struct sio_case *);	/* elements that the device saw */
uint64_t sio_writes(struct sio *, const struct sio_case *);
void sio_model(const struct sio *, const struct sio_case *, uint32_t most, struct sio_state *);

#endif
