/*
 * devmodel/virtio/pci.c - virtio over PCI, modern devices only (virtio 1.2, 4.1):
 * capabilities, registers, vectors, doorbells, the device's life.
 *
 * Everything is in one BAR:
 *
 *	0000h  common configuration     2000h  notifications, four bytes a queue
 *	0800h  ISR                      3000h  MSI-X table
 *	1000h  device configuration     3800h  MSI-X pending bits
 *
 * Notifications are doorbells that the engine completes; a write that gets here
 * all the same (another size, or through configuration space) rings it too.
 *
 * A reset while chains are in flight waits for them: their buffers are being
 * read and written until then.  The status reads as before, not 0, and drivers
 * wait for 0 (4.1.4.3.1).
 *
 * Must not know: what a device does, what is in a ring.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "devmodel/virtio/core.h"
#include "ipc/link.h"

enum { AT_COMMON = 0, AT_ISR = 0x800, AT_CONFIG = 0x1000, AT_NOTIFY = 0x2000, AT_TABLE = 0x3000, AT_PBA = 0x3800 };
enum { NOTIFY_STEP = 4, NOTIFY_SIZE = 2 };

/* Configuration space: capabilities (4.1.4). */
enum { CAP_MSIX = 0x40, CAP_COMMON = 0x50, CAP_ISR = 0x60, CAP_CONFIG = 0x70, CAP_NOTIFY = 0x80, CAP_WINDOW = 0x98 };
enum { CFG_COMMON = 1, CFG_NOTIFY, CFG_ISR, CFG_DEVICE, CFG_PCI };
enum { CAP_ID_VENDOR = 9, CAP_LEN = 2, CAP_TYPE = 3, CAP_BAR = 4, CAP_OFFSET = 8, CAP_LENGTH = 12, CAP_BYTES = 16, CAP_DATA = 16 };

/* The common configuration (4.1.4.3). */
struct common {
	uint32_t device_feature_select, device_feature, driver_feature_select, driver_feature;
	uint16_t config_vector, num_queues;
	uint8_t status, generation;
	uint16_t queue_select, queue_size, queue_vector, queue_enable, queue_notify_off;
	uint32_t queue_desc[2], queue_driver[2], queue_device[2];
	uint16_t queue_notify_data, queue_reset;
	uint32_t pad;
};

_Static_assert(offsetof(struct common, queue_desc) == 32 && sizeof(struct common) == 64, "virtio 4.1.4.3");
_Static_assert(VIRTIO_QUEUES * NOTIFY_STEP <= AT_TABLE - AT_NOTIFY, "a doorbell for each queue");
_Static_assert((VIRTIO_QUEUES + 1) * 16 <= AT_PBA - AT_TABLE, "a vector for each queue");

static struct msix msix_of(const struct dev *d)
{
	return (struct msix){
		.vectors = virtio_queues(d) + 1, .cap = CAP_MSIX,
		.state = sizeof(struct virtio) + d->ops->virtio->queues * sizeof(struct virtq),
	};
}

static size_t own_offset(const struct dev *d)
{
	return VIRTIO_STATE(d->ops->virtio->queues, 0);
}

const void *virtio_state(const struct dev *d)
{
	return (const uint8_t *)dev_state(d) + own_offset(d);
}

void *virtio_write(struct dev *d)
{
	return (uint8_t *)dev_write(d) + own_offset(d);
}

bool virtio_has(const struct dev *d, uint64_t features)
{
	return (virtio_of(d)->features & features) == features;
}

bool virtio_running(const struct dev *d)
{
	const struct virtio *v = virtio_of(d);

	return (v->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET)) == VIRTIO_DRIVER_OK && !v->resetting;
}

static uint64_t offered(const struct dev *d)
{
	const struct virtio_ops *ops = d->ops->virtio;

	return VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | ops->features | (ops->offer ? ops->offer(d) : 0);
}

/* ---- interrupts */

void virtio_interrupt(struct dev *d, int queue)
{
	struct msix ms = msix_of(d);

	if (msix_enabled(d, &ms)) {
		msix_signal(d, &ms, queue < 0 ? virtio_of(d)->config_vector : virtq_of(d, queue)->vector);
		return;
	}
	virtio_of_write(d)->isr |= queue < 0 ? VIRTIO_ISR_CONFIG : VIRTIO_ISR_QUEUE;
	pci_intx(d, true);
}

static uint8_t read_isr(struct dev *d)
{
	uint8_t isr = virtio_of(d)->isr;

	if (isr) {
		virtio_of_write(d)->isr = 0;
		pci_intx(d, false);
	}
	return isr;
}

