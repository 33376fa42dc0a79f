/*
 * ctl/registers.c - registers and descriptors of one vCPU, by name.
 *
 * Which names there are is the engine's to say.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "proto/names.h"

static Cleave__Response *get_state(struct ctl *c)
{
	Cleave__GetState get = CLEAVE__GET_STATE__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	Cleave__Response *r;

	get.cpu = c->cpu;
	q.what_case = CLEAVE__REQUEST__WHAT_GET_STATE;
	q.get_state = &get;
	r = ctl_call(c, &q);
	if (r && r->what_case != CLEAVE__RESPONSE__WHAT_STATE) {
		ctl_error(EPROTO, "%s: the answer has no registers", c->vm);
		cleave__response__free_unpacked(r, NULL);
		return NULL;
	}
	return r;
}

static void print_register(const struct ctl *c, const Cleave__Register *r)
{
	printf("%s[%u]\t\t0x%016" PRIx64 "\n", r->name, c->cpu, r->value);
}

static void print_descriptor(const struct ctl *c, const Cleave__Descriptor *d)
{
	printf("%s desc[%u]\t0x%016" PRIx64 "/0x%08x/0x%08x\n", d->name, c->cpu, d->address, d->limit, d->access);
}

static int get_all(struct ctl *c, const char *rest, const char *value)
{
	Cleave__Response *r = get_state(c);

	(void)rest, (void)value;
	if (!r)
		return -EIO;
	printf("condition[%u]\t%s\n", c->cpu, r->state->condition);
	for (size_t i = 0; i < r->state->n_register_; i++)
		print_register(c, r->state->register_[i]);
	for (size_t i = 0; i < r->state->n_descriptor; i++)
		print_descriptor(c, r->state->descriptor[i]);
	cleave__response__free_unpacked(r, NULL);
	return 0;
}

/* One of either kind. */
static int get_named(struct ctl *c, const char *name, bool descriptor)
{
	Cleave__Response *r = get_state(c);
	struct names_hint h;
	char hint[600];
	bool found = false;
	size_t n;

	if (!r)
		return -EIO;
	names_begin(&h, name);
	n = descriptor ? r->state->n_descriptor : r->state->n_register_;
	for (size_t i = 0; i < n; i++) {
		const char *its = descriptor ? r->state->descriptor[i]->name : r->state->register_[i]->name;

		names_offer(&h, its);
		if (strcmp(its, name))
			continue;
		if (descriptor)
			print_descriptor(c, r->state->descriptor[i]);
		else
			print_register(c, r->state->register_[i]);
		found = true;
	}
	cleave__response__free_unpacked(r, NULL);
	return found ? 0 : ctl_error(ENOENT, "no %s %s%s", descriptor ? "descriptor" : "register", name, names_hint(&h, hint, sizeof(hint)));
}

static int get_descriptor(struct ctl *c, const char *name, const char *value)
{
	(void)value;
	return get_named(c, name, true);
}

static int get_register(struct ctl *c, const char *name, const char *value)
{
	(void)value;
	return get_named(c, name, false);
}

static int set_state(struct ctl *c, Cleave__SetState *set)
{
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	Cleave__Response *r;

	set->cpu = c->cpu;
	q.what_case = CLEAVE__REQUEST__WHAT_SET_STATE;
	q.set_state = set;
	r = ctl_call(c, &q);
	if (!r)
		return -EIO;
	cleave__response__free_unpacked(r, NULL);
	return 0;
}

static int set_register(struct ctl *c, const char *name, const char *value)
{
	Cleave__SetState set = CLEAVE__SET_STATE__INIT;
	Cleave__Register reg = CLEAVE__REGISTER__INIT, *regp = &reg;

	if (!ctl_number(value, UINT64_MAX, &reg.value))
		return ctl_error(EINVAL, "--set-%s=%s: want a number", name, value ? value : "");
	reg.name = (char *)name;
	set.register_ = &regp;
	set.n_register_ = 1;
	return set_state(c, &set);
}

static int set_descriptor(struct ctl *c, const char *name, const char *value)
{
	Cleave__SetState set = CLEAVE__SET_STATE__INIT;
	Cleave__DescriptorChange change = CLEAVE__DESCRIPTOR_CHANGE__INIT, *changep = &change;

	(void)value;
	if (!c->base_given && !c->limit_given && !c->access_given)
		return ctl_error(EINVAL, "--set-desc-%s wants some of --desc-base=, --desc-limit=, --desc-access=", name);
	change.name = (char *)name;
	change.set_address = c->base_given;
	change.address = c->base;
	change.set_limit = c->limit_given;
	change.limit = c->limit;
	change.set_access = c->access_given;
	change.access = c->access;
	set.descriptor = &changep;
	set.n_descriptor = 1;
	return set_state(c, &set);
}

/* The longer names first: a register must not be looked for in "desc-cs". */
const struct verb register_verbs[] = {
	{ "get-all", TAKES_NOTHING, "condition, registers and descriptors", get_all },
	{ "get-desc-", TAKES_NOTHING, "base/limit/access of cs ds es fs gs ss tr ldtr gdtr idtr", get_descriptor },
	{ "set-desc-", TAKES_NOTHING, "changes what --desc-base= --desc-limit= --desc-access= say", set_descriptor },
	{ "get-", TAKES_NOTHING, "a register: rax ... r15 rip rflags cr0 ... dr7 efer, or a selector: cs ...", get_register },
	{ "set-", TAKES_VALUE, "the same", set_register },
	{ 0 },
};
