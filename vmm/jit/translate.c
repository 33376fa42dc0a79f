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

	asm_back_to(t->c, t->start);
	while (d->refs && d->ref[d->refs - 1].field >= t->start)
		d->refs--;
	t->known = t->start_known;
	t->enters = t->start_enters;
	t->open = t->start_open;
	t->splits = t->start_splits;
	t->aligneds = t->start_aligneds;
	t->rdx = t->start_rdx;
	t->sp = t->here->sp;
	t->fp = t->here->fp;
	t->here->n = 0;
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
	asm_room(t->c);
	if (!may_move_sp(t))
		settle_sp(t);
	t->here->sp = t->sp;
	t->here->body = t->start = t->c->at;
	t->start_known = t->known;
	t->start_enters = t->enters;
	t->start_open = t->open;
	t->start_splits = t->splits;
	t->start_aligneds = t->aligneds;
	t->start_rdx = t->rdx;
	t->here->fp = t->fp;
	if (handler(t) != sel_nop && !try_emit(t)) {
		restart(t);
		t->u->op[t->k].untreated = true;
		by_interpreter(t);
		t->known = 0;
	}
	t->here->resume = t->c->at;
	t->here->known = t->known;
	t->here->rdx = t->rdx;
	t->here->sp_behind = t->sp;
	t->here->opened = t->open & ~t->start_open;
}

/* ---- a unit */

static void emit_misses(struct translation *t, enum version version)
{
	t->version = version;
	for (unsigned k = 0; k < t->u->ops; k++) {
		const struct place *p = &t->place[version][k];

		if (!p->n)
			continue;
		for (unsigned i = 0; i < p->n; i++)
			asm_here(t->c, p->field[i]);
		t->k = k;
		t->fp = p->fp;
		t->sp = p->sp;
		if (p->by_c) {
			settle_sp(t);
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

enum { TURNS = 8 };

/* Where a conditional branch leads, if that is in the block and not behind it; else what is behind it. */
static unsigned back_to(const struct translation *t, unsigned k)
{
	int64_t target = (int64_t)t->plan[k].off + t->plan[k].x.len + t->plan[k].x.disp;
	unsigned i = 0;

	if (op_dispatch[t->plan[k].x.row].select != sel_jcc)
		return k + 1;
	while (i <= k && t->plan[i].off != target)
		i++;
	return i;
}

static bool computes_vectors(const struct translation *t, unsigned from, unsigned to)
{
	while (from < to && !is_vector_row(&x86_opcodes[t->plan[from].x.row]))
		from++;
	return from < to;
}

/*
 * A small loop, that is a conditional branch back to the block's start, stands
 * in the unit several times: counted, asked for events and looked up in the
 * TLB once.  So does one inside of the block if it computes with vectors; others
 * are left too soon for what more code costs.  Returns how many instructions there
 * are then.
 */
static unsigned unroll(struct translation *t, unsigned n)
{
	unsigned first = 0, last, body, turns;

	for (last = 0; last < n; last++) {
		first = back_to(t, last);
		if (first == 0 || (first < last && computes_vectors(t, first, last)))
			break;
	}
	if (last == n)
		return n;
	body = last + 1 - first;
	for (turns = 1; turns < TURNS && n + body <= UNIT_INSNS; turns++) {
		memmove(&t->plan[first + body], &t->plan[first], (n - first) * sizeof(t->plan[0]));
		t->plan[last].again = true;
		n += body;
	}
	return n;
}

enum { FRONT_ISLANDS = 3 };

static void take_up(struct translation *t, unsigned k)
{
	t->k = k;
	t->x = t->plan[k].x;
	t->off = t->plan[k].off;
	t->row = &x86_opcodes[t->x.row];
	t->in = &t->u->op[k].insn;
	t->here = &t->place[t->version][k];
}

/* Instructions from `first` on, and the way out. */
static void emit_from(struct translation *t, unsigned first, unsigned n)
{
	t->ended = false;
	t->rdx = NO_WINDOW;
	for (unsigned k = first; k < n && !t->ended; k++) {
		struct jit_op *op = &t->u->op[k];

		take_up(t, k);
		if (t->version == SHARING) {
			block_decoded(&t->x, &op->insn, t->u->block->mode, t->off, k);
			jit_set_return(op);
			op->at = t->c->at;
			op->again = t->plan[k].again;
			op->untreated = false;
			t->u->ops = k + 1;
		} else {
			t->singly[k] = t->c->at;
			/* who comes from the other version knows nothing */
			if (t->place[SHARING][k].opened || (k > first && t->place[SHARING][k - 1].opened))
				t->known = t->aligneds = 0;
		}
		emit_insn(t);
	}
	if (t->version == SINGLY)
		t->singly[n] = t->c->at;
	if (!t->ended && !t->refused) {
		insn_is_last(&t->u->op[n - 1].insn);
		go_to(t, (int64_t)t->page + t->off + t->x.len, n, false);
	}
}

static void emit_singly(struct translation *t)
{
	if (!t->splits)
		return;
	t->version = SINGLY;
	t->fp = t->place[SHARING][t->split[0].k].fp;
	t->sp = t->place[SHARING][t->split[0].k].sp;
	t->known = t->aligneds = 0;
	emit_from(t, t->split[0].k, t->u->ops);
	for (unsigned i = 0; i < t->splits; i++)
		asm_target(t->c, t->split[i].field, t->place[SINGLY][t->split[i].k].body);
}

bool jit_emit_unit(struct cpu *cpu, struct block *b, const uint8_t *bytes, struct code *c)
{
	struct translation t = { .c = c, .j = cpu->jit.j, .set = mode_set(b->mode), .page = b->gpa & PAGE_OFFSET };
	unsigned n = decode(&t, b, bytes);
	uint32_t entry, far;

	t.u = new_unit(t.j, b);
	if (!n)
		return false;
	n = unroll(&t, n);
	plan_windows(&t, n);
	asm_front(c, FRONT_ISLANDS);
	far = c->at;
	/* with the address in RAX: the page's into base */
	asm_lea(c, H_RAX, op_mem(H_RAX, H_NONE, 0, -(int32_t)t.page));
	asm_store(c, FIELD(jit.base), H_RAX);
	entry = c->at;
	emit_from(&t, 0, n);
	if (t.refused)
		return false;
	emit_singly(&t);
	emit_sides(&t);
	emit_misses(&t, SHARING);
	emit_misses(&t, SINGLY);
	emit_enters(&t);
	t.u->far = t.j->rx + t.u->start + far;
	t.u->entry = t.j->rx + t.u->start + entry;
	return true;
}
