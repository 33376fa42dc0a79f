/*
 * vmm/jit/operand.c - where the operands of a guest's instruction are: registers
 * of the host's or fields of struct cpu, and memory behind a look into the TLB.
 */
#include "vmm/jit/translate.h"

/* ---- guest registers */

/* Where a guest register is, or a copy of it in `scratch`. */
unsigned reg_or_copy(struct translation *t, unsigned guest, unsigned scratch)
{
	if (jit_host_of[guest] != H_NONE)
		return jit_host_of[guest];
	get(t, scratch, guest);
	return scratch;
}

void get(struct translation *t, unsigned scratch, unsigned guest)
{
	if (scratch == H_RDX)
		t->rdx = NO_WINDOW;
	if (jit_host_of[guest] != H_NONE)
		asm_mov(t->c, scratch, jit_host_of[guest]);
	else
		asm_load(t->c, scratch, gpr_field(guest));
}

void put(struct translation *t, unsigned guest, unsigned scratch)
{
	if (jit_host_of[guest] != H_NONE)
		asm_mov(t->c, jit_host_of[guest], scratch);
	else
		asm_store(t->c, gpr_field(guest), scratch);
}

/* ---- the stack pointer */

static void add_to_sp(struct translation *t, int32_t n)
{
	const unsigned sp = jit_host_of[X86_RSP];

	if (n)
		asm_lea(t->c, sp, op_mem(sp, H_NONE, 0, n));
}

void settle_sp(struct translation *t)
{
	add_to_sp(t, t->sp);
	t->sp = 0;
}

void unsettle_sp(struct translation *t, int32_t sp)
{
	add_to_sp(t, t->sp - sp);
	t->sp = sp;
}

static bool is_flat(const struct translation *t)
{
	return t->x.seg != X86_FS && t->x.seg != X86_GS;
}

/* It names RSP nowhere, or as the base of an address that look_up_at() looks up. */
bool may_move_sp(const struct translation *t)
{
	const struct x86_insn *x = &t->x;
	sel_fn *is = handler(t);

	if (is == sel_jcc || is == sel_jmp || is == sel_call)
		return true;
	if (is == sel_div || is == sel_idiv || is == sel_x87_load || is == sel_x87_store || is == sel_lea)
		return false;
	if (x->reg == X86_RSP || x->vvvv == X86_RSP || x->index == X86_RSP || (x->has_modrm && !x->mem && x->rm == X86_RSP))
		return false;
	return !x->mem || x->base != X86_RSP || (x->index == X86_NO_REG && x->adsize == 8 && is_flat(t));
}

/* ---- memory */

static unsigned host_or_none(unsigned guest)
{
	return guest == X86_NO_REG ? H_NONE : jit_host_of[guest];
}

/* Is each part of the address in a register, or absent? */
static bool parts_resident(const struct x86_insn *x)
{
	return x->base != X86_REG_RIP && (x->base == X86_NO_REG || host_or_none(x->base) != H_NONE) &&
		(x->index == X86_NO_REG || host_or_none(x->index) != H_NONE);
}

/* From the page's start to what an address relative to RIP means. */
static int64_t rip_offset(const struct translation *t)
{
	return (int64_t)t->page + t->off + t->x.len + t->x.disp;
}

bool address_fits(const struct translation *t)
{
	const struct x86_insn *x = &t->x;

	return x->has_modrm && fits32(x->disp) && (x->base != X86_REG_RIP || (x->adsize == 8 && fits32(rip_offset(t))));
}

bool address_is_plain(const struct translation *t)
{
	return t->x.adsize == 8 && parts_resident(&t->x);
}

struct operand address_operand(const struct translation *t)
{
	const struct x86_insn *x = &t->x;

	return op_mem(host_or_none(x->base), host_or_none(x->index), x->scale, x->disp);
}

