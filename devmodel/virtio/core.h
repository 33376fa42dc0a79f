/*
 * devmodel/virtio/core.h - what transport and rings share; device files use
 * virtio.h.
 *
 * A device's state in the arena:
 *
 *	struct virtio | struct virtq [queues] | MSI-X vectors | the device's own
 */
#ifndef CLEAVE_DEVMODEL_VIRTIO_CORE_H
#define CLEAVE_DEVMODEL_VIRTIO_CORE_H

#include "devmodel/machine.h"
#include "devmodel/virtio/virtio.h"

/* Bits of the ISR register (4.1.4.5). */
enum { VIRTIO_ISR_QUEUE = 1, VIRTIO_ISR_CONFIG = 2 };

static inline const struct virtio *virtio_of(const struct dev *d)
{
	return dev_state(d);
}

static inline const struct virtq *virtq_of(const struct dev *d, unsigned queue)
{
	return (const struct virtq *)(virtio_of(d) + 1) + queue;
}

static inline struct virtio *virtio_of_write(struct dev *d)
{
	return dev_write(d);
}

static inline struct virtq *virtq_of_write(struct dev *d, unsigned queue)
{
	return (struct virtq *)(virtio_of_write(d) + 1) + queue;
}

static inline unsigned virtio_queues(const struct dev *d)
{
	const struct virtio_ops *ops = d->ops->virtio;

	return ops->nqueues ? ops->nqueues(d) : ops->queues;
}

/* The rings' places (2.7): alignment and lengths, for `size` entries. */
static inline uint64_t virtq_desc_bytes(unsigned size) { return 16ull * size; }
static inline uint64_t virtq_avail_bytes(unsigned size) { return 6 + 2ull * size; }
static inline uint64_t virtq_used_bytes(unsigned size) { return 6 + 8ull * size; }

/* Three rings of a possible size, aligned, in RAM? */
bool virtq_placed(const struct dev *, const struct virtq *);

/* Interrupts the driver: a queue's, or (queue < 0) for the configuration. */
void virtio_interrupt(struct dev *, int queue);

#endif
