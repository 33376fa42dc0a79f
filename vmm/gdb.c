/*
 * vmm/gdb.c - GDB's remote serial protocol: packets and what they ask.
 *
 * Owns one client's session.  The client's bytes are hostile: a packet has a
 * largest size, every number and range is checked, and what is not understood
 * gets the empty answer.  Knows the machine by struct gdb_target alone.
 *
 * GDB manual, appendix E "GDB Remote Serial Protocol".
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/gdb.h"
#include "vmm/x86/control.h"

enum { MEMORY_MAX = GDB_PACKET / 2 - 16, SIGNAL_INT = 2, SIGNAL_TRAP = 5 };
enum state { IDLE, BODY, SUM1, SUM2 };

struct gdb_session {
	struct gdb_target t;
	const struct gdb_regs *regs;
	bool no_ack, running, over;
	unsigned cpu, last;		/* of Hg; that stopped last */
	unsigned listed;		/* threads told of by q?ThreadInfo */
	enum state state;
	uint8_t sum;
	int want;			/* the sum that was sent; negative where it was no number */
	size_t in, out;
	char packet[GDB_PACKET + 1], reply[GDB_PACKET + 1];
};

/* ---- numbers and answers */

static int hex_digit(int c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* At least one digit, at most 64 bits. */
static bool number(const char **p, uint64_t *to)
{
	unsigned n = 0;

	for (*to = 0; hex_digit(**p) >= 0; n++, (*p)++)
		*to = *to << 4 | (unsigned)hex_digit(**p);
	return n && n <= 16;
}

static bool expect(const char **p, char c)
{
	return **p == c && (*p)++;
}

static bool unhex(const char *p, uint8_t *to, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int high = hex_digit(p[2 * i]), low = high < 0 ? -1 : hex_digit(p[2 * i + 1]);

		if (low < 0)
			return false;
		to[i] = high << 4 | low;
	}
	return true;
}

static void add(struct gdb_session *s, const void *data, size_t n)
{
	if (n > GDB_PACKET - s->out)
		n = GDB_PACKET - s->out;
	memcpy(s->reply + s->out, data, n);
	s->out += n;
}

static void answer(struct gdb_session *s, const char *text)
{
	add(s, text, strlen(text));
}

static void add_hex(struct gdb_session *s, const uint8_t *data, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++)
		add(s, (char[]){ digits[data[i] >> 4], digits[data[i] & 15] }, 2);
}

static void result(struct gdb_session *s, int err)
{
	answer(s, err ? "E01" : "OK");
}

static void send_reply(struct gdb_session *s)
{
	char frame[4];
	uint8_t sum = 0;

	for (size_t i = 0; i < s->out; i++)
		sum += (uint8_t)s->reply[i];
	s->t.send(s->t.arg, "$", 1);
	s->t.send(s->t.arg, s->reply, s->out);
	snprintf(frame, sizeof(frame), "#%02x", sum);
	s->t.send(s->t.arg, frame, 3);
	s->out = 0;
}

/* ---- running and stopping */

static void stop_reply(struct gdb_session *s, unsigned signal)
{
	struct vcpu_debug *d = s->t.debug(s->t.arg, s->last);
	char text[80];

	snprintf(text, sizeof(text), "T%02xthread:%x;", signal, s->last + 1);
	answer(s, text);
	if (signal == SIGNAL_TRAP && d->why == STOP_WATCH) {
		snprintf(text, sizeof(text), "watch:%" PRIx64 ";", d->hit);
		answer(s, text);
	}
}

static void stand(struct gdb_session *s, unsigned vcpu, unsigned signal)
{
	s->running = false;
	s->last = s->cpu = vcpu;
	stop_reply(s, signal);
	send_reply(s);
}

void gdb_session_stopped(struct gdb_session *s, unsigned vcpu)
{
	if (s->running && vcpu < s->t.nvcpus)
		stand(s, vcpu, SIGNAL_TRAP);
}

