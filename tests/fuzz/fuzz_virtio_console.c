/*
 * tests/fuzz/fuzz_virtio_console.c - the console under a hostile driver: control
 * messages and chains of any shape, registers and rings overwritten, ends of
 * streams that come, go and do not read, resets.  The state check must accept
 * what they have made, and being undone and run again in every transaction must
 * not show.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/link_engine.h"
#include "tests/fuzz/program.h"
#include "tests/unit/stutter.h"
#include "tests/unit/virtiotest.h"

enum { MAX_STEPS = 80, CONSOLE = 3, CHUNK = 8192, BUFFERS = 4 << 20, BEYOND = 16 << 20 };

struct target {
	struct harness *h;
	struct vdrv console;
	bool full[2];
};

static void up(struct target *t, struct input *in)
{
	uint8_t features = u8(in);

	t->console = (struct vdrv){ .h = t->h, .slot = CONSOLE };
	vd_start(&t->console, (features & 1 ? 2 : 0) | (features & 2 ? VIRTIO_F_EVENT_IDX : 0) |
		 (features & 4 ? VIRTIO_F_INDIRECT_DESC : 0), 10);
}

/*
 * A chain of up to four segments, now and then outside of RAM.  What the device
 * writes is not what it reads: a driver that lets it overwrite its own chains
 * sees whether that has happened once or twice.
 */
static void push(struct vdrv *v, unsigned queue, struct input *in)
{
	struct vbuf seg[4];
	unsigned n = 1 + u8(in) % 4;

	for (unsigned i = 0; i < n; i++) {
		uint8_t how = u8(in);

		seg[i] = (struct vbuf){ .gpa = BUFFERS + i * CHUNK, .len = u8(in) << (how & 7), .write = how & 8 };
		if (seg[i].write)
			seg[i].gpa += 4 * CHUNK;
		if (how > 250)
			seg[i].gpa = BEYOND + ((uint64_t)u32(in) << 8);
	}
	vd_add(v, queue, seg, n);
	vd_kick(v, queue);
}

static void message(struct target *t, struct input *in)
{
	struct { uint32_t port; uint16_t event, value; } m = { u8(in) % 5, u8(in) % 9, u8(in) % 3 };

	memcpy(h_ram(t->h) + BUFFERS, &m, sizeof(m));
	vd_add(&t->console, 3, &(struct vbuf)VB_OUT(BUFFERS, sizeof(m)), 1);
	vd_kick(&t->console, 3);
}

static void far_end(struct target *t, struct input *in)
{
	unsigned stream = u8(in) % 2;
	uint8_t bytes[CHUNK];
	size_t n;

	memset(bytes, u8(in), sizeof(bytes));
	switch (u8(in) % 5) {
	case 0:
		n = link_input_room(h_engine(t->h), stream);
		h_input(t->h, stream, bytes, n < 2000 ? n : 2000);
		break;
	case 1:
		h_online(t->h, stream, u8(in) & 1);
		break;
	case 2:		/* what had been sent is read first */
		while (!t->full[stream] && (n = h_output(t->h, stream, bytes, sizeof(bytes))))
			see(bytes, n);
		h_output_full(t->h, stream, t->full[stream] ^= true);
		break;
	default:
		if (!t->full[stream]) {
			n = h_output(t->h, stream, bytes, sizeof(bytes));
			see(bytes, n);
		}
	}
}

static void step(struct target *t, struct input *in)
{
	struct vdrv *v = &t->console;
	uint32_t at;

	switch (u8(in) % 11) {
	case 0: case 1: case 2:
		push(v, u8(in) % 10, in);
		break;
	case 3: case 4:
		message(t, in);
		break;
	case 5: case 6: case 7:
		far_end(t, in);
		break;
	case 8:		/* a register */
		at = u8(in) << 6 | u8(in) % 64;
		h_write(t->h, v->bar + at, 1, u8(in));
		break;
	case 9:		/* the rings */
		at = u32(in) % (10 * VD_RING_STEP);
		h_ram(t->h)[VD_RINGS + at] = u8(in);
		break;
	case 10:
		if (u8(in) < 32)
			h_reset(t->h);
		if (u8(in) < 128)
			up(t, in);
		break;
	}
	h_drop_events(t->h);
}

/* What the driver can see: indices at each step, all of the used rings at the end. */
static void look(struct target *t, bool all)
{
	for (unsigned q = 0; q < 10; q++)
		see(h_ram(t->h) + t->console.q[q].used, all ? 6 + 8 * t->console.q[q].size : 4);
	see(&(uint64_t){ h_read(t->h, t->console.common + VC_STATUS, 1) }, 8);
}

bool fuzz_program(struct input in, bool stuttering)
{
	static const struct conf_key keys[] = {
		KEY_STREAM("console", 0), KEY_STREAM("port1", 1), KEY("port1.name", "one"), KEY_STREAM("port3", -1),
	};
	static const struct conf_dev dev[] = {
		{ .model = "hostbridge", .pci = true },
		{ .model = "virtio-console", .pci = true, .slot = CONSOLE, .nkeys = 4, .key = keys },
	};
	struct target t = { .h = harness_new(&(struct harness_conf){ .dev = dev, .ndevs = 2 }) };
	struct dev *con = harness_dev(t.h, "virtio-console");

	if (stuttering)
		stutter(con);
	up(&t, &in);
	for (unsigned i = 0; in.n && i < MAX_STEPS; i++) {
		step(&t, &in);
		look(&t, false);
		if (con->ops->check(con, dev_state(con)))
			abort();
	}
	look(&t, true);
	harness_free(t.h);
	stutter_none();
	return true;
}
