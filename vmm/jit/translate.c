/*
 * vmm/jit/translate.c - from one block of guest instructions to a unit of host
 * code; what stands in it is emitted by the files that translate.h names.
 */
#include <string.h>

#include "vmm/jit/translate.h"
#include "vmm/x86/isa.h"

/* ---- one instruction */

/* What has been emitted of the instruction is not wanted.  False, for an alternative. */
static bool restart(struct translation *t)
{
	struct jit_draft *d = &t->j->draft;

	t->c->at = t->start;
	while (d->refs && d->ref[d->refs - 1].field >= t->start)
		d->refs--;
	t->known = t->start_known;
	t->enters = t->start_enters;
	t->open = t->start_open;
	t->alones = t->start_alones;
	t->aligneds = t->start_aligneds;
	t->fp = t->miss[t->k].fp;
	t->miss[t->k].n = 0;
	return false;
}

/* True: it stands there, in its own code. */
static bool try_emit(struct translation *t)
{
	if (t->row->treatment == T_END || t->row->treatment == T_COND)
		return emit_flow(t);
	if (!x86_isa_offered(x86_row_isa(t->row)))
		return false;
	return emit_general(t) || restart(t) || emit_own(t) || restart(t) || emit_vector(t);
}

static void emit_insn(struct translation *t)
{
	if (handler(t) == sel_nop)
		return;
	t->start = t->c->at;
	t->start_known = t->known;
	t->start_enters = t->enters;
	t->start_open = t->open;
	t->start_alones = t->alones;
	t->start_aligneds = t->aligneds;
	t->miss[t->k].fp = t->fp;
	if (!try_emit(t)) {
		restart(t);
		t->u->op[t->k].untreated = true;
		by_interpreter(t);
		t->known = 0;
	}
	t->miss[t->k].resume = t->c->at;
	t->miss[t->k].known = t->known;
	t->miss[t->k].opened = t->open & ~t->start_open;
}

/* ---- a unit */

static void emit_misses(struct translation *t)
{
	for (unsigned k = 0; k < t->u->ops; k++) {
		if (!t->miss[k].n)
			continue;
		for (unsigned i = 0; i < t->miss[k].n; i++)
			asm_here(t->c, t->miss[k].field[i]);
		t->k = k;
		t->fp = t->miss[k].fp;
		if (t->miss[k].by_c) {
			leave_by(t, new_exit(t, LEAVE_OP, 0, k));
		} else {
			by_interpreter(t);
			resume_with(t, k);
		}
	}
}

static struct jit_unit *new_unit(struct jit *j, struct block *b)
{
	struct jit_unit *u = (struct jit_unit *)j->draft.unit;

	j->draft.refs = 0;
	*u = (struct jit_unit){ .block = b, .exit = j->draft.exit, .start = j->at };
	return u;
}

/* What is no instruction ends a unit, and faults in the interpreter. */
static unsigned decode(struct translation *t, const struct block *b, const uint8_t *bytes)
{
	unsigned n = b->insn[b->count].n, off = 0, k = 0;

	while (k < n && x86_decode(bytes + off, b->bytes - off, 64, &t->plan[k].x) == X86_DECODE_OK) {
		t->plan[k].off = off;
		off += t->plan[k++].x.len;
	}
	return k;
}

enum { TURNS = 4 };

/*
 * A small loop, that is a conditional branch back to the block's start, stands
 * in the unit several times: counted, asked for events and looked up in the
 * TLB once.  Returns how many instructions there are then.
 */
static unsigned unroll(struct translation *t, unsigned n)
{
	unsigned body = 0, turns;

	while (body < n && (op_dispatch[t->plan[body].x.row].select != sel_jcc ||
			    (int64_t)t->plan[body].off + t->plan[body].x.len + t->plan[body].x.disp != 0))
		body++;
	if (body++ == n)
		return n;
	for (turns = 1; turns < TURNS && n + body <= BLOCK_INSNS; turns++) {
		memmove(&t->plan[body], &t->plan[0], n * sizeof(t->plan[0]));
		t->plan[body - 1].again = true;
		n += body;
	}
	return n;
}

bool jit_emit_unit(struct cpu *cpu, struct block *b, const uint8_t *bytes, struct code *c)
{
	struct translation t = { .c = c, .j = cpu->jit.j, .set = mode_set(b->mode), .page = b->gpa & PAGE_OFFSET };
	unsigned n = decode(&t, b, bytes);
	uint32_t entry;

	t.u = new_unit(t.j, b);
	n = unroll(&t, n);
	plan_windows(&t, n);
	/* with the address in RAX: the page's into base */
	asm_lea(c, H_RAX, op_mem(H_RAX, H_NONE, 0, -(int32_t)t.page));
	asm_store(c, FIELD(jit.base), H_RAX);
	entry = c->at;
	for (t.k = 0; t.k < n && !t.ended; t.k++) {
		struct jit_op *op = &t.u->op[t.k];

		t.x = t.plan[t.k].x;
		t.off = t.plan[t.k].off;
		t.row = &x86_opcodes[t.x.row];
		block_decoded(&t.x, &op->insn, b->mode, t.off, t.k);
		jit_set_return(op);
		op->at = c->at;
		op->again = t.plan[t.k].again;
		t.in = &op->insn;
		emit_insn(&t);
	}
	if (t.k == 0 || t.refused)
		return false;
	if (!t.ended)
		go_to(&t, (int64_t)t.page + t.off + t.x.len, t.k);
	t.u->ops = t.k;
	emit_sides(&t);
	emit_alones(&t);
	emit_misses(&t);
	emit_enters(&t);
	t.u->far = t.j->rx + t.u->start;
	t.u->entry = t.u->far + entry;
	return true;
}