void gdb_session_exited(struct gdb_session *s, int status)
{
	char text[8];

	if (!s->running)
		return;
	s->running = false;
	snprintf(text, sizeof(text), "W%02x", status & 0xff);
	answer(s, text);
	send_reply(s);
}

static void interrupt(struct gdb_session *s)
{
	if (!s->running)
		return;
	if (s->t.stop(s->t.arg))
		return;			/* it waits for its device model; gdb lets the user try again */
	for (unsigned i = 0; i < s->t.nvcpus; i++)
		s->t.debug(s->t.arg, i)->why = STOP_NONE;
	stand(s, s->last, SIGNAL_INT);
}

/* `step`: one bit for each vCPU. */
static void go(struct gdb_session *s, uint64_t step)
{
	for (unsigned i = 0; i < s->t.nvcpus; i++) {
		struct vcpu_debug *d = s->t.debug(s->t.arg, i);

		d->step = i < 64 && (step >> i & 1);
		d->why = STOP_NONE;
	}
	s->running = true;
	s->t.resume(s->t.arg);
}

static int set_pc(struct gdb_session *s, const char *p)
{
	struct x86_state state;

	if (!*p)
		return 0;
	s->t.get(s->t.arg, s->cpu, &state);
	if (!number(&p, &state.rip) || *p)
		return -EINVAL;
	s->t.debug(s->t.arg, s->cpu)->pass = false;
	return s->t.set(s->t.arg, s->cpu, &state);
}

static void run(struct gdb_session *s, const char *p, bool step)
{
	if (set_pc(s, p))
		result(s, -EINVAL);
	else
		go(s, step ? 1ull << (s->cpu & 63) : 0);
}

/* vCont;action[:thread]...: the first that fits a vCPU holds; one that none fits goes on as well. */
static void vcont(struct gdb_session *s, const char *p)
{
	uint64_t step = 0, seen = 0, thread, bits, signal;

	while (*p) {
		char action;

		if (!expect(&p, ';') || !(action = *p++) || !strchr("csCS", action))
			return result(s, -EINVAL);
		if ((action == 'C' || action == 'S') && !number(&p, &signal))
			return result(s, -EINVAL);
		bits = ~0ull;
		if (expect(&p, ':') && !(*p == '-' && p[1] == '1' && (p += 2))) {
			if (!number(&p, &thread) || thread > s->t.nvcpus || thread > 64)
				return result(s, -EINVAL);
			bits = thread ? 1ull << (thread - 1) : ~0ull;
		}
		if (action == 's' || action == 'S')
			step |= bits & ~seen;
		seen |= bits;
	}
	go(s, step);
}

/* ---- registers and memory */

static void read_registers(struct gdb_session *s)
{
	struct x86_state state;
	uint8_t value[16];

	s->t.get(s->t.arg, s->cpu, &state);
	for (unsigned i = 0; i < gdb_regs_count(s->regs); i++) {
		gdb_reg_read(s->regs, i, &state, value);
		add_hex(s, value, gdb_reg_size(s->regs, i));
	}
}

static int put(struct gdb_session *s, const struct x86_state *state)
{
	s->t.debug(s->t.arg, s->cpu)->pass = false;
	return s->t.set(s->t.arg, s->cpu, state);
}

static int write_registers(struct gdb_session *s, const char *p)
{
	struct x86_state state;
	uint8_t value[16];
	int ret = 0;

	s->t.get(s->t.arg, s->cpu, &state);
	for (unsigned i = 0; i < gdb_regs_count(s->regs) && !ret; i++) {
		unsigned n = gdb_reg_size(s->regs, i);

		if (!unhex(p, value, n))
			return -EINVAL;
		ret = gdb_reg_write(s->regs, i, &state, value);
		p += 2 * n;
	}
	return ret ? ret : put(s, &state);
}

