/*
 * tests/unit/virtiotest.h - a driver's side of virtio over PCI, for the tests of
 * the transport and of each device.
 *
 *	struct vdrv v = { .h = h, .slot = 3 };
 *	vd_start(&v, FEATURES, 1);			(the whole handshake)
 *	vd_add(&v, 0, (struct vbuf[]){ { .gpa = A, .len = 16 }, { .gpa = B, .len = 1, .write = true } }, 2);
 *	vd_kick(&v, 0);
 *	assert_true(vd_used(&v, 0, &id, &len));
 */
#ifndef CLEAVE_TESTS_VIRTIOTEST_H
#define CLEAVE_TESTS_VIRTIOTEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "devmodel/virtio/virtio.h"
#include "tests/unit/devharness.h"

enum { VD_QUEUES = 16, VD_BAR = 0xe0000000, VD_RINGS = 0x100000, VD_RING_STEP = 0x4000 };
/* The common configuration (virtio 1.2, 4.1.4.3). */
enum { VC_DEVICE_SELECT = 0, VC_DEVICE = 4, VC_DRIVER_SELECT = 8, VC_DRIVER = 12, VC_CONFIG_VECTOR = 16, VC_QUEUES = 18,
       VC_STATUS = 20, VC_GENERATION = 21, VC_SELECT = 22, VC_SIZE = 24, VC_VECTOR = 26, VC_ENABLE = 28, VC_NOTIFY = 30,
       VC_DESC = 32, VC_AVAIL = 40, VC_USED = 48 };
enum { VD_NEXT = 1, VD_WRITE = 2, VD_INDIRECT = 4 };

struct vbuf {
	uint64_t gpa;
	uint32_t len;
	bool write;
};
#define VB_OUT(gpa_, len_)	{ .gpa = (gpa_), .len = (len_) }			/* for the device to read */
#define VB_IN(gpa_, len_)	{ .gpa = (gpa_), .len = (len_), .write = true }	/* for the device to write */

struct vdrv {
	struct harness *h;
	unsigned slot;
	uint64_t bar;			/* 0: VD_BAR plus 64 KiB a slot */
	uint16_t size;			/* of the queues; 0: as offered */
	uint64_t features;
	uint64_t common, isr, config, notify;	/* addresses, as the capabilities say */
	uint32_t notify_step;
	struct {
		uint64_t desc, avail, used, bell;
		uint16_t size, next, added, seen;
	} q[VD_QUEUES];
};

/* ---- registers */

static inline uint64_t vd_get(struct vdrv *v, unsigned reg, unsigned size)
{
	return h_read(v->h, v->common + reg, size);
}

static inline void vd_set(struct vdrv *v, unsigned reg, unsigned size, uint64_t value)
{
	h_write(v->h, v->common + reg, size, value);
}

static inline void vd_status(struct vdrv *v, uint8_t value)
{
	vd_set(v, VC_STATUS, 1, value);
}

/* Finds the structures by the capabilities, and puts the BAR somewhere. */
static inline void vd_map(struct vdrv *v)
{
	struct harness *h = v->h;
	uint64_t *place[] = { NULL, &v->common, &v->notify, &v->isr, &v->config };

	if (!v->bar)
		v->bar = VD_BAR + 0x10000 * v->slot;
	h_pci_write(h, v->slot, 0, 0x10, 4, (uint32_t)v->bar);
	h_pci_write(h, v->slot, 0, 0x14, 4, v->bar >> 32);
	h_pci_write(h, v->slot, 0, 0x04, 2, 6);
	for (unsigned at = h_pci_read(h, v->slot, 0, 0x34, 1); at; at = h_pci_read(h, v->slot, 0, at + 1, 1)) {
		unsigned type = h_pci_read(h, v->slot, 0, at + 3, 1);

		if (h_pci_read(h, v->slot, 0, at, 1) != 9 || !type || type > 4)
			continue;
		*place[type] = v->bar + h_pci_read(h, v->slot, 0, at + 8, 4);
		if (type == 2)
			v->notify_step = h_pci_read(h, v->slot, 0, at + 16, 4);
	}
	assert_true(v->common && v->notify && v->isr);
}

static inline uint64_t vd_offered(struct vdrv *v)
{
	uint64_t f;

	vd_set(v, VC_DEVICE_SELECT, 4, 0);
	f = vd_get(v, VC_DEVICE, 4);
	vd_set(v, VC_DEVICE_SELECT, 4, 1);
	return f | vd_get(v, VC_DEVICE, 4) << 32;
}