void virtio_config_changed(struct dev *d)
{
	virtio_of_write(d)->generation++;
	if (virtio_running(d))
		virtio_interrupt(d, -1);
}

void virtio_broken(struct dev *d, const char *fmt, ...)
{
	char why[160];
	va_list ap;

	if (virtio_of(d)->status & VIRTIO_NEEDS_RESET)
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	dev_log(d, "%s; stopped until the guest resets it", why);
	virtio_of_write(d)->status |= VIRTIO_NEEDS_RESET;
	if (virtio_of(d)->status & VIRTIO_DRIVER_OK)
		virtio_interrupt(d, -1);
}

/* ---- doorbells */

static void tell_bell(struct dev *d, unsigned queue)
{
	const struct virtio *v = virtio_of(d);
	bool on = v->notify && virtq_of(d, queue)->enabled;

	dev_doorbell(d, queue, on ? v->notify + AT_NOTIFY + NOTIFY_STEP * queue : 0, on ? NOTIFY_SIZE : 0);
}

/* After the BAR may have moved. */
static void tell_bells(struct dev *d)
{
	uint64_t bar = pci_bar(d, 0);

	if (bar == virtio_of(d)->notify)
		return;
	virtio_of_write(d)->notify = bar;
	for (unsigned i = 0; i < virtio_queues(d); i++)
		if (virtq_of(d, i)->enabled)
			tell_bell(d, i);
}

/* Who writes here is not believed to mean only this queue. */
void virtio_doorbell(struct dev *d, unsigned queue)
{
	if (virtio_running(d) && queue < virtio_queues(d) && virtq_of(d, queue)->enabled)
		d->ops->virtio->kicked(d, queue);
}

/* ---- reset */

static void reset_queues(struct dev *d)
{
	for (unsigned i = 0; i < virtio_queues(d); i++) {
		bool was = virtq_of(d, i)->enabled;

		*virtq_of_write(d, i) = (struct virtq){ .size = d->ops->virtio->queue_size, .vector = VIRTIO_NO_VECTOR };
		if (was)
			tell_bell(d, i);
	}
}

static void finish_reset(struct dev *d)
{
	struct virtio *v = virtio_of_write(d);

	reset_queues(d);
	*v = (struct virtio){ .config_vector = VIRTIO_NO_VECTOR, .notify = v->notify, .generation = v->generation };
	pci_intx(d, false);
	if (d->ops->virtio->reset)
		d->ops->virtio->reset(d);
}

static unsigned inflight(const struct dev *d)
{
	return d->ops->virtio->inflight ? d->ops->virtio->inflight(d) : 0;
}

static void begin_reset(struct dev *d)
{
	if (inflight(d))
		virtio_of_write(d)->resetting = 1;
	else
		finish_reset(d);
}

/* The machine's: the bus has reset the function's configuration space, nothing is in flight. */
void virtio_reset(struct dev *d)
{
	struct msix ms = msix_of(d);

	msix_reset(d, &ms);
	finish_reset(d);
	tell_bells(d);
}

/* ---- common configuration */

static void split(uint32_t to[2], uint64_t v)
{
	to[0] = v;
	to[1] = v >> 32;
}

static uint32_t feature_word(uint64_t features, uint32_t select)
{
	return select < 2 ? features >> 32 * select : 0;
}

static void common_image(const struct dev *d, struct common *c)
{
	const struct virtio *v = virtio_of(d);

	*c = (struct common){
		.device_feature_select = v->device_select, .device_feature = feature_word(offered(d), v->device_select),
		.driver_feature_select = v->driver_select, .driver_feature = feature_word(v->features, v->driver_select),
		.config_vector = v->config_vector, .num_queues = virtio_queues(d),
		.status = v->status, .generation = v->generation, .queue_select = v->queue_select,
		.queue_vector = VIRTIO_NO_VECTOR,
	};
	if (v->queue_select < virtio_queues(d)) {
		const struct virtq *q = virtq_of(d, v->queue_select);

		c->queue_size = q->size;
		c->queue_vector = q->vector;
		c->queue_enable = q->enabled;
		c->queue_notify_off = v->queue_select;
		split(c->queue_desc, q->desc);
		split(c->queue_driver, q->avail);
		split(c->queue_device, q->used);
	}
}

/* FEATURES_OK: the driver's choice is judged (3.1.1). */
static bool acceptable(struct dev *d)
{
	uint64_t f = virtio_of(d)->features;

	if (!(f & VIRTIO_F_VERSION_1) || f & ~offered(d))
		return false;
	return !d->ops->virtio->negotiated || d->ops->virtio->negotiated(d, f);
}

