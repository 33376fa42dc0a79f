/*
 * vmm/x86/exception.h - vectors, error codes and how exceptions combine.
 *
 * SDM vol. 3 ch. 6: table 6-1 (vectors), 6-4 and 6-5 (double fault classes),
 * fig. 6-7 (error code).
 */
#ifndef CLEAVE_VMM_X86_EXCEPTION_H
#define CLEAVE_VMM_X86_EXCEPTION_H

#include <stdbool.h>
#include <stdint.h>

enum x86_vector {
	X86_DE = 0, X86_DB = 1, X86_NMI = 2, X86_BP = 3, X86_OF = 4, X86_BR = 5, X86_UD = 6, X86_NM = 7,
	X86_DF = 8, X86_TS = 10, X86_NP = 11, X86_SS_FAULT = 12, X86_GP = 13, X86_PF = 14,
	X86_MF = 16, X86_AC = 17, X86_MC = 18, X86_XM = 19,
};

#define X86_ERR_EXT	1u	/* an event outside the program caused it */
#define X86_ERR_IDT	2u	/* the index is of the IDT */
#define X86_ERR_TI	4u	/* of the LDT */

enum x86_fault_class { X86_BENIGN, X86_CONTRIBUTORY, X86_PAGE_FAULT, X86_DOUBLE_FAULT };

static inline enum x86_fault_class x86_fault_class(unsigned vector)
{
	switch (vector) {
	case X86_DE: case X86_TS: case X86_NP: case X86_SS_FAULT: case X86_GP:
		return X86_CONTRIBUTORY;
	case X86_PF:
		return X86_PAGE_FAULT;
	case X86_DF:
		return X86_DOUBLE_FAULT;
	default:
		return X86_BENIGN;
	}
}

static inline bool x86_pushes_error(unsigned vector)
{
	return vector < 32 && (1u << vector & (1u << X86_DF | 1u << X86_TS | 1u << X86_NP | 1u << X86_SS_FAULT |
					       1u << X86_GP | 1u << X86_PF | 1u << X86_AC));
}

#endif
