/*
 * vmm/soft/ops.h - the handlers that opcodes.def names, and the dispatch table.
 */
#ifndef CLEAVE_VMM_SOFT_OPS_H
#define CLEAVE_VMM_SOFT_OPS_H

#include "vmm/soft/insn.h"
#include "vmm/x86/decode.h"

/*
 * Chooses the threaded handler for an instruction.  `in` is filled but for fn;
 * a selector may rearrange its operands for the handler that it picks.
 */
typedef insn_fn *sel_fn(const struct x86_insn *, struct insn *in);

#define DECLARE_P(h) op_fn op_##h;
#define DECLARE_F(h) sel_fn sel_##h;
#define DECLARE_V(h) DECLARE_F(h)
#define DECLARE_VI(h) DECLARE_F(h)
#define DECLARE_VL(h) DECLARE_F(h)
#define DECLARE_VA(h) DECLARE_F(h)
#define DECLARE_VF(h) DECLARE_F(h)
#define X(map, op, ext, pfx, kind, mn, h, a, b, c, r, w, u, p, t) DECLARE_##kind(h)
#include "vmm/x86/opcodes.def"
#undef X
#undef DECLARE_P
#undef DECLARE_F
#undef DECLARE_V
#undef DECLARE_VI
#undef DECLARE_VL
#undef DECLARE_VA
#undef DECLARE_VF

struct op_dispatch {
	op_fn *plain;		/* one of the two */
	sel_fn *select;
};

/* By row number. */
extern const struct op_dispatch op_dispatch[];

static inline bool is_imm(enum x86_operand o)
{
	return o == OP_Ib || o == OP_sIb || o == OP_Iz || o == OP_Iv;
}

static inline bool is_modrm_reg(enum x86_operand o)
{
	return o == OP_Gb || o == OP_Gw || o == OP_Gv;
}

#endif