static void read_register(struct gdb_session *s, const char *p)
{
	struct x86_state state;
	uint8_t value[16];
	uint64_t n;

	if (!number(&p, &n) || *p || n >= gdb_regs_count(s->regs))
		return result(s, -EINVAL);
	s->t.get(s->t.arg, s->cpu, &state);
	gdb_reg_read(s->regs, n, &state, value);
	add_hex(s, value, gdb_reg_size(s->regs, n));
}

static int write_register(struct gdb_session *s, const char *p)
{
	struct x86_state state;
	uint8_t value[16];
	uint64_t n;
	int ret;

	if (!number(&p, &n) || !expect(&p, '=') || n >= gdb_regs_count(s->regs) || !unhex(p, value, gdb_reg_size(s->regs, n)))
		return -EINVAL;
	s->t.get(s->t.arg, s->cpu, &state);
	ret = gdb_reg_write(s->regs, n, &state, value);
	return ret ? ret : put(s, &state);
}

static bool range(const char **p, uint64_t *at, uint64_t *len)
{
	return number(p, at) && expect(p, ',') && number(p, len) && *len <= MEMORY_MAX;
}

static void read_memory(struct gdb_session *s, const char *p)
{
	uint8_t data[MEMORY_MAX];
	uint64_t at, len;

	if (!range(&p, &at, &len) || *p || s->t.read(s->t.arg, s->cpu, at, data, len))
		return result(s, -EFAULT);
	add_hex(s, data, len);
}

static int write_memory(struct gdb_session *s, const char *p, bool binary)
{
	const char *end = s->packet + s->in;
	uint8_t data[MEMORY_MAX];
	uint64_t at, len, n = 0;

	if (!range(&p, &at, &len) || !expect(&p, ':'))
		return -EINVAL;
	if (!binary)
		return (size_t)(end - p) == 2 * len && unhex(p, data, len) ? s->t.write(s->t.arg, s->cpu, at, data, len) : -EINVAL;
	for (; p < end && n < len; n++) {
		bool escaped = *p == '}' && p + 1 < end;

		p += escaped;
		data[n] = (uint8_t)*p++ ^ (escaped ? 0x20 : 0);
	}
	return n == len && p == end ? s->t.write(s->t.arg, s->cpu, at, data, len) : -EINVAL;
}

/* ---- breakpoints */

/* On every vCPU; -ENOSPC if there are too many. */
static int point(struct vcpu_debug *d, unsigned type, bool set, uint64_t at, uint64_t len)
{
	const struct vcpu_watch w = { .at = at, .len = len, .read = type != 2, .write = type != 3 };

	if (type < 2) {
		for (unsigned i = 0; i < d->nbreaks; i++)
			if (d->at[i] == at) {
				if (!set)
					d->at[i] = d->at[--d->nbreaks];
				return 0;
			}
		if (set && d->nbreaks == DEBUG_BREAKS)
			return -ENOSPC;
		if (set)
			d->at[d->nbreaks++] = at;
		return 0;
	}
	for (unsigned i = 0; i < d->nwatches; i++)
		if (d->watch[i].at == at && d->watch[i].len == len && d->watch[i].read == w.read && d->watch[i].write == w.write) {
			if (!set)
				d->watch[i] = d->watch[--d->nwatches];
			return 0;
		}
	if (set && d->nwatches == DEBUG_WATCHES)
		return -ENOSPC;
	if (set)
		d->watch[d->nwatches++] = w;
	return 0;
}

static int points(struct gdb_session *s, unsigned type, bool set, uint64_t at, uint64_t len)
{
	int ret = 0, err;

	for (unsigned i = 0; i < s->t.nvcpus; i++) {
		err = point(s->t.debug(s->t.arg, i), type, set, at, len);
		ret = ret ? ret : err;
	}
	err = s->t.debug_changed(s->t.arg);
	return ret ? ret : err;
}

