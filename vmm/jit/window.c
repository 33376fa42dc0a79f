/*
 * vmm/jit/window.c - neighbouring accesses share one look into the TLB.
 *
 * Before a unit is emitted its memory operands are followed through it: each
 * register is what some register was at the unit's start, or
 * behind an instruction that made something new of it, plus a constant.
 * Accesses around the same such value, not farther apart than WINDOW, make a
 * window: fields of a structure, a frame, pushes and pops; and a loop's turns
 * that move by a register which they leave alone.  The first of them
 * asks whether the whole window lies in one page that allows what all of them
 * do, and keeps the addend; the others take it from there and ask nothing.
 * Where the window is not in one such page the unit goes on in its other
 * version, in which each access asks for itself.
 *
 * A unit is left only at its ends, so whoever is behind the first has passed it,
 * and nothing that a unit contains changes a translation.
 */
#include <string.h>

#include "vmm/jit/translate.h"

enum { WINDOW = 256, STRIDES = 7, ALL = 0xffff };

_Static_assert((STRIDES * PAGE_BYTES + WINDOW) / PAGE_BYTES < TLB_SPAN, "a window of strides");

/* ---- registers, followed */

/* A base and an index together are a value too. */
enum { PAIRS = 12, OF_NOTHING = 0xffff, OF_RIP = 0xfffe };

struct tracker {
	struct value reg[16];
	uint16_t made;
	struct { uint16_t base, index, of; uint8_t scale; } pair[PAIRS];
	unsigned pairs;
};

static void make_new(struct tracker *w, unsigned reg)
{
	w->reg[reg] = (struct value){ .of = w->made++ };
}

static bool moved_by(struct value *v, int64_t by)
{
	int64_t plus = v->plus + by;

	if (plus < -(1 << 20) || plus > 1 << 20)
		return false;
	v->plus = plus;
	return true;
}

static unsigned bit_of(enum x86_operand o, const struct x86_insn *x)
{
	bool high = !x->rex && (o == OP_Gb || o == OP_Eb || o == OP_Zb);
	unsigned reg;

	if (o == OP_Gb || o == OP_Gw || o == OP_Gv || o == OP_Gy || o == OP_Zb || o == OP_Zv)
		reg = x->reg;
	else if (o == OP_AL || o == OP_rAX)
		reg = X86_RAX;
	else if (o == OP_By)
		reg = x->vvvv;
	else if (is_gpr_rm(o) && !x->mem)
		reg = x->rm;
	else
		return 0;
	return 1u << (high && reg >= 4 && reg < 8 ? reg - 4 : reg);
}

/* General registers that an instruction may change: all, where nobody knows better. */
static unsigned changes(const struct x86_insn *x)
{
	const unsigned a = 1 << X86_RAX, d = 1 << X86_RDX;
	static const struct { sel_fn *is; unsigned bits; } own[] = {
		{ sel_cbw, 1 << X86_RAX }, { sel_lahf, 1 << X86_RAX }, { sel_cwd, 1 << X86_RDX },
		{ sel_sahf, 0 }, { sel_clc, 0 }, { sel_stc, 0 }, { sel_cmc, 0 }, { sel_nop, 0 }, { sel_jcc, 0 },
		{ sel_push, 1 << X86_RSP }, { sel_leave, 1 << X86_RSP | 1 << X86_RBP },
		{ sel_x87_reg, 0 }, { sel_x87_load, 0 }, { sel_x87_store, 0 }, { sel_x87_fcomi, 0 }, { sel_x87_fcmov, 0 },
	};
	const struct x86_opcode *row = &x86_opcodes[x->row];
	sel_fn *is = op_dispatch[x->row].select;

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (own[i].is == is)
			return own[i].bits;
	if (is == sel_mul || is == sel_imul1 || is == sel_div || is == sel_idiv)
		return a | d;
	if (is_compare(is))
		return 0;
	if (is == sel_pop)
		return 1 << X86_RSP | 1u << x->reg;
	if (is == sel_cmpxchg)
		return a | bit_of(row->operand[0], x);
	if (is == sel_lea || is_general(x->row))
		return bit_of(row->operand[0], x) | (is_exchange(is) ? bit_of(row->operand[1], x) : 0);
	if (is && is_vector_row(row) && !strstr(row->mnemonic, "str"))
		return bit_of(row->operand[0], x);
	return ALL;
}

/* By how much ADD, SUB, INC or DEC of a 64-bit register moves it; 0: it is none of these. */
static int64_t moves_by(const struct x86_insn *x)
{
	const struct x86_opcode *row = &x86_opcodes[x->row];
	sel_fn *is = op_dispatch[x->row].select;

	if (x->mem || x->opsize != 8 || row->operand[0] == OP_Eb)
		return 0;
	if ((is == sel_add || is == sel_sub) && is_imm(row->operand[1]) && row->operand[0] == OP_Ev)
		return is == sel_add ? (int64_t)x->imm : -(int64_t)x->imm;
	if ((is == sel_inc || is == sel_dec) && row->operand[0] == OP_Ev)
		return is == sel_inc ? 1 : -1;
	return 0;
}

