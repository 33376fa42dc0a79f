/*
 * tests/metal/metal.h - a processor, memory and nothing else: bare-metal guests
 * on an engine, without the device model.
 *
 * A guest is a flat image, loaded at METAL_LOAD and entered there in real mode.
 * It talks to the harness through the ports below (tests/metal/metal.inc has
 * the guest's side).
 */
#ifndef CLEAVE_TESTS_METAL_H
#define CLEAVE_TESTS_METAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/bus.h"
#include "vmm/config.h"
#include "vmm/vm.h"

enum { METAL_LOAD = 0x8000, METAL_RAM = 16 << 20 };

/* All but CHAR are doublewords. */
enum metal_port {
	METAL_NAME = 0x80,	/* address of the name of what is tested next */
	METAL_GOT = 0x84,
	METAL_WANT = 0x88,
	METAL_FAIL = 0x8c,	/* source line: the check there failed; ends the guest */
	METAL_DONE = 0x90,	/* ends the guest */
	METAL_CHAR = 0x94,
	METAL_NMI = 0x98,
	METAL_IRQ = 0x9c,	/* line * 2 + level */
	METAL_A20 = 0xb0,
	METAL_DMA_DATA = 0xb4,	/* latched */
	METAL_DMA = 0xb8,	/* address: the device model stores DMA_DATA there, behind the processor's back */
	METAL_PORT = 0xbc,	/* a device register: reads 11223344h, remembers writes */
	METAL_COUNT = 0xc0,	/* reads: accesses to the device memory since the last read of this */
	METAL_MAP = 0xc4,	/* what F0000h-FFFFFh is: enum link_map; at first the boot ROM, all 5Ah */
	METAL_TIME = 0xc8,	/* the clock, which stands still, moves on by so many ns; HLT and MWAIT move it to the next deadline */
	METAL_MSI_ADDR = 0xcc,	/* latched */
	METAL_MSI = 0xd0,	/* a device writes these data to that address */
	METAL_PORTS_END = 0xd4
};

/* A page of device memory: byte n reads as it was written, A0h + n % 16 before that.  A read of FF0h.. raises an NMI. */
#define METAL_MMIO	0xd0000000u

enum metal_end { METAL_PASSED, METAL_FAILED, METAL_EXITED, METAL_TIMEOUT };

struct metal {
	struct vm vm;
	struct config config;
	struct vcpu vcpu;
	enum metal_end end;
	enum vcpu_exit exit;		/* with METAL_EXITED: HLT_FOREVER, TRIPLE_FAULT.. */
	char name[80];
	uint32_t got, want, line, dma, port, msi_addr;
	struct bus_handler apic_page;
	uint8_t mmio[4096];
	uint32_t accesses;
	unsigned checks;		/* names announced */
	bool ended;
	void (*output)(char);		/* what the guest prints; NULL: dropped */
};

struct metal *metal_new(void);		/* ends the program where the host lacks memory */
struct metal *metal_new_on(const struct engine_ops *);	/* ends it with 77 and the reason where the engine does not run */
void metal_free(struct metal *);
bool metal_load(struct metal *, const char *path, uint64_t gpa);
/* Real mode at CS:IP, everything else as after reset. */
void metal_enter(struct metal *, uint16_t cs, uint16_t ip);
/* Until the guest ends, stops for good or `seconds` are over. */
enum metal_end metal_run(struct metal *, unsigned seconds);

#endif