static void breakpoint(struct gdb_session *s, const char *p, bool set)
{
	uint64_t type, at, len;
	int ret;

	if (!number(&p, &type) || !expect(&p, ',') || !number(&p, &at) || !expect(&p, ',') || !number(&p, &len) || *p)
		return result(s, -EINVAL);
	if (type > 4)
		return;
	if (type >= 2 && (!len || len > 4096))
		return result(s, -EINVAL);
	ret = points(s, type, set, at, len);
	if (ret && set)
		points(s, type, false, at, len);
	result(s, ret);
}

/* ---- queries */

static bool begins(const char *p, const char *with)
{
	return !strncmp(p, with, strlen(with));
}

static void supported(struct gdb_session *s)
{
	char text[160];

	snprintf(text, sizeof(text), "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;vContSupported+", GDB_PACKET);
	answer(s, text);
}

static void features(struct gdb_session *s, const char *p)
{
	const char *xml = gdb_regs_xml(s->regs);
	uint64_t at, len;

	if (!number(&p, &at) || !expect(&p, ',') || !number(&p, &len) || *p)
		return result(s, -EINVAL);
	if (at > strlen(xml))
		return result(s, -EINVAL);
	if (len > GDB_PACKET - 1)
		len = GDB_PACKET - 1;
	answer(s, strlen(xml) - at > len ? "m" : "l");
	add(s, xml + at, strlen(xml) - at > len ? len : strlen(xml) - at);
}

static void threads(struct gdb_session *s)
{
	char text[20];

	if (s->listed == s->t.nvcpus)
		return answer(s, "l");
	answer(s, "m");
	for (unsigned first = s->listed; s->listed < s->t.nvcpus && s->listed - first < 256; s->listed++) {
		snprintf(text, sizeof(text), "%s%x", s->listed == first ? "" : ",", s->listed + 1);
		answer(s, text);
	}
}

static void thread_extra(struct gdb_session *s)
{
	add_hex(s, (const uint8_t *)"vCPU", 4);
}

static void query(struct gdb_session *s, const char *p)
{
	static const char annex[] = "qXfer:features:read:target.xml:";
	char text[20];

	if (begins(p, "qSupported")) {
		supported(s);
	} else if (begins(p, annex)) {
		features(s, p + strlen(annex));
	} else if (!strcmp(p, "qfThreadInfo")) {
		s->listed = 0;
		threads(s);
	} else if (!strcmp(p, "qsThreadInfo")) {
		threads(s);
	} else if (begins(p, "qThreadExtraInfo,")) {
		thread_extra(s);
	} else if (!strcmp(p, "qC")) {
		snprintf(text, sizeof(text), "QC%x", s->cpu + 1);
		answer(s, text);
	} else if (begins(p, "qAttached")) {
		answer(s, "1");
	}
}

/* H and T: 0 is any, -1 all. */
static int thread_of(const char *p, bool *named, unsigned *cpu)
{
	uint64_t n;

	*named = false;
	if (!strcmp(p, "-1"))
		return 0;
	if (!number(&p, &n) || *p)
		return -EINVAL;
	if (!n)
		return 0;
	if (n - 1 >= 64 && n > UINT32_MAX)
		return -EINVAL;
	*named = true;
	*cpu = n - 1;
	return 0;
}

static void select_thread(struct gdb_session *s, const char *p, bool select)
{
	unsigned cpu = 0;
	bool named;

	if (thread_of(p, &named, &cpu) || (named && cpu >= s->t.nvcpus))
		return result(s, -EINVAL);
	if (select && named)
		s->cpu = cpu;
	result(s, 0);
}

/* ---- packets */

static void forget(struct gdb_session *s)
{
	for (unsigned i = 0; i < s->t.nvcpus; i++)
		*s->t.debug(s->t.arg, i) = (struct vcpu_debug){ 0 };
	s->t.debug_changed(s->t.arg);
}

