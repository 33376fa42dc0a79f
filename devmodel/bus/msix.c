/*
 * devmodel/bus/msix.c - message-signalled interrupts (PCI Local Bus 3.0, 6.8.2
 * and 6.8.3).
 *
 * Must not know: whose vectors these are, where the BAR is.
 */
#include "devmodel/bus/msix.h"

#include <errno.h>
#include <string.h>

#include "devmodel/bus/pci.h"

enum {
	CAP_ID = 0x11,
	CAP_CONTROL = 2, CAP_TABLE = 4, CAP_PBA = 8,
	CONTROL_ENABLE = 0x80, CONTROL_MASK_ALL = 0x40,	/* of the high byte */
	VECTOR_MASKED = 1,
};

static void put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, 4);
}

void msix_config(const struct msix *ms, uint8_t *config, uint8_t *wmask, unsigned bar, uint32_t table, uint32_t pba)
{
	uint8_t *cap = config + ms->cap;

	pci_capability(config, ms->cap, CAP_ID);
	cap[CAP_CONTROL] = (ms->vectors - 1) & 0xff;
	cap[CAP_CONTROL + 1] = (ms->vectors - 1) >> 8 & 7;
	wmask[ms->cap + CAP_CONTROL + 1] = CONTROL_ENABLE | CONTROL_MASK_ALL;
	put32(cap + CAP_TABLE, table | bar);
	put32(cap + CAP_PBA, pba | bar);
}

/* ---- the state */

static const struct msix_vector *table(const struct msix *ms, const void *state)
{
	return (const struct msix_vector *)((const uint8_t *)state + ms->state);
}

static const uint64_t *pending(const struct msix *ms, const void *state)
{
	return (const uint64_t *)(table(ms, state) + ms->vectors);
}

static struct msix_vector *table_write(struct dev *d, const struct msix *ms)
{
	return (struct msix_vector *)((uint8_t *)dev_write(d) + ms->state);
}

static void set_pending(struct dev *d, const struct msix *ms, unsigned vector, bool on)
{
	uint64_t *word = (uint64_t *)(table_write(d, ms) + ms->vectors) + vector / 64, bit = 1ull << vector % 64;

	*word = on ? *word | bit : *word & ~bit;
}

static uint8_t control(const struct dev *d, const struct msix *ms)
{
	return pci_config(d)[ms->cap + CAP_CONTROL + 1];
}

bool msix_enabled(const struct dev *d, const struct msix *ms)
{
	return control(d, ms) & CONTROL_ENABLE;
}

/* ---- messages */

void msix_signal(struct dev *d, const struct msix *ms, unsigned vector)
{
	const struct msix_vector *v;

	if (vector >= ms->vectors || !msix_enabled(d, ms))
		return;
	v = table(ms, dev_state(d)) + vector;
	if ((control(d, ms) & CONTROL_MASK_ALL) || (v->control & VECTOR_MASKED))
		set_pending(d, ms, vector, true);
	else if (pci_bus_master(d))
		dev_msi(d, v->addr, v->data);
}

static void release(struct dev *d, const struct msix *ms, unsigned vector)
{
	if (!(pending(ms, dev_state(d))[vector / 64] & 1ull << vector % 64) || (control(d, ms) & CONTROL_MASK_ALL) ||
	    (table(ms, dev_state(d))[vector].control & VECTOR_MASKED) || !msix_enabled(d, ms))
		return;
	set_pending(d, ms, vector, false);
	msix_signal(d, ms, vector);
}

void msix_config_written(struct dev *d, const struct msix *ms)
{
	for (unsigned i = 0; i < ms->vectors; i++)
		release(d, ms, i);
}

/* ---- accesses */

static bool usable(uint64_t off, unsigned size)
{
	return (size == 4 || size == 8) && off % size == 0;
}

uint64_t msix_table_read(const struct dev *d, const struct msix *ms, uint64_t off, unsigned size)
{
	uint64_t v = 0;

	if (usable(off, size) && off + size <= ms->vectors * sizeof(struct msix_vector))
		memcpy(&v, (const uint8_t *)table(ms, dev_state(d)) + off, size);
	return v;
}

void msix_table_write(struct dev *d, const struct msix *ms, uint64_t off, unsigned size, uint64_t value)
{
	unsigned vector = off / sizeof(struct msix_vector);
	struct msix_vector *v;

	if (!usable(off, size) || off + size > ms->vectors * sizeof(struct msix_vector))
		return;
	v = table_write(d, ms) + vector;
	memcpy((uint8_t *)v + off % sizeof(*v), &value, size);
	v->control &= VECTOR_MASKED;
	release(d, ms, vector);
}

uint64_t msix_pba_read(const struct dev *d, const struct msix *ms, uint64_t off, unsigned size)
{
	uint64_t v = 0;

	if (usable(off, size) && off + size <= (ms->vectors + 63) / 64 * sizeof(uint64_t))
		memcpy(&v, (const uint8_t *)pending(ms, dev_state(d)) + off, size);
	return v;
}

/* ---- life */

void msix_reset(struct dev *d, const struct msix *ms)
{
	struct msix_vector *v = table_write(d, ms);

	memset(v, 0, MSIX_STATE(ms->vectors));
	for (unsigned i = 0; i < ms->vectors; i++)
		v[i].control = VECTOR_MASKED;
}

int msix_check(const struct msix *ms, const void *dev_state)
{
	unsigned rest = ms->vectors % 64;

	for (unsigned i = 0; i < ms->vectors; i++)
		if (table(ms, dev_state)[i].control & ~VECTOR_MASKED)
			return -EINVAL;
	return rest && pending(ms, dev_state)[ms->vectors / 64] >> rest ? -EINVAL : 0;
}