static bool is_point(const struct point *p, const struct value *v)
{
	return p->of == v->of && p->plus == v->plus && !v->times;
}

static bool same_point(struct point a, struct point b)
{
	return a.of == b.of && a.plus == b.plus;
}

/* ADD of another register: one stride more of what has gone by it, or by nothing. */
static bool strides(struct tracker *w, const struct x86_insn *x)
{
	const struct x86_opcode *row = &x86_opcodes[x->row];
	bool to_rm = row->operand[0] == OP_Ev && row->operand[1] == OP_Gv, to_reg = row->operand[0] == OP_Gv && row->operand[1] == OP_Ev;
	unsigned from = to_rm ? x->reg : x->rm;
	struct value *to = &w->reg[to_rm ? x->rm : x->reg], *by = &w->reg[from];

	if (op_dispatch[x->row].select != sel_add || x->mem || x->opsize != 8 || !(to_rm || to_reg) || to == by || by->times ||
	    jit_host_of[from] == H_NONE || from == X86_RSP || to->times == STRIDES)	/* RSP may be moved in mind */
		return false;
	if (to->times && !is_point(&to->stride, by))
		return false;
	to->stride = (struct point){ .of = by->of, .plus = by->plus };
	to->stride_reg = from;
	to->times++;
	return true;
}

static bool is_simple(const struct x86_insn *x)
{
	return x->has_modrm && x->mem && x->adsize == 8 && x->base < 16 && x->index == X86_NO_REG;
}

/* What registers are behind the instruction. */
static void step_over(struct tracker *w, const struct x86_insn *x)
{
	const struct x86_opcode *row = &x86_opcodes[x->row];
	sel_fn *is = op_dispatch[x->row].select;
	unsigned bits = changes(x);
	struct value rsp = w->reg[X86_RSP], to;
	int64_t by = moves_by(x);
	bool kept = false;

	if (by) {
		to = w->reg[x->rm];
		kept = moved_by(&to, by);
		if (kept)
			w->reg[x->rm] = to;
		bits = kept ? 0 : bits;
	} else if (strides(w, x)) {
		bits = 0;
	} else if (is == sel_lea && x->opsize == 8 && is_simple(x)) {
		to = w->reg[x->base];
		if (moved_by(&to, x->disp)) {
			w->reg[x->reg] = to;
			bits = 0;
		}
	} else if (is == sel_mov && !x->mem && x->opsize == 8 && row->operand[0] == OP_Ev && row->operand[1] == OP_Gv) {
		w->reg[x->rm] = w->reg[x->reg];
		bits = 0;
	} else if (is == sel_mov && !x->mem && x->opsize == 8 && row->operand[0] == OP_Gv && row->operand[1] == OP_Ev) {
		w->reg[x->reg] = w->reg[x->rm];
		bits = 0;
	} else if (is == sel_push || is == sel_pop) {
		bool moved = x->opsize == 8 && moved_by(&rsp, is == sel_push ? -8 : 8);

		for (unsigned r = 0; r < 16; r++)
			if (bits & 1u << r)
				make_new(w, r);
		if (moved && !(is == sel_pop && x->reg == X86_RSP))
			w->reg[X86_RSP] = rsp;
		return;
	} else if (is == sel_leave && x->opsize == 8) {
		to = w->reg[X86_RBP];
		if (moved_by(&to, 8)) {
			w->reg[X86_RSP] = to;
			make_new(w, X86_RBP);
			return;
		}
	}
	for (unsigned r = 0; r < 16; r++)
		if (bits & 1u << r)
			make_new(w, r);
}

/* ---- accesses, gathered */

/* Is it as many strides away as the window's are, or some more by a register that has the stride where the window begins? */
static bool within_strides(const struct window *w, const struct value *v)
{
	if (v->times && w->last && !same_point(v->stride, w->stride))
		return false;
	return v->times == w->first ||
		(v->times > w->first && v->times - w->first <= STRIDES && is_point(&v->stride, &w->reg[v->stride_reg]));
}