/* What the driver has put into the rings before DRIVER_OK is looked at without a kick. */
static void start_device(struct dev *d)
{
	if (d->ops->virtio->started)
		d->ops->virtio->started(d);
	for (unsigned i = 0; i < virtio_queues(d); i++)
		if (virtq_of(d, i)->enabled)
			dev_ring(d, i);
}

/* The driver adds bits, and takes them all away by 0. */
static void write_status(struct dev *d, uint8_t value)
{
	uint8_t old = virtio_of(d)->status, new;

	if (!value) {
		begin_reset(d);
		return;
	}
	new = (old | value) & (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK | VIRTIO_FAILED);
	new |= old & VIRTIO_NEEDS_RESET;
	if (~old & new & VIRTIO_FEATURES_OK && !acceptable(d))
		new &= ~VIRTIO_FEATURES_OK;
	if (!(new & VIRTIO_FEATURES_OK))
		new &= ~VIRTIO_DRIVER_OK;	/* a legacy driver, or one that does not look */
	virtio_of_write(d)->status = new;
	if (~old & new & VIRTIO_DRIVER_OK)
		start_device(d);
}

static void write_features(struct dev *d, uint32_t value)
{
	struct virtio *v = virtio_of_write(d);
	unsigned shift = 32 * v->driver_select;

	if (v->driver_select < 2 && !(v->status & VIRTIO_FEATURES_OK))
		v->features = (v->features & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
}

static uint16_t vector(const struct dev *d, uint16_t value)
{
	return value <= virtio_queues(d) ? value : VIRTIO_NO_VECTOR;	/* 4.1.5.1.2 */
}

static void enable_queue(struct dev *d, unsigned queue)
{
	if (!(virtio_of(d)->status & VIRTIO_FEATURES_OK) || virtq_of(d, queue)->enabled)
		return;
	if (!virtq_placed(d, virtq_of(d, queue))) {
		virtio_broken(d, "queue %u: its rings are not in RAM, not aligned or of an impossible size", queue);
		return;
	}
	virtq_of_write(d, queue)->enabled = 1;
	tell_bell(d, queue);
	if (virtio_running(d))
		dev_ring(d, queue);
}

static uint64_t with_half(uint64_t old, unsigned half, unsigned size, uint64_t value)
{
	if (size == 8)
		return value;
	return half ? (old & 0xffffffff) | value << 32 : (old & ~0xffffffffull) | (uint32_t)value;
}

/* A register of the selected queue.  Rings do not move while the device uses them. */
static void write_queue(struct dev *d, unsigned off, unsigned size, uint64_t value)
{
	unsigned queue = virtio_of(d)->queue_select;
	struct virtq *q;

	if (queue >= virtio_queues(d))
		return;
	q = virtq_of_write(d, queue);
	if (off == offsetof(struct common, queue_vector) && size == 2)
		q->vector = vector(d, value);
	if (q->enabled)
		return;
	switch (off) {
	case offsetof(struct common, queue_size):
		if (size == 2 && value && value <= d->ops->virtio->queue_size && !(value & (value - 1)))
			q->size = value;
		break;
	case offsetof(struct common, queue_enable):
		if (size == 2 && value == 1)
			enable_queue(d, queue);
		break;
	case offsetof(struct common, queue_desc) ... offsetof(struct common, queue_notify_data) - 1: {
		uint64_t *place[] = { &q->desc, &q->avail, &q->used };
		unsigned at = off - offsetof(struct common, queue_desc);

		if (size >= 4)
			*place[at / 8] = with_half(*place[at / 8], at / 4 % 2, size, value);
		break;
	}
	}
}

static void write_common(struct dev *d, unsigned off, unsigned size, uint64_t value)
{
	struct virtio *v;

	if (virtio_of(d)->resetting || off % size)
		return;
	v = virtio_of_write(d);
	switch (off) {
	case offsetof(struct common, device_feature_select):
		v->device_select = value;
		break;
	case offsetof(struct common, driver_feature_select):
		v->driver_select = value;
		break;
	case offsetof(struct common, driver_feature):
		if (size == 4)
			write_features(d, value);
		break;
	case offsetof(struct common, config_vector):
		v->config_vector = vector(d, value);
		break;
	case offsetof(struct common, status):
		write_status(d, value);
		break;
	case offsetof(struct common, queue_select):
		v->queue_select = value;
		break;
	default:
		write_queue(d, off, size, value);
	}
}

/* ---- the BAR */

/* Bytes of an image, zeros beyond it. */
static uint64_t part_of(const void *image, size_t n, uint64_t off, unsigned size)
{
	uint64_t v = 0;

	if (off < n)
		memcpy(&v, (const uint8_t *)image + off, size < n - off ? size : n - off);
	return v;
}

static uint64_t read_config(const struct dev *d, uint64_t off, unsigned size)
{
	const struct virtio_ops *ops = d->ops->virtio;
	uint8_t image[VIRTIO_CONFIG] = { 0 };

	if (ops->config_read)
		ops->config_read(d, image);
	return part_of(image, ops->config_size, off, size);
}

uint64_t virtio_pci_read(struct dev *d, unsigned region, uint64_t off, unsigned size)
{
	struct msix ms = msix_of(d);
	struct common c;

	(void)region;
	switch (off) {
	case AT_COMMON ... AT_ISR - 1:
		common_image(d, &c);
		return part_of(&c, sizeof(c), off, size);
	case AT_ISR:
		return read_isr(d);
	case AT_CONFIG ... AT_NOTIFY - 1:
		return read_config(d, off - AT_CONFIG, size);
	case AT_TABLE ... AT_PBA - 1:
		return msix_table_read(d, &ms, off - AT_TABLE, size);
	case AT_PBA ... VIRTIO_BAR_SIZE - 1:
		return msix_pba_read(d, &ms, off - AT_PBA, size);
	}
	return 0;
}

static void write_config(struct dev *d, uint64_t off, unsigned size, uint64_t value)
{
	const struct virtio_ops *ops = d->ops->virtio;

	if (ops->config_write && off + size <= ops->config_size)
		ops->config_write(d, off, size, value);
}

void virtio_pci_write(struct dev *d, unsigned region, uint64_t off, unsigned size, uint64_t value)
{
	struct msix ms = msix_of(d);

	(void)region;
	switch (off) {
	case AT_COMMON ... AT_ISR - 1:
		write_common(d, off, size, value);
		break;
	case AT_CONFIG ... AT_NOTIFY - 1:
		write_config(d, off - AT_CONFIG, size, value);
		break;
	case AT_NOTIFY ... AT_TABLE - 1:
		if ((off - AT_NOTIFY) / NOTIFY_STEP < virtio_queues(d))
			dev_ring(d, (off - AT_NOTIFY) / NOTIFY_STEP);
		break;
	case AT_TABLE ... AT_PBA - 1:
		msix_table_write(d, &ms, off - AT_TABLE, size, value);
		break;
	}
}

/* ---- configuration space */

static void put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, 4);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

