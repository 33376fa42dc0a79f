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

void asm_encode(struct code *c, const struct encoding *e)
{
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

uint32_t asm_jrcxz(struct code *c)
{
	asm_byte(c, 0xe3);
	asm_byte(c, 0);
	return c->at - 1;
}

static uint32_t far_field(struct code *c)
{
	asm_u32(c, 0);
	return c->at - 4;
}

uint32_t asm_jmp(struct code *c)
{
	asm_byte(c, 0xe9);
	return far_field(c);
}

uint32_t asm_jmp_if_rcx(struct code *c)
{
	asm_byte(c, 0xe3), asm_byte(c, 5);	/* jrcxz over the jump */
	return asm_jmp(c);
}

uint32_t asm_jmp_unless_rcx(struct code *c)
{
	asm_byte(c, 0xe3), asm_byte(c, 2);	/* jrcxz over a jump over the jump */
	asm_byte(c, 0xeb), asm_byte(c, 5);
	return asm_jmp(c);
}

uint32_t asm_jcc(struct code *c, unsigned cc)
{
	asm_byte(c, 0x0f);
	asm_byte(c, 0x80 | cc);
	return far_field(c);
}

uint32_t asm_lea_rip(struct code *c, unsigned to)
{
	asm_byte(c, to & 8 ? 0x4c : 0x48), asm_byte(c, 0x8d), asm_byte(c, (to & 7) << 3 | 5);
	asm_u32(c, 0);
	return c->at - 4;
}

void asm_here8(struct code *c, uint32_t field)
{
	if (c->at <= c->size)
		c->bytes[field] = c->at - (field + 1);
}

void asm_target(struct code *c, uint32_t field, uint32_t target)
{
	uint32_t rel = target - (field + 4);

	if (c->at <= c->size)
		memcpy(c->bytes + field, &rel, 4);
}

void asm_here(struct code *c, uint32_t field)
{
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