static void join(struct translation *t, const struct tracker *tracker, struct access *a, const struct value *v)
{
	int32_t lo = a->lo, hi = lo + a->size;
	struct window *w;

	a->window = NO_WINDOW;
	for (unsigned i = t->windows; i--;) {
		w = &t->window[i];
		int32_t l = lo < w->lo ? lo : w->lo, h = hi > w->hi ? hi : w->hi;

		if (w->of != a->of || (int64_t)h - l > WINDOW || !within_strides(w, v))
			continue;
		w->lo = l;
		w->hi = h;
		w->write |= a->write;
		w->n++;
		if (v->times > w->first)
			w->stride_reg = v->stride_reg;
		if (v->times)
			w->stride = v->stride;
		if (v->times > w->last)
			w->last = v->times;
		a->window = i;
		return;
	}
	if (t->windows == JIT_WINDOWS)
		return;
	a->window = t->windows;
	w = &t->window[t->windows++];
	*w = (struct window){ .of = a->of, .lo = lo, .hi = hi, .write = a->write, .n = 1, .first = v->times, .last = v->times, .stride = v->stride };
	a->begins = true;
	memcpy(w->reg, tracker->reg, sizeof(w->reg));
}

static void add_access(struct translation *t, const struct tracker *w, unsigned k, struct access a, const struct value *v, int64_t disp)
{
	int64_t lo = v->plus + disp;

	if (!a.size || v->of == OF_NOTHING || lo != (int32_t)lo || lo > INT32_MAX - 64)
		return;
	a.of = v->of;
	a.lo = lo;
	a.times = v->times;
	a.stride = v->stride;
	join(t, w, &a, v);
	t->plan[k].access[t->plan[k].n++] = a;
}

/* On the stack or a frame. */
static void access_at(struct translation *t, const struct tracker *w, unsigned k, unsigned guest, int32_t disp, bool write)
{
	add_access(t, w, k, (struct access){ .guest = guest, .disp = disp, .size = 8, .write = write }, &w->reg[guest], disp);
}

/* What base and index make, without the displacement. */
static struct value value_of(struct translation *t, struct tracker *w, unsigned k)
{
	const struct x86_insn *x = &t->plan[k].x;
	const struct value nothing = { .of = OF_NOTHING };
	struct value base = x->base < 16 ? w->reg[x->base] : nothing, index;
	unsigned i;

	if (x->base == X86_REG_RIP)
		return (struct value){ .of = OF_RIP, .plus = t->page + t->plan[k].off + x->len };
	if (x->index == X86_NO_REG)
		return base;
	index = w->reg[x->index];
	if (index.times && (base.times || x->scale))
		return nothing;
	for (i = 0; i < w->pairs; i++)
		if (w->pair[i].base == base.of && w->pair[i].index == index.of && w->pair[i].scale == x->scale)
			break;
	if (i == PAIRS)
		return nothing;
	if (i == w->pairs) {
		w->pair[w->pairs].base = base.of;
		w->pair[w->pairs].index = index.of;
		w->pair[w->pairs].scale = x->scale;
		w->pair[w->pairs++].of = w->made++;
	}
	if (index.times)
		base = (struct value){ .plus = base.plus, .times = index.times, .stride = index.stride, .stride_reg = index.stride_reg };
	base.of = w->pair[i].of;
	base.plus += index.plus * (1 << x->scale);
	return base;
}

/* The operand in ModRM. */
static void operand_access(struct translation *t, struct tracker *w, unsigned k)
{
	const struct x86_insn *x = &t->plan[k].x;
	const struct memory_use use = memory_use(x);
	struct access a = { .guest = AT_OPERAND, .size = use.bytes, .write = use.write };
	struct value v;

	if (!use.bytes || x->adsize != 8 || x->seg == X86_FS || x->seg == X86_GS)
		return;
	if (x->index == X86_NO_REG && x->base < 16 && jit_host_of[x->base] != H_NONE) {
		a.guest = x->base;
		a.disp = x->disp;
	}
	v = value_of(t, w, k);
	add_access(t, w, k, a, &v, x->disp);
}

static void accesses_of(struct translation *t, struct tracker *w, unsigned k)
{
	sel_fn *is = op_dispatch[t->plan[k].x.row].select;

	operand_access(t, w, k);
	if (is == sel_push || is == sel_call || is == sel_call_ind)
		access_at(t, w, k, X86_RSP, -8, true);
	else if (is == sel_pop || is == sel_ret)
		access_at(t, w, k, X86_RSP, 0, false);
	else if (is == sel_leave)
		access_at(t, w, k, X86_RBP, 0, false);
}

void plan_windows(struct translation *t, unsigned n)
{
	struct tracker w;

	for (unsigned r = 0; r < 16; r++)
		w.reg[r] = (struct value){ .of = r };
	w.made = 16;
	w.pairs = 0;
	for (unsigned k = 0; k < n; k++) {
		accesses_of(t, &w, k);
		step_over(&w, &t->plan[k].x);
	}
}

/* ---- emitted */

