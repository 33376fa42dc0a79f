/*
 * tests/fuzz/fuzz_portable.c - any bytes as the state of all devices in its
 * portable form: refused with words for a terminal, or an arena comes of it that
 * can be checked like any other.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "devmodel/portable.h"
#include "proto/state.pb-c.h"
#include "tests/unit/devharness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

static struct harness *machine(void)
{
	static const struct conf_key com1 = KEY_STREAM("com1", 0);
	static const struct conf_dev dev[] = {
		{ .model = "hostbridge", .pci = true },
		{ .model = "uart", .nkeys = 1, .key = &com1 },
		{ .model = "i8042" },
	};
	static struct harness *h;

	if (!h)
		h = harness_new(&(struct harness_conf){ .dev = dev, .ndevs = sizeof(dev) / sizeof(dev[0]) });
	return h;
}

static void check_states(struct machine *m, const uint8_t *arena, const struct arena_plan *plan)
{
	for (unsigned i = 0; i < m->ndevs; i++)
		if (plan[i].ops->check)
			plan[i].ops->check(&m->dev[i], arena + arena_dev((struct arena_header *)arena, i)->state_off);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine *m = harness_machine(machine());
	static uint8_t *arena;
	struct arena_plan plan[ARENA_MAX_DEVS];
	char err[300] = "";
	const char *why;

	if (!arena)
		arena = aligned_alloc(4096, m->arena_bytes);
	if (!arena || machine_plan(&m->conf, plan, err, sizeof(err)))
		abort();
	memset(arena, 0, m->arena_bytes);
	if (!portable_unpack(arena, m->arena_bytes, plan, m->ndevs, m->nrings, data, size, err, sizeof(err))) {
		if (arena_match(arena, m->arena_bytes, plan, m->ndevs, m->nrings, err, sizeof(err)))
			abort();
		if (!arena_check(arena, m->arena_bytes, plan, m->ndevs, m->nrings, &why))
			check_states(m, arena, plan);
	} else if (!*err) {
		abort();
	}
	for (const char *c = err; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			abort();
	return 0;
}

/* A machine as it stands; then one whose serial ports are laid out otherwise. */
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	Cleave__MachineState *m;
	uint8_t *bytes;
	size_t len;

	if (n > 1 || portable_pack(harness_machine(machine()), &bytes, &len))
		return 0;
	m = cleave__machine_state__unpack(NULL, len, bytes);
	free(bytes);
	if (n)
		m->device[1]->layout = 9;
	len = cleave__machine_state__get_packed_size(m);
	if (len > cap)
		abort();	/* else nobody would notice that there is no seed */
	cleave__machine_state__pack(m, buf);
	cleave__machine_state__free_unpacked(m, NULL);
	return len;
}
