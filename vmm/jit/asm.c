/*
 * vmm/jit/asm.c - see asm.h.
 */
#include "vmm/jit/asm.h"

#include <string.h>

#include "vmm/x86/decode.h"

void asm_byte(struct code *c, uint8_t b)
{
	if (c->at < c->size)
		c->bytes[c->at] = b;
	c->at++;
}

static void bytes(struct code *c, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		asm_byte(c, v >> 8 * i);
}

void asm_u32(struct code *c, uint32_t v)
{
	bytes(c, v, 4);
}

void asm_u64(struct code *c, uint64_t v)
{
	bytes(c, v, 8);
}

static unsigned high(unsigned reg)
{
	return reg == H_NONE ? 0 : reg >> 3 & 1;
}

/* REX's bits B, X and R, from the least. */
static unsigned rex_bits(const struct encoding *e)
{
	unsigned r = high(e->reg) << 2;

	if (!e->rm.mem)
		return r | high(e->rm.reg);
	return r | high(e->rm.base) | high(e->rm.index) << 1;
}

static void vex(struct code *c, const struct encoding *e)
{
	unsigned pp = e->osize ? 1 : e->prefix == 0xf3 ? 2 : e->prefix == 0xf2 ? 3 : 0;

	asm_byte(c, 0xc4);
	asm_byte(c, (~rex_bits(e) & 7) << 5 | (e->map - X86_MAP_VEX_0F + 1));	/* R, X, B inverted, from the highest bit */
	asm_byte(c, (e->w ? 0x80 : 0) | (~e->vvvv & 15) << 3 | (e->vex_l ? 4 : 0) | pp);
}

static void legacy(struct code *c, const struct encoding *e)
{
	unsigned rex = rex_bits(e) | (e->w ? 8 : 0);

	if (e->lock)
		asm_byte(c, 0xf0);
	if (e->osize)
		asm_byte(c, 0x66);
	if (e->prefix)
		asm_byte(c, e->prefix);
	if (rex || e->rex)
		asm_byte(c, 0x40 | rex);
	if (e->map != X86_MAP_1)
		asm_byte(c, 0x0f);
	if (e->map == X86_MAP_0F38)
		asm_byte(c, 0x38);
	if (e->map == X86_MAP_0F3A)
		asm_byte(c, 0x3a);
}

static void modrm(struct code *c, unsigned mod, unsigned reg, unsigned rm)
{
	asm_byte(c, mod << 6 | (reg & 7) << 3 | (rm & 7));
}

static void memory(struct code *c, unsigned reg, const struct operand *m)
{
	unsigned index = m->index == H_NONE ? H_RSP : m->index, mod;

	if (m->base == H_NONE) {			/* SIB without a base: 32 bits of displacement */
		modrm(c, 0, reg, H_RSP);
		asm_byte(c, m->scale << 6 | (index & 7) << 3 | H_RBP);
		asm_u32(c, m->disp);
		return;
	}
	mod = m->disp == 0 && (m->base & 7) != H_RBP ? 0 : m->disp == (int8_t)m->disp ? 1 : 2;
	if (m->index == H_NONE && (m->base & 7) != H_RSP) {
		modrm(c, mod, reg, m->base);
	} else {
		modrm(c, mod, reg, H_RSP);
		asm_byte(c, m->scale << 6 | (index & 7) << 3 | (m->base & 7));
	}
	bytes(c, m->disp, mod == 1 ? 1 : mod == 2 ? 4 : 0);
}

/* ---- branches that fall through */

enum { JMP_BYTES = 5, REACH = 127 };
#define NEAR	(1u << 31)

/* Nothing that is emitted from now on will be wanted. */
static void give_up(struct code *c)
{
	c->size = 0;
	c->at++;
}

static void set_near(struct code *c, unsigned i, uint32_t to)
{
	int32_t distance = to - (c->near[i].at + 1);

	if (distance != (int8_t)distance)
		give_up(c);
	if (c->at <= c->size)
		c->bytes[c->near[i].at] = distance;
}

static bool is_settled(const struct code *c, unsigned i)
{
	return c->near[i].island || c->near[i].direct;
}