const struct access *tracked_access(const struct translation *t, unsigned guest, int32_t disp, unsigned size)
{
	for (unsigned i = 0; i < t->plan[t->k].n; i++) {
		const struct access *a = &t->plan[t->k].access[i];

		if (a->guest == guest && a->disp == disp && a->size == size)
			return a;
	}
	return NULL;
}

bool is_shared(const struct translation *t, const struct access *a)
{
	return a->window != NO_WINDOW && t->window[a->window].n > 1;
}

bool known_aligned(const struct translation *t, const struct access *a, unsigned align)
{
	for (unsigned i = 0; i < t->aligneds; i++)
		if (t->aligned[i].of == a->of && t->aligned[i].times == a->times && (!a->times || same_point(t->aligned[i].stride, a->stride)) &&
		    t->aligned[i].align >= align && ((t->aligned[i].lo - a->lo) & (align - 1)) == 0)
			return true;
	return false;
}

void note_aligned(struct translation *t, const struct access *a, unsigned align)
{
	if (t->aligneds == sizeof(t->aligned) / sizeof(t->aligned[0]))
		return;
	t->aligned[t->aligneds].of = a->of;
	t->aligned[t->aligneds].lo = a->lo;
	t->aligned[t->aligneds].times = a->times;
	t->aligned[t->aligneds].stride = a->stride;
	t->aligned[t->aligneds++].align = align;
}

static struct operand slot(unsigned window)
{
	return op_gs(H_NONE, 0, offsetof(struct cpu, jit.window) + 8 * window);
}

/* `bytes` at the access's address plus `by`. */
static uint32_t look_up_from(struct translation *t, const struct access *a, int32_t by, unsigned bytes, bool write)
{
	if (a->guest != AT_OPERAND)
		return look_up(t, jit_host_of[a->guest], a->disp + by + in_mind(t, a->guest), bytes, write);
	effective(t);
	return look_up(t, H_RAX, by, bytes, write);
}

static void split(struct translation *t, uint32_t field)
{
	t->split[t->splits].field = field;
	t->split[t->splits++].k = t->k;
}

/* RCX := `times` of a register. */
static void multiply(struct translation *t, unsigned reg, unsigned times)
{
	static const struct { uint8_t plus, scale; } by[] = { [1] = { 0, 0 }, { 1, 0 }, { 1, 1 }, { 0, 2 }, { 1, 2 }, { 1, 1 }, { 1, 1 } };

	asm_lea(t->c, H_RCX, op_mem(by[times].plus ? reg : H_NONE, reg, by[times].scale, 0));
	if (times > 5)
		asm_lea(t->c, H_RCX, op_mem(H_RCX, times == 6 ? H_RCX : reg, times == 6 ? 0 : 2, 0));
}

/*
 * A window that is some strides long: where these are positive and less than a
 * page nothing of it is outside of what lies between its ends.
 */
static void look_up_strides(struct translation *t, const struct access *a, const struct window *w)
{
	const unsigned stride = jit_host_of[w->stride_reg];
	unsigned reg = H_RAX;
	int32_t from = w->lo - a->lo, to = w->hi - a->lo - 1;

	asm_shrx(t->c, H_RCX, stride, H_RSP);
	split(t, asm_jmp_if_rcx(t->c));
	if (a->guest == AT_OPERAND) {
		effective(t);
	} else {
		int32_t disp = a->disp + in_mind(t, a->guest);

		reg = jit_host_of[a->guest];
		from += disp;
		to += disp;
	}
	multiply(t, stride, w->last - w->first);
	asm_lea(t->c, H_RDX, op_mem(reg, H_NONE, 0, from));
	asm_shrx(t->c, H_RDX, H_RDX, H_RSP);
	asm_lea(t->c, H_RAX, op_mem(reg, H_RCX, 0, to + (t->c->loop ? PAGE_BYTES : 0)));
	asm_shrx(t->c, H_RAX, H_RAX, H_RSP);
	split(t, look_up_page(t, H_RDX, w->write, t->c->loop));
}

void load_addend(struct translation *t, unsigned window)
{
	asm_load(t->c, H_RDX, slot(window));
	t->rdx = window;
}

bool look_in_window(struct translation *t, const struct access *a)
{
	const struct window *w = &t->window[a->window];

	if (t->version == SINGLY)
		return false;
	if (t->open & 1u << a->window) {
		if (t->rdx != a->window)
			load_addend(t, a->window);
		return true;
	}
	if (w->last > w->first && !a->begins)
		return false;		/* the registers are not what they were where it begins */
	if (w->last > w->first)
		look_up_strides(t, a, w);
	else
		split(t, look_up_from(t, a, w->lo - a->lo, w->hi - w->lo, w->write));
	asm_store(t->c, slot(a->window), H_RDX);
	t->rdx = a->window;
	t->open |= 1u << a->window;
	return true;
}
