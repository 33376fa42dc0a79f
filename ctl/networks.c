/*
 * ctl/networks.c - a running machine's networks.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"

static int set_link(struct ctl *c, const char *rest, const char *value)
{
	Cleave__SetLink l = CLEAVE__SET_LINK__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	const char *text = value;
	Cleave__Response *r;

	(void)rest;
	if (!ctl_slot(&text, &l.slot, &l.function) || (strcmp(text, ",up") && strcmp(text, ",down")))
		return ctl_error(EINVAL, "--set-link=%s: SLOT[:FUNCTION],up or down is wanted, as in 4,down", value);
	l.up = !strcmp(text, ",up");
	q.what_case = CLEAVE__REQUEST__WHAT_SET_LINK;
	q.set_link = &l;
	r = ctl_call(c, &q);
	if (!r)
		return -EIO;
	cleave__response__free_unpacked(r, NULL);
	return 0;
}

const struct verb network_verbs[] = {
	{ "set-link", TAKES_VALUE, "SLOT[:FUNC],up|down: puts a network card's cable in or pulls it out", set_link },
	{ 0 },
};