/* Acknowledges and negotiates: true when the device accepted. */
static inline bool vd_negotiate(struct vdrv *v, uint64_t features)
{
	vd_status(v, 0);
	assert_int_equal(vd_get(v, VC_STATUS, 1), 0);
	vd_status(v, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	v->features = features;
	for (unsigned i = 0; i < 2; i++) {
		vd_set(v, VC_DRIVER_SELECT, 4, i);
		vd_set(v, VC_DRIVER, 4, features >> 32 * i & 0xffffffff);
	}
	vd_status(v, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	return vd_get(v, VC_STATUS, 1) & VIRTIO_FEATURES_OK;
}

static inline void vd_queue(struct vdrv *v, unsigned queue, uint16_t vector)
{
	uint64_t at = VD_RINGS + VD_RING_STEP * queue;

	vd_set(v, VC_SELECT, 2, queue);
	v->q[queue].size = v->size ? v->size : vd_get(v, VC_SIZE, 2);
	vd_set(v, VC_SIZE, 2, v->q[queue].size);
	v->q[queue].desc = at;
	v->q[queue].avail = at + 0x2000;
	v->q[queue].used = at + 0x3000;
	v->q[queue].next = v->q[queue].added = v->q[queue].seen = 0;
	memset(h_ram(v->h) + at, 0, VD_RING_STEP);
	vd_set(v, VC_DESC, 8, v->q[queue].desc);
	vd_set(v, VC_AVAIL, 4, v->q[queue].avail);	/* either width is allowed */
	vd_set(v, VC_AVAIL + 4, 4, v->q[queue].avail >> 32);
	vd_set(v, VC_USED, 8, v->q[queue].used);
	vd_set(v, VC_VECTOR, 2, vector);
	vd_set(v, VC_ENABLE, 2, 1);
	assert_int_equal(vd_get(v, VC_ENABLE, 2), 1);
	v->q[queue].bell = v->notify + vd_get(v, VC_NOTIFY, 2) * v->notify_step;
}

/* From reset to DRIVER_OK with the first `queues` queues, interrupts by the pin. */
static inline void vd_start(struct vdrv *v, uint64_t features, unsigned queues)
{
	vd_map(v);
	assert_true(vd_negotiate(v, features | VIRTIO_F_VERSION_1));
	for (unsigned i = 0; i < queues; i++)
		vd_queue(v, i, 0xffff);
	vd_status(v, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
}

/* ---- rings */

static inline uint16_t *vd_word(struct vdrv *v, uint64_t gpa)
{
	return (uint16_t *)(h_ram(v->h) + gpa);
}

/* A descriptor as it stands, whatever it says. */
static inline void vd_desc(struct vdrv *v, uint64_t table, unsigned i, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	uint8_t *d = h_ram(v->h) + table + 16 * i;

	memcpy(d, &gpa, 8);
	memcpy(d + 8, &len, 4);
	memcpy(d + 12, &flags, 2);
	memcpy(d + 14, &next, 2);
}

/* Makes a head available. */
static inline void vd_avail(struct vdrv *v, unsigned queue, uint16_t head)
{
	*vd_word(v, v->q[queue].avail + 4 + 2 * (v->q[queue].added % v->q[queue].size)) = head;
	*vd_word(v, v->q[queue].avail + 2) = ++v->q[queue].added;
}

/* A chain of these buffers in the next free descriptors (the test reuses none too early): its head. */
static inline uint16_t vd_add(struct vdrv *v, unsigned queue, const struct vbuf *b, unsigned n)
{
	uint16_t head = v->q[queue].next, size = v->q[queue].size;

	for (unsigned i = 0; i < n; i++) {
		uint16_t at = (head + i) % size;

		vd_desc(v, v->q[queue].desc, at, b[i].gpa, b[i].len,
			(b[i].write ? VD_WRITE : 0) | (i + 1 < n ? VD_NEXT : 0), (at + 1) % size);
	}
	v->q[queue].next = (head + n) % size;
	vd_avail(v, queue, head);
	return head;
}

static inline void vd_kick(struct vdrv *v, unsigned queue)
{
	h_write(v->h, v->q[queue].bell, 2, queue);
}

/* The next used entry; false when there is none. */
static inline bool vd_used(struct vdrv *v, unsigned queue, uint32_t *id, uint32_t *len)
{
	uint8_t *used = h_ram(v->h) + v->q[queue].used, *e = used + 4 + 8 * (v->q[queue].seen % v->q[queue].size);

	if (*vd_word(v, v->q[queue].used + 2) == v->q[queue].seen)
		return false;
	v->q[queue].seen++;
	if (id)
		memcpy(id, e, 4);
	if (len)
		memcpy(len, e + 4, 4);
	return true;
}

/* ---- MSI-X: table at the BAR's 3000h, capability at 40h as everywhere here */

enum { VD_TABLE = 0x3000, VD_PBA = 0x3800, VD_MSIX = 0x40 };

static inline void vd_msix(struct vdrv *v, bool on, bool mask)
{
	h_pci_write(v->h, v->slot, 0, VD_MSIX + 2, 2, (on ? 0x8000 : 0) | (mask ? 0x4000 : 0));
}

static inline void vd_vector(struct vdrv *v, unsigned n, uint64_t addr, uint32_t data, bool masked)
{
	h_write(v->h, v->bar + VD_TABLE + 16 * n, 8, addr);
	h_write(v->h, v->bar + VD_TABLE + 16 * n + 8, 4, data);
	h_write(v->h, v->bar + VD_TABLE + 16 * n + 12, 4, masked);
}

/* The next interrupt message: its data, or -1. */
static inline int64_t vd_message(struct vdrv *v)
{
	struct link_event ev;

	return h_event_of(v->h, LINK_EV_MSI, &ev) ? (int64_t)ev.value : -1;
}

#endif