/* The linear address less that of FS and GS, in the address size, into RAX; RCX is used. */
void effective(struct translation *t)
{
	const struct x86_insn *x = &t->x;
	unsigned base = H_NONE, index = H_NONE;
	struct operand ea;

	if (x->base == X86_REG_RIP) {
		asm_load(t->c, H_RAX, FIELD(jit.base));
		asm_lea(t->c, H_RAX, op_mem(H_RAX, H_NONE, 0, rip_offset(t)));
		return;
	}
	if (x->base != X86_NO_REG)
		base = reg_or_copy(t, x->base, H_RAX);
	if (x->index != X86_NO_REG)
		index = reg_or_copy(t, x->index, H_RCX);
	ea = op_mem(base, index, x->scale, x->disp);
	asm_encode(t->c, &(struct encoding){ .map = X86_MAP_1, .opcode = 0x8d, .w = x->adsize == 8, .reg = H_RAX, .rm = ea });
}

void note_miss(struct translation *t, uint32_t field)
{
	t->here->field[t->here->n++] = field;
}

uint32_t look_up_page(struct translation *t, unsigned first, bool write, bool one)
{
	struct code *c = t->c;

	asm_movzx16(c, H_RDX, first);
	asm_load(c, H_RCX, op_gs(H_RDX, 3, write ? tlb_write_tags(t->set) : tlb_read_tags(t->set)));
	asm_lea(c, H_RCX, op_mem(H_RCX, H_RAX, 0, 0));
	asm_load(c, H_RDX, op_gs(H_RDX, 3, tlb_addends(t->set)));
	t->rdx = NO_WINDOW;
	return one ? asm_jmp_unless_one(c) : asm_jmp_if_rcx(c);
}

uint32_t look_up(struct translation *t, unsigned reg, int32_t disp, unsigned size, bool write)
{
	struct code *c = t->c;
	bool one = size > 1 && c->loop;			/* what hits adds up to 1: the last page's number is one more */
	int32_t last = disp + (int32_t)size - 1 + (one ? PAGE_BYTES : 0);

	if (size > 1 && disp) {
		asm_lea(c, H_RDX, op_mem(reg, H_NONE, 0, disp));
		asm_shrx(c, H_RDX, H_RDX, H_RSP);
	} else if (size > 1) {
		asm_shrx(c, H_RDX, reg, H_RSP);
	}
	if (last) {
		asm_lea(c, H_RAX, op_mem(reg, H_NONE, 0, last));
		asm_shrx(c, H_RAX, H_RAX, H_RSP);
	} else {
		asm_shrx(c, H_RAX, reg, H_RSP);
	}
	return look_up_page(t, size > 1 ? H_RDX : H_RAX, write, one);
}

/* RCX is used. */
static void check_alignment(struct translation *t, unsigned reg, int32_t disp, unsigned align)
{
	if (disp) {
		asm_lea(t->c, H_RCX, op_mem(reg, H_NONE, 0, disp));
		reg = H_RCX;
	}
	/* pext: the low bits alone, and no flags */
	asm_encode(t->c, &(struct encoding){ .map = X86_MAP_VEX_0F38, .opcode = 0xf5, .prefix = 0xf3, .w = true, .reg = H_RCX, .vvvv = reg,
					     .rm = align == 16 ? FIELD(jit.low4) : FIELD(jit.low5) });
	note_miss(t, asm_jmp_if_rcx(t->c));
}

/* A guest stack slot or frame, by a resident register. */
struct operand look_up_at(struct translation *t, unsigned guest, int32_t disp, unsigned size, bool write)
{
	const struct access *a = tracked_access(t, guest, disp, size);

	if (!a || a->write != write || !is_shared(t, a) || !look_in_window(t, a))
		note_miss(t, look_up(t, jit_host_of[guest], disp + in_mind(t, guest), size, write));
	return op_mem(H_RDX, jit_host_of[guest], 0, disp + in_mind(t, guest));
}

/* Unless an access before it, a multiple of `align` away, has been found aligned. */
static void need_alignment(struct translation *t, const struct access *a, unsigned reg, int32_t disp, unsigned align)
{
	if (a && known_aligned(t, a, align))
		return;
	if (reg == H_RAX)
		effective(t);
	check_alignment(t, reg, disp, align);
	if (a)
		note_aligned(t, a, align);
}