static void add_capability(uint8_t *config, unsigned at, uint8_t type, uint32_t off, uint32_t length, uint8_t bytes)
{
	pci_capability(config, at, CAP_ID_VENDOR);
	config[at + CAP_LEN] = bytes;
	config[at + CAP_TYPE] = type;
	put32(config + at + CAP_OFFSET, off);
	put32(config + at + CAP_LENGTH, length);
}

void virtio_config_init(struct dev *d, uint8_t *config, uint8_t *wmask)
{
	struct msix ms = msix_of(d);

	msix_config(&ms, config, wmask, 0, AT_TABLE, AT_PBA);
	add_capability(config, CAP_WINDOW, CFG_PCI, 0, 0, CAP_BYTES + 4);
	wmask[CAP_WINDOW + CAP_BAR] = 0xff;
	memset(wmask + CAP_WINDOW + CAP_OFFSET, 0xff, 12);
	add_capability(config, CAP_NOTIFY, CFG_NOTIFY, AT_NOTIFY, NOTIFY_STEP * virtio_queues(d), CAP_BYTES + 4);
	put32(config + CAP_NOTIFY + CAP_BYTES, NOTIFY_STEP);
	if (d->ops->virtio->config_size)
		add_capability(config, CAP_CONFIG, CFG_DEVICE, AT_CONFIG, d->ops->virtio->config_size, CAP_BYTES);
	add_capability(config, CAP_ISR, CFG_ISR, AT_ISR, 1, CAP_BYTES);
	add_capability(config, CAP_COMMON, CFG_COMMON, AT_COMMON, offsetof(struct common, pad), CAP_BYTES);
}

/* The window: an access to the BAR by configuration space alone (4.1.4.9). */
static bool window(const struct dev *d, uint32_t *off, uint32_t *size)
{
	const uint8_t *cap = pci_config(d) + CAP_WINDOW;

	*off = get32(cap + CAP_OFFSET);
	*size = get32(cap + CAP_LENGTH);
	return !cap[CAP_BAR] && (*size == 1 || *size == 2 || *size == 4) && *off % *size == 0 && *off <= VIRTIO_BAR_SIZE - *size;
}

