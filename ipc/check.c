/*
 * ipc/check.c - what an honest peer could have sent (check.h).
 *
 * Each rule is one line: the condition under which a slot is refused, and the
 * phrase that the log then shows.
 */
#include <stdbool.h>
#include <stddef.h>

#include "ipc/check.h"

static enum link_verdict bad(const char **why, const char *phrase)
{
	*why = phrase;
	return LINK_BAD;
}

#define REFUSE_IF(condition, phrase)		\
	do {					\
		if (condition)			\
			return bad(why, phrase);	\
	} while (0)

static bool all_zero(const uint32_t *w, size_t n)
{
	uint32_t any = 0;

	while (n--)
		any |= *w++;
	return !any;
}
#define SPARE_USED(s)	(!all_zero((s)->reserved, sizeof((s)->reserved) / sizeof((s)->reserved[0])))

static bool is_size(unsigned size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

static uint64_t mask_of(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (1ull << 8 * size) - 1;
}

static bool is_port(unsigned kind)
{
	return kind == LINK_REQ_PIO_IN || kind == LINK_REQ_PIO_OUT;
}

static bool is_read(unsigned kind)
{
	return kind == LINK_REQ_PIO_IN || kind == LINK_REQ_MMIO_READ;
}

static bool is_access(unsigned kind)
{
	return kind >= LINK_REQ_PIO_IN && kind <= LINK_REQ_MMIO_WRITE;
}

/* ---- requests ---- */

static enum link_verdict check_flags(const struct link_req *r, uint32_t features, const char **why)
{
	bool posted = r->flags & LINK_REQ_POSTED, batch = r->flags & LINK_REQ_BATCH;

	REFUSE_IF(r->flags & ~(LINK_REQ_POSTED | LINK_REQ_BATCH), "unknown request flags");
	REFUSE_IF(posted && batch, "a batch cannot be posted");
	REFUSE_IF(posted && !(features & LINK_F_POSTED), "posted writes were not agreed on");
	REFUSE_IF(batch && !(features & LINK_F_BATCH), "batches were not agreed on");
	REFUSE_IF(posted && is_read(r->kind), "a read cannot be posted");
	REFUSE_IF(batch && !is_port(r->kind), "only port accesses are batched");
	REFUSE_IF(batch && r->data >= LINK_DATA_PAGES, "data page out of range");
	REFUSE_IF(!batch && r->data, "data page without a batch");
	REFUSE_IF(!batch && r->count != 1, "several elements without a batch");
	return LINK_GOOD;
}

static enum link_verdict check_access(const struct link_req *r, const char **why)
{
	REFUSE_IF(!is_size(r->size), "element size is not 1, 2, 4 or 8");
	if (is_port(r->kind)) {
		REFUSE_IF(r->size > 4, "port access wider than 4 bytes");
		REFUSE_IF(r->addr > 0xffff || r->addr + r->size > 0x10000, "port out of range");
	} else {
		REFUSE_IF(r->addr % LINK_PAGE + r->size > LINK_PAGE, "memory access crosses a page");
	}
	REFUSE_IF(!r->count || r->count > LINK_PAGE / r->size, "element count out of range");
	if (is_read(r->kind) || (r->flags & LINK_REQ_BATCH))
		REFUSE_IF(r->value, "value in a request that carries none");
	REFUSE_IF(r->value & ~mask_of(r->size), "value wider than its size");
	return LINK_GOOD;
}

static enum link_verdict check_void(const struct link_req *r, const char **why)
{
	REFUSE_IF(r->flags != LINK_REQ_POSTED || r->count != 1 || r->size != 1 || r->addr || r->value || r->data,
		  "a void request carries something");
	return LINK_GOOD;
}

static enum link_verdict check_control(const struct link_req *r, const char **why)
{
	REFUSE_IF(r->kind <= LINK_REQ_MMIO_WRITE || r->kind >= LINK_REQ_KINDS, "not a control request");
	REFUSE_IF(r->flags || r->count != 1 || r->data, "a control request takes no flags, count or data");
	REFUSE_IF(r->kind == LINK_REQ_INJECT && (!r->addr || r->addr >= LINK_INJECT_KINDS), "unknown injection");
	return LINK_GOOD;
}

enum link_verdict link_req_check(const struct link_req *r, const struct link_req_rule *rule, const char **why)
{
	enum link_verdict v;

	REFUSE_IF(!r->seq || (rule->last_seq && r->seq != rule->last_seq + 1), "request out of sequence");
	REFUSE_IF(r->vcpu != rule->channel, "request names another vCPU");
	REFUSE_IF(SPARE_USED(r), "spare field used");
	if (r->kind == LINK_REQ_VOID)
		return check_void(r, why);
	if (rule->channel == rule->nvcpus)
		return check_control(r, why);
	REFUSE_IF(!is_access(r->kind), "not an access");
	v = check_flags(r, rule->features, why);
	return v == LINK_GOOD ? check_access(r, why) : v;
}

/* ---- completions ---- */

enum link_verdict link_comp_check(const struct link_comp *c, const struct link_req *asked, const char **why)
{
	if (c->seq < asked->seq)
		return LINK_STALE;
	REFUSE_IF(c->seq > asked->seq, "completion for a request that was not made");
	REFUSE_IF(asked->flags & LINK_REQ_POSTED, "completion for a posted write");
	REFUSE_IF(c->kind != asked->kind, "completion of another kind");
	REFUSE_IF(c->addr != asked->addr, "completion for another address");
	REFUSE_IF(c->size != asked->size, "completion of another size");
	REFUSE_IF(c->count != asked->count, "completion of another count");
	REFUSE_IF(c->data != asked->data, "completion names another data page");
	REFUSE_IF(c->status >= LINK_STATUSES, "unknown completion status");
	REFUSE_IF(!c->done || c->done > asked->count, "impossible number of elements done");
	REFUSE_IF(SPARE_USED(c), "spare field used");
	if (is_read(asked->kind) && !(asked->flags & LINK_REQ_BATCH))
		REFUSE_IF(c->value & ~mask_of(asked->size), "value wider than the read");
	return LINK_GOOD;
}

/* ---- events: one function a kind ---- */

/* Both bounds lie in a 64-bit space and the range does not wrap. */
static bool wraps(uint64_t base, uint64_t len)
{
	return base + len < base;
}

static enum link_verdict check_irq(const struct link_event *e, const char **why)
{
	REFUSE_IF(e->a >= LINK_GSIS, "interrupt line out of range");
	REFUSE_IF(e->b > 1, "interrupt level is not 0 or 1");
	return LINK_GOOD;
}

static enum link_verdict check_msi(const struct link_event *e, const char **why)
{
	REFUSE_IF(e->addr >> 20 != 0xfee || e->addr % 4, "MSI address outside FEE00000h-FEEFFFFFh");
	REFUSE_IF(e->value >> 32, "MSI data wider than 32 bits");
	return LINK_GOOD;
}

static enum link_verdict check_region(const struct link_event *e, const char **why)
{
	const uint32_t known = LINK_RGN_MMIO | LINK_RGN_BATCH | LINK_RGN_POSTED | LINK_RGN_SHADOW;

	REFUSE_IF(e->a & ~known, "unknown region flags");
	REFUSE_IF(e->b >= LINK_NO_REGION, "region id out of range");
	REFUSE_IF(wraps(e->addr, e->value), "region wraps the address space");
	REFUSE_IF(!(e->a & LINK_RGN_MMIO) && (e->addr > 0x10000 || e->addr + e->value > 0x10000), "ports out of range");
	REFUSE_IF((e->a & LINK_RGN_MMIO) && (e->a & LINK_RGN_BATCH), "only ports are batched");
	if (e->a & LINK_RGN_SHADOW)
		REFUSE_IF(e->c >= LINK_SHADOWS || e->value > LINK_SHADOWS - e->c, "shadow words out of range");
	return LINK_GOOD;
}

static enum link_verdict check_memmap(const struct link_event *e, const char **why)
{
	REFUSE_IF(e->a >= LINK_MAPS, "unknown memory mapping");
	REFUSE_IF(wraps(e->addr, e->value), "mapping wraps the address space");
	REFUSE_IF((e->addr | e->value | e->c) % LINK_PAGE, "mapping is not in whole pages");
	return LINK_GOOD;
}

static enum link_verdict check_pmbase(const struct link_event *e, const char **why)
{
	REFUSE_IF(e->addr > 0xffc0, "power-management base out of range");
	REFUSE_IF(e->value > 1, "power-management switch is not 0 or 1");
	return LINK_GOOD;
}

static enum link_verdict check_a20(const struct link_event *e, const char **why)
{
	REFUSE_IF(e->a > 1, "A20 level is not 0 or 1");
	return LINK_GOOD;
}

static enum link_verdict check_code(const struct link_event *e, const char **why)
{
	REFUSE_IF(!e->value || wraps(e->addr, e->value), "changed range is empty or wraps");
	return LINK_GOOD;
}

static enum link_verdict check_power(const struct link_event *e, const char **why)
{
	REFUSE_IF(e->a < LINK_POWER_OFF || e->a > LINK_POWER_PANIC, "unknown power event");
	return LINK_GOOD;
}

static enum link_verdict check_doorbell(const struct link_event *e, const char **why)
{
	REFUSE_IF(e->a & ~(LINK_DB_ENABLE | LINK_DB_MMIO | LINK_DB_MATCH), "unknown doorbell flags");
	REFUSE_IF(e->b >= LINK_DOORBELLS, "doorbell out of range");
	REFUSE_IF(!is_size(e->c), "doorbell size is not 1, 2, 4 or 8");
	REFUSE_IF(wraps(e->addr, e->c), "doorbell wraps the address space");
	REFUSE_IF(!(e->a & LINK_DB_MMIO) && (e->c > 4 || e->addr + e->c > 0x10000), "doorbell port out of range");
	REFUSE_IF((e->a & LINK_DB_MATCH) && (e->value & ~mask_of(e->c)), "doorbell data wider than its size");
	return LINK_GOOD;
}

static enum link_verdict check_strike(const struct link_event *e, const char **why)
{
	REFUSE_IF(!e->a || e->a >= LINK_CAUSES, "a strike without a cause");
	REFUSE_IF(e->b > LINK_NO_DEVICE || e->c > 0xffff, "device or index out of range");
	REFUSE_IF(!e->d, "a strike that is none");
	REFUSE_IF(e->a != LINK_BY_REQUEST && e->value, "a sequence number without a request");
	return LINK_GOOD;
}

static enum link_verdict check_service(const struct link_event *e, const char **why)
{
	REFUSE_IF(e->a >= LINK_NO_DEVICE, "device out of range");
	REFUSE_IF(e->b > 1, "service is not 0 or 1");
	return LINK_GOOD;
}

static enum link_verdict check_nothing(const struct link_event *e, const char **why)
{
	(void)e;
	(void)why;
	return LINK_GOOD;
}

static const struct {
	const char *name;
	enum link_verdict (*check)(const struct link_event *, const char **why);
} event_kind[LINK_EV_KINDS] = {
	[LINK_EV_NONE] = { "none", NULL },
	[LINK_EV_IRQ] = { "irq", check_irq },
	[LINK_EV_MSI] = { "msi", check_msi },
	[LINK_EV_REGION] = { "region", check_region },
	[LINK_EV_MEMMAP] = { "memory map", check_memmap },
	[LINK_EV_PMBASE] = { "pm base", check_pmbase },
	[LINK_EV_A20] = { "a20", check_a20 },
	[LINK_EV_CODE] = { "code changed", check_code },
	[LINK_EV_POWER] = { "power", check_power },
	[LINK_EV_DOORBELL] = { "doorbell", check_doorbell },
	[LINK_EV_NMI] = { "nmi", check_nothing },
	[LINK_EV_STRIKE] = { "strike", check_strike },
	[LINK_EV_SERVICE] = { "service", check_service },
};

enum link_verdict link_event_check(const struct link_event *e, uint64_t last_seq, const char **why)
{
	if (e->seq <= last_seq)
		return LINK_STALE;
	REFUSE_IF(e->seq != last_seq + 1, "an event is missing");
	REFUSE_IF(e->kind >= LINK_EV_KINDS || !event_kind[e->kind].check, "unknown event");
	REFUSE_IF(SPARE_USED(e), "spare field used");
	return event_kind[e->kind].check(e, why);
}

/* ---- names ---- */

static const char *const req_name[LINK_REQ_KINDS] = {
	[LINK_REQ_NONE] = "none",
	[LINK_REQ_PIO_IN] = "in",
	[LINK_REQ_PIO_OUT] = "out",
	[LINK_REQ_MMIO_READ] = "memory read",
	[LINK_REQ_MMIO_WRITE] = "memory write",
	[LINK_REQ_RESET] = "reset",
	[LINK_REQ_INJECT] = "inject",
	[LINK_REQ_PAUSE] = "pause",
	[LINK_REQ_RESUME] = "resume",
	[LINK_REQ_VOID] = "void",
};

const char *link_req_name(unsigned kind)
{
	return kind < LINK_REQ_KINDS ? req_name[kind] : "unknown";
}

const char *link_event_name(unsigned kind)
{
	return kind < LINK_EV_KINDS ? event_kind[kind].name : "unknown";
}
