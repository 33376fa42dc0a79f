/*
 * devmodel/bus/msix.h - message-signalled interrupts of a PCI function
 * (PCI Local Bus 3.0, 6.8.2).
 *
 * The vector table and the pending bits are plain data in the function's state,
 * at an offset that the function chose; enable and function mask are bits of
 * its configuration space.  The function shows the table and the pending bits
 * in a BAR and hands accesses there, and writes of the capability, to these
 * calls.  A masked vector remembers one message.
 *
 *	static const struct msix ms = { .vectors = 3, .cap = 0x40, .state = offsetof(struct foo, msix) };
 *
 * Thread: the loop's, in a transaction.
 */
#ifndef CLEAVE_DEVMODEL_BUS_MSIX_H
#define CLEAVE_DEVMODEL_BUS_MSIX_H

#include "devmodel/device.h"

enum { MSIX_CAP_SIZE = 12, MSIX_MAX = 256 };

/* A table entry, as the guest sees it. */
struct msix_vector {
	uint64_t addr;
	uint32_t data;
	uint32_t control;	/* bit 0: masked */
};

/* Bytes of state for so many vectors: the table, then a bit each. */
#define MSIX_STATE(n)	((n) * sizeof(struct msix_vector) + ((n) + 63) / 64 * sizeof(uint64_t))

struct msix {
	unsigned vectors;
	unsigned cap;		/* of the capability in configuration space */
	size_t state;		/* of MSIX_STATE(vectors) bytes in the device's state, 8-byte aligned */
};

/* The capability's registers and write masks; the list's links are the caller's. */
void msix_config(const struct msix *, uint8_t *config, uint8_t *wmask, unsigned bar, uint32_t table, uint32_t pba);
/* After a configuration write that touched the capability: what had waited for the mask goes out. */
void msix_config_written(struct dev *, const struct msix *);
bool msix_enabled(const struct dev *, const struct msix *);

/* Sends the vector's message, or remembers it while masked.  Nothing while MSI-X is off. */
void msix_signal(struct dev *, const struct msix *, unsigned vector);

/* Accesses to the table and to the pending bits; aligned dwords and quadwords, all else reads 0. */
uint64_t msix_table_read(const struct dev *, const struct msix *, uint64_t off, unsigned size);
void msix_table_write(struct dev *, const struct msix *, uint64_t off, unsigned size, uint64_t value);
uint64_t msix_pba_read(const struct dev *, const struct msix *, uint64_t off, unsigned size);

void msix_reset(struct dev *, const struct msix *);	/* all masked, nothing pending */
int msix_check(const struct msix *, const void *dev_state);

#endif