static uint32_t put_island(struct code *c)
{
	asm_byte(c, 0xe9);
	asm_u32(c, 0);
	return c->at - 4;
}

void asm_front(struct code *c, unsigned islands)
{
	c->front = c->at;
	c->fronts = islands;
	while (islands--)
		put_island(c);
}

void asm_islands(struct code *c)
{
	for (; c->placed < c->nears; c->placed++) {
		if (is_settled(c, c->placed))
			continue;
		set_near(c, c->placed, c->at);
		c->near[c->placed].island = put_island(c);
	}
}

static void go_round_islands(struct code *c)
{
	uint32_t over;

	asm_byte(c, 0xeb), asm_byte(c, 0);
	over = c->at;
	asm_islands(c);
	if (c->at <= c->size)
		c->bytes[over - 1] = c->at - over;
}

/* Before an instruction: the islands, if the oldest branch would not reach its own behind it. */
static void keep_reach(struct code *c)
{
	while (c->placed < c->nears && is_settled(c, c->placed))
		c->placed++;
	if (c->placed < c->nears && c->at + ASM_ROOM + (c->nears - c->placed) * JMP_BYTES >= c->near[c->placed].at + REACH)
		go_round_islands(c);
}

void asm_room(struct code *c)
{
	keep_reach(c);
}

static uint32_t near_branch(struct code *c, uint8_t opcode)
{
	unsigned i = c->nears;

	keep_reach(c);
	asm_byte(c, opcode), asm_byte(c, 0);
	if (i == ASM_NEARS) {
		give_up(c);
		return c->at;
	}
	c->nears++;
	c->near[i].at = c->at - 1;
	c->near[i].island = 0;
	c->near[i].direct = false;
	if (c->taken < c->fronts && c->at - (c->front + c->taken * JMP_BYTES) <= REACH + 1) {
		set_near(c, i, c->front + c->taken * JMP_BYTES);
		c->near[i].island = c->front + c->taken++ * JMP_BYTES + 1;
	}
	return NEAR | i;
}

void asm_back_to(struct code *c, uint32_t at)
{
	c->at = at;
	while (c->nears && c->near[c->nears - 1].at >= at) {
		uint32_t island = c->near[--c->nears].island;

		if (island && island < c->front + c->fronts * JMP_BYTES)
			c->taken--;
	}
	for (unsigned i = 0; i < c->nears; i++)
		if (c->near[i].island >= at)
			c->near[i].island = 0;
	c->placed = 0;
}

/* ---- instructions */

void asm_encode(struct code *c, const struct encoding *e)
{
	keep_reach(c);
	if (e->rm.mem && e->rm.gs)
		asm_byte(c, 0x65);
	if (e->map >= X86_MAP_VEX_0F)
		vex(c, e);
	else
		legacy(c, e);
	if (e->no_modrm) {
		asm_byte(c, e->opcode | (e->rm.reg & 7));
	} else {
		asm_byte(c, e->opcode);
		if (e->rm.mem)
			memory(c, e->reg, &e->rm);
		else
			modrm(c, 3, e->reg, e->rm.reg);
	}
	bytes(c, e->imm, e->imm_bytes);
}

static void one(struct code *c, unsigned map, unsigned opcode, bool w, unsigned reg, struct operand rm)
{
	asm_encode(c, &(struct encoding){ .map = map, .opcode = opcode, .w = w, .reg = reg, .rm = rm });
}

void asm_mov(struct code *c, unsigned to, unsigned from)
{
	one(c, X86_MAP_1, 0x8b, true, to, op_reg(from));
}

void asm_mov32(struct code *c, unsigned to, unsigned from)
{
	one(c, X86_MAP_1, 0x8b, false, to, op_reg(from));
}

void asm_load(struct code *c, unsigned to, struct operand from)
{
	one(c, X86_MAP_1, 0x8b, true, to, from);
}

void asm_load32(struct code *c, unsigned to, struct operand from)
{
	one(c, X86_MAP_1, 0x8b, false, to, from);
}

void asm_load16(struct code *c, unsigned to, struct operand from)
{
	one(c, X86_MAP_0F, 0xb7, false, to, from);
}

