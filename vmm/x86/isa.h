/*
 * vmm/x86/isa.h - extensions that the processor we are has: a row of one that
 * is not offered is no instruction, and CPUID says the same.
 */
#ifndef CLEAVE_VMM_X86_ISA_H
#define CLEAVE_VMM_X86_ISA_H

#include <stdbool.h>

#include "vmm/x86/decode.h"

/* Both the engine can do it and, where the host's instruction is used, the host. */
bool x86_isa_offered(enum x86_isa);

#endif