static void words(struct gdb_session *s, const char *p)
{
	if (!strcmp(p, "vCont?")) {
		answer(s, "vCont;c;C;s;S");
	} else if (begins(p, "vCont;")) {
		vcont(s, p + 5);
	} else if (begins(p, "vKill")) {
		result(s, 0);
		s->over = true;
		s->t.kill(s->t.arg);
	}
}

static void command(struct gdb_session *s)
{
	const char *p = s->packet + 1;

	switch (s->packet[0]) {
	case '?': stop_reply(s, SIGNAL_TRAP); break;
	case 'g': read_registers(s); break;
	case 'G': result(s, write_registers(s, p)); break;
	case 'p': read_register(s, p); break;
	case 'P': result(s, write_register(s, p)); break;
	case 'm': read_memory(s, p); break;
	case 'M': result(s, write_memory(s, p, false)); break;
	case 'X': result(s, write_memory(s, p, true)); break;
	case 'Z': breakpoint(s, p, true); break;
	case 'z': breakpoint(s, p, false); break;
	case 'c': run(s, p, false); break;
	case 's': run(s, p, true); break;
	case 'v': words(s, s->packet); break;
	case 'q': query(s, s->packet); break;
	case 'H': select_thread(s, *p ? p + 1 : p, *p == 'g'); break;
	case 'T': select_thread(s, p, false); break;
	case 'D': result(s, 0); s->over = true; break;
	case 'k': s->over = true; s->t.kill(s->t.arg); return;
	case 'Q':
		if (strcmp(s->packet, "QStartNoAckMode"))
			break;
		s->no_ack = true;
		result(s, 0);
		break;
	}
}

static void packet(struct gdb_session *s)
{
	if (s->sum != s->want && !s->no_ack) {
		s->t.send(s->t.arg, "-", 1);
		return;
	}
	if (!s->no_ack)
		s->t.send(s->t.arg, "+", 1);
	s->packet[s->in] = 0;
	if (s->running)
		return;			/* only an interrupt means something now */
	if (s->t.stop(s->t.arg)) {	/* someone else has let it run */
		result(s, -ETIMEDOUT);
	} else {
		command(s);
		if (s->running || (s->over && !s->out))
			return;
	}
	send_reply(s);
}

static void byte(struct gdb_session *s, uint8_t c)
{
	switch (s->state) {
	case IDLE:
		if (c == 3)
			interrupt(s);
		if (c != '$')
			return;
		s->state = BODY;
		s->in = s->sum = 0;
		return;
	case BODY:
		if (c == '#') {
			s->state = SUM1;
		} else if (s->in == GDB_PACKET) {
			s->over = true;
		} else {
			s->packet[s->in++] = c;
			s->sum += c;
		}
		return;
	case SUM1:
		s->want = hex_digit(c) * 16;
		s->state = SUM2;
		return;
	case SUM2:
		s->want = s->want < 0 || hex_digit(c) < 0 ? -1 : s->want + hex_digit(c);
		s->state = IDLE;
		packet(s);
	}
}

bool gdb_session_input(struct gdb_session *s, const uint8_t *data, size_t n)
{
	for (size_t i = 0; i < n && !s->over; i++)
		byte(s, data[i]);
	return !s->over;
}

struct gdb_session *gdb_session_new(const struct gdb_target *t)
{
	struct gdb_session *s = calloc(1, sizeof(*s));
	struct x86_state state;

	if (!s)
		return NULL;
	s->t = *t;
	if (t->stop(t->arg)) {
		free(s);
		return NULL;
	}
	t->get(t->arg, 0, &state);
	s->regs = state.efer & X86_EFER_LMA ? &gdb_regs_64 : &gdb_regs_32;
	return s;
}

void gdb_session_free(struct gdb_session *s)
{
	if (!s)
		return;
	if (!s->t.stop(s->t.arg)) {
		forget(s);
		s->t.resume(s->t.arg);
	}
	free(s);
}