void asm_store(struct code *c, struct operand to, unsigned from)
{
	one(c, X86_MAP_1, 0x89, true, from, to);
}

void asm_lea(struct code *c, unsigned to, struct operand from)
{
	one(c, X86_MAP_1, 0x8d, true, to, from);
}

void asm_imm(struct code *c, unsigned to, uint64_t v)
{
	struct encoding e = { .map = X86_MAP_1, .opcode = 0xb8, .no_modrm = true, .rm = op_reg(to), .imm = v, .imm_bytes = 4 };

	if (v > UINT32_MAX && (int64_t)v == (int32_t)v) {
		e.opcode = 0xc7;
		e.no_modrm = false;
		e.w = true;
	} else if (v > UINT32_MAX) {
		e.w = true;
		e.imm_bytes = 8;
	}
	asm_encode(c, &e);
}

void asm_movzx16(struct code *c, unsigned to, unsigned from)
{
	one(c, X86_MAP_0F, 0xb7, false, to, op_reg(from));
}

void asm_shrx(struct code *c, unsigned to, unsigned from, unsigned count)
{
	asm_encode(c, &(struct encoding){ .map = X86_MAP_VEX_0F38, .opcode = 0xf7, .prefix = 0xf2, .w = true,
					  .reg = to, .rm = op_reg(from), .vvvv = count });
}

void asm_rorx(struct code *c, unsigned to, unsigned from, unsigned count)
{
	asm_encode(c, &(struct encoding){ .map = X86_MAP_VEX_0F3A, .opcode = 0xf0, .prefix = 0xf2, .w = true,
					  .reg = to, .rm = op_reg(from), .imm = count, .imm_bytes = 1 });
}

static uint32_t far_field(struct code *c)
{
	asm_u32(c, 0);
	return c->at - 4;
}

uint32_t asm_jmp(struct code *c)
{
	keep_reach(c);
	asm_byte(c, 0xe9);
	return far_field(c);
}

uint32_t asm_jmp_unless_rcx(struct code *c)
{
	return near_branch(c, 0xe3);
}

uint32_t asm_jmp_if_rcx(struct code *c)
{
	keep_reach(c);
	asm_byte(c, 0xe3), asm_byte(c, JMP_BYTES);	/* jrcxz over the jump */
	asm_byte(c, 0xe9);
	return far_field(c);
}

uint32_t asm_jmp_unless_one(struct code *c)
{
	return near_branch(c, 0xe2);
}

uint32_t asm_jcc(struct code *c, unsigned cc)
{
	asm_byte(c, 0x0f);
	asm_byte(c, 0x80 | cc);
	return far_field(c);
}

uint32_t asm_lea_rip(struct code *c, unsigned to)
{
	keep_reach(c);
	asm_byte(c, to & 8 ? 0x4c : 0x48), asm_byte(c, 0x8d), asm_byte(c, (to & 7) << 3 | 5);
	asm_u32(c, 0);
	return c->at - 4;
}

void asm_target(struct code *c, uint32_t field, uint32_t target)
{
	uint32_t rel;

	if (c->at > c->size)
		return;
	if (field & NEAR && !is_settled(c, field & ~NEAR))
		go_round_islands(c);
	if (field & NEAR)
		field = c->near[field & ~NEAR].island;
	rel = target - (field + 4);
	if (c->at <= c->size)
		memcpy(c->bytes + field, &rel, 4);
}

void asm_here(struct code *c, uint32_t field)
{
	unsigned i = field & ~NEAR;

	if (c->at > c->size)
		return;
	if (field & NEAR && !is_settled(c, i) && c->at - (c->near[i].at + 1) <= REACH) {
		set_near(c, i, c->at);
		c->near[i].direct = true;
		return;
	}
	if (field & NEAR && !is_settled(c, i))
		go_round_islands(c);
	asm_target(c, field, c->at);
}

void asm_jmp_mem(struct code *c, struct operand m)
{
	one(c, X86_MAP_1, 0xff, false, 4, m);
}

void asm_jmp_reg(struct code *c, unsigned reg)
{
	one(c, X86_MAP_1, 0xff, false, 4, op_reg(reg));
}