/* RDX is the addend: t->m is the operand. */
static void add_address(struct translation *t)
{
	const struct x86_insn *x = &t->x;

	if (x->base == X86_REG_RIP) {
		asm_load(t->c, H_RAX, FIELD(jit.base));
		t->m = op_mem(H_RDX, H_RAX, 0, rip_offset(t));
	} else if (address_is_plain(t) && x->base == X86_NO_REG) {
		t->m = op_mem(H_RDX, host_or_none(x->index), x->scale, x->disp);
	} else {
		effective(t);
		t->m = op_mem(H_RDX, H_RAX, 0, 0);
	}
}

/* With FS or GS. */
static void look_up_based(struct translation *t, unsigned size, bool write, unsigned align)
{
	effective(t);
	asm_load(t->c, H_RCX, op_gs(H_NONE, 0, offsetof(struct cpu, seg[0].base) +
				    (t->x.seg == X86_FS ? SEG_FLAT_FS : SEG_FLAT_GS) * sizeof(struct seg)));
	asm_lea(t->c, H_RAX, op_mem(H_RAX, H_RCX, 0, 0));
	if (align)
		check_alignment(t, H_RAX, 0, align);
	asm_store(t->c, FIELD(jit.tmp), H_RAX);
	note_miss(t, look_up(t, H_RAX, 0, size, write));
	asm_load(t->c, H_RAX, FIELD(jit.tmp));
	t->m = op_mem(H_RDX, H_RAX, 0, 0);
}

struct memory_use memory_use(const struct x86_insn *x)
{
	const struct x86_opcode *row = &x86_opcodes[x->row];
	sel_fn *is = op_dispatch[x->row].select;
	bool of64 = is == sel_push || is == sel_jmp_ind || is == sel_call_ind;		/* in 64-bit mode */
	bool only_read = of64 || is_compare(is) || is == sel_mul || is == sel_imul1 || is == sel_div || is == sel_idiv || is == sel_x87_load;

	if (!x->has_modrm || !x->mem || is == sel_lea || is == sel_nop)
		return (struct memory_use){ 0 };
	for (unsigned i = 0; i < X86_OPERANDS; i++)
		if (is_gpr_rm(row->operand[i]) || is_vector_memory(row->operand[i]))
			return (struct memory_use){ .bytes = x86_operand_bytes(row->operand[i], of64 ? 8 : x->opsize), .write = i == 0 && !only_read };
	return (struct memory_use){ 0 };
}

bool look_up_operand(struct translation *t, unsigned align)
{
	const struct x86_insn *x = &t->x;
	const struct memory_use use = memory_use(x);
	const unsigned size = use.bytes;
	const bool write = use.write;
	const struct access *a;

	if (!size || !address_fits(t))
		return false;
	if (!is_flat(t)) {
		look_up_based(t, size, write, align);
		return true;
	}
	if (address_is_plain(t) && x->index == X86_NO_REG && x->base != X86_NO_REG) {
		if (align)
			need_alignment(t, tracked_access(t, x->base, x->disp, size), jit_host_of[x->base], x->disp + in_mind(t, x->base), align);
		t->m = look_up_at(t, x->base, x->disp, size, write);
		return true;
	}
	a = tracked_access(t, AT_OPERAND, 0, size);
	if (align)
		need_alignment(t, a, H_RAX, 0, align);
	if (!a || a->write != write || !is_shared(t, a) || !look_in_window(t, a)) {
		effective(t);
		note_miss(t, look_up(t, H_RAX, 0, size, write));
	}
	add_address(t);
	return true;
}

/* So that it names RDX alone, and no REX with it. */
void settle_operand(struct translation *t)
{
	if (t->m.base == H_RDX && t->m.index == H_NONE && t->m.disp == 0)
		return;
	asm_lea(t->c, H_RDX, t->m);
	t->rdx = NO_WINDOW;
	t->m = op_mem(H_RDX, H_NONE, 0, 0);
}

