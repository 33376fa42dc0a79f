/*
 * tests/jit/ways.h - the soft engine in a test program: it translates each block
 * when it is first executed, unless the environment says jit=off or
 * jit=lockstep.  So every test of it is one of the translator and, run again,
 * one of the interpreter.
 */
#ifndef CLEAVE_TESTS_JIT_WAYS_H
#define CLEAVE_TESTS_JIT_WAYS_H

#include <stdlib.h>
#include <string.h>

#include "vmm/config.h"
#include "vmm/jit/jit.h"

static inline void jit_way(struct config *c)
{
	const char *way = getenv("jit");

	c->jit = !way || strcmp(way, "off") != 0;
	c->jit_cache = JIT_CACHE_MIN;
	c->jit_threshold = 1;
	c->jit_lockstep = way && !strcmp(way, "lockstep");
}

#endif