static bool touches(unsigned off, unsigned size, unsigned at, unsigned n)
{
	return off < at + n && at < off + size;
}

void virtio_config_reading(struct dev *d, unsigned off, unsigned size)
{
	uint32_t at, n;
	uint64_t v;

	if (!touches(off, size, CAP_WINDOW + CAP_DATA, 4) || !window(d, &at, &n))
		return;
	v = virtio_pci_read(d, 0, at, n);
	for (unsigned i = 0; i < n; i++)
		pci_config_set8(d, CAP_WINDOW + CAP_DATA + i, v >> 8 * i);
}

void virtio_config_written(struct dev *d, unsigned off, unsigned size)
{
	struct msix ms = msix_of(d);
	uint32_t at, n;

	tell_bells(d);
	if (touches(off, size, CAP_MSIX, MSIX_CAP_SIZE))
		msix_config_written(d, &ms);
	if (touches(off, size, CAP_WINDOW + CAP_DATA, 4) && window(d, &at, &n))
		virtio_pci_write(d, 0, at, n, get32(pci_config(d) + CAP_WINDOW + CAP_DATA) & (~0u >> (32 - 8 * n)));
}

/* ---- life */

/* What a predecessor left: the engine has forgotten the doorbells, the driver may wait for an interrupt. */
static void resume(struct dev *d)
{
	virtio_of_write(d)->notify = pci_bar(d, 0);
	for (unsigned i = 0; i < virtio_queues(d); i++) {
		if (!virtq_of(d, i)->enabled)
			continue;
		tell_bell(d, i);
		dev_ring(d, i);
		virtio_signal(d, i);
	}
}

int virtio_init(struct dev *d, bool fresh)
{
	const struct virtio_ops *ops = d->ops->virtio;
	int err = ops->init ? ops->init(d, fresh) : 0;

	if (err)
		return err;
	if (!dev_doorbells(d, virtio_queues(d))) {
		dev_error(d, "%u queues: the machine has no doorbells left for them (%u in all)", virtio_queues(d), LINK_DOORBELLS);
		return -ENOSPC;
	}
	if (fresh)
		virtio_reset(d);
	else
		resume(d);
	return 0;
}

void virtio_fini(struct dev *d)
{
	if (d->ops->virtio->fini)
		d->ops->virtio->fini(d);
}

static bool bad_queue(const struct dev *d, const struct virtq *q)
{
	if (q->enabled > 1 || !q->size || q->size > d->ops->virtio->queue_size || q->size & (q->size - 1) ||
	    (q->vector > virtio_queues(d) && q->vector != VIRTIO_NO_VECTOR))
		return true;
	return q->enabled && (!virtq_placed(d, q) || (uint16_t)(q->taken - q->given) > q->size);
}

int virtio_check(const struct dev *d, const void *state)
{
	const struct virtio *v = state;
	const struct virtq *q = (const struct virtq *)(v + 1);
	struct msix ms = msix_of(d);

	if (v->features & ~(offered(d) | (v->status & VIRTIO_FEATURES_OK ? 0 : ~0ull)) || v->resetting > 1 ||
	    v->isr & ~(VIRTIO_ISR_QUEUE | VIRTIO_ISR_CONFIG) ||
	    (v->config_vector > virtio_queues(d) && v->config_vector != VIRTIO_NO_VECTOR))
		return -EINVAL;
	for (unsigned i = 0; i < virtio_queues(d); i++)
		if (bad_queue(d, &q[i]))
			return -EINVAL;
	if (msix_check(&ms, state))
		return -EINVAL;
	return d->ops->virtio->check ? d->ops->virtio->check(d, (const uint8_t *)state + own_offset(d)) : 0;
}

/* ---- what happens to the device besides its registers */

void virtio_timer(struct dev *d, unsigned timer)
{
	if (d->ops->virtio->timer)
		d->ops->virtio->timer(d, timer);
}

void virtio_input(struct dev *d, unsigned stream)
{
	if (d->ops->virtio->input)
		d->ops->virtio->input(d, stream);
}

bool virtio_resized(struct dev *d)
{
	return d->ops->virtio->resized && d->ops->virtio->resized(d);
}

void virtio_io_done(struct dev *d, unsigned slot, int error)
{
	if (d->ops->virtio->io_done)
		d->ops->virtio->io_done(d, slot, error);
	if (virtio_of(d)->resetting && !inflight(d))
		finish_reset(d);
}
