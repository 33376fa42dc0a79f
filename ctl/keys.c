/*
 * ctl/keys.c - text and key names to PS/2 scan codes, set 2 (US layout).
 *
 * "ls<enter>" types six keys; <ctrl-alt-delete> presses three and releases them
 * in reverse order; <lt> is the character '<'.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ctl/ctl.h"
#include "ctl/keys.h"
#include "proto/names.h"

#define E0(code)	(0xe000u | (code))	/* an extended key: E0h before the code */

static const uint8_t letters[26] = {
	0x1c, 0x32, 0x21, 0x23, 0x24, 0x2b, 0x34, 0x33, 0x43, 0x3b, 0x42, 0x4b, 0x3a,
	0x31, 0x44, 0x4d, 0x15, 0x2d, 0x1b, 0x2c, 0x3c, 0x2a, 0x1d, 0x22, 0x35, 0x1a,
};

/* Key caps: unshifted and shifted character. */
static const struct { char plain, shifted; uint8_t code; } caps[] = {
	{ '`', '~', 0x0e }, { '1', '!', 0x16 }, { '2', '@', 0x1e }, { '3', '#', 0x26 }, { '4', '$', 0x25 },
	{ '5', '%', 0x2e }, { '6', '^', 0x36 }, { '7', '&', 0x3d }, { '8', '*', 0x3e }, { '9', '(', 0x46 },
	{ '0', ')', 0x45 }, { '-', '_', 0x4e }, { '=', '+', 0x55 }, { '[', '{', 0x54 }, { ']', '}', 0x5b },
	{ '\\', '|', 0x5d }, { ';', ':', 0x4c }, { '\'', '"', 0x52 }, { ',', '<', 0x41 }, { '.', '>', 0x49 },
	{ '/', '?', 0x4a }, { ' ', ' ', 0x29 }, { '\n', '\n', 0x5a }, { '\t', '\t', 0x0d },
};

static const struct { const char *name; uint16_t code; } keys[] = {
	{ "enter", 0x5a }, { "return", 0x5a }, { "esc", 0x76 }, { "escape", 0x76 }, { "backspace", 0x66 },
	{ "tab", 0x0d }, { "space", 0x29 }, { "capslock", 0x58 }, { "numlock", 0x77 }, { "scrolllock", 0x7e },
	{ "shift", 0x12 }, { "ctrl", 0x14 }, { "control", 0x14 }, { "alt", 0x11 }, { "rshift", 0x59 },
	{ "rctrl", E0(0x14) }, { "altgr", E0(0x11) }, { "super", E0(0x1f) }, { "win", E0(0x1f) }, { "menu", E0(0x2f) },
	{ "f1", 0x05 }, { "f2", 0x06 }, { "f3", 0x04 }, { "f4", 0x0c }, { "f5", 0x03 }, { "f6", 0x0b },
	{ "f7", 0x83 }, { "f8", 0x0a }, { "f9", 0x01 }, { "f10", 0x09 }, { "f11", 0x78 }, { "f12", 0x07 },
	{ "insert", E0(0x70) }, { "delete", E0(0x71) }, { "del", E0(0x71) }, { "home", E0(0x6c) }, { "end", E0(0x69) },
	{ "pageup", E0(0x7d) }, { "pagedown", E0(0x7a) }, { "up", E0(0x75) }, { "down", E0(0x72) },
	{ "left", E0(0x6b) }, { "right", E0(0x74) },
	{ "kp0", 0x70 }, { "kp1", 0x69 }, { "kp2", 0x72 }, { "kp3", 0x7a }, { "kp4", 0x6b }, { "kp5", 0x73 },
	{ "kp6", 0x74 }, { "kp7", 0x6c }, { "kp8", 0x75 }, { "kp9", 0x7d }, { "kpdot", 0x71 }, { "kpplus", 0x79 },
	{ "kpminus", 0x7b }, { "kpstar", 0x7c }, { "kpslash", E0(0x4a) }, { "kpenter", E0(0x5a) },
};

enum { SHIFT = 0x12, NKEYS = sizeof(keys) / sizeof(keys[0]), NCAPS = sizeof(caps) / sizeof(caps[0]), CHORD = 8 };

static int add(struct key_list *l, uint64_t sequence)
{
	if (l->n == KEY_LIST_MAX)
		return -E2BIG;
	l->sequence[l->n++] = sequence;
	return 0;
}

static int press(struct key_list *l, unsigned code)
{
	return add(l, code >> 8 ? 0xe0 | (uint64_t)(code & 0xff) << 8 : code);
}

static int release(struct key_list *l, unsigned code)
{
	return add(l, code >> 8 ? 0xe0 | 0xf000 | (uint64_t)(code & 0xff) << 16 : 0xf0 | (uint64_t)code << 8);
}

static bool find_char(char ch, unsigned *code, bool *shift)
{
	*shift = ch >= 'A' && ch <= 'Z';
	if (*shift || (ch >= 'a' && ch <= 'z')) {
		*code = letters[(ch | 0x20) - 'a'];
		return true;
	}
	for (unsigned i = 0; i < NCAPS; i++) {
		if (caps[i].plain != ch && caps[i].shifted != ch)
			continue;
		*code = caps[i].code;
		*shift = caps[i].plain != ch;
		return true;
	}
	return false;
}

static int type_char(struct key_list *l, char ch, char *err, size_t errlen)
{
	unsigned code;
	bool shift;
	int ret;

	if (!find_char(ch, &code, &shift)) {
		snprintf(err, errlen, "no key of the US keyboard types the character %d", (unsigned char)ch);
		return -EINVAL;
	}
	ret = shift ? press(l, SHIFT) : 0;
	if (!ret)
		ret = press(l, code);
	if (!ret)
		ret = release(l, code);
	return ret || !shift ? ret : release(l, SHIFT);
}

static bool find_key(const char *name, unsigned *code)
{
	bool shift;

	for (unsigned i = 0; i < NKEYS; i++) {
		if (!strcasecmp(keys[i].name, name)) {
			*code = keys[i].code;
			return true;
		}
	}
	return name[0] && !name[1] && find_char(name[0], code, &shift) && !shift;
}

/* "ctrl-alt-delete" */
static int type_chord(struct key_list *l, char *text, char *err, size_t errlen)
{
	unsigned code[CHORD], n = 0;
	struct names_hint h;
	char hint[600], *save = NULL;
	int ret = 0;

	if (!strcasecmp(text, "lt"))
		return type_char(l, '<', err, errlen);
	for (char *name = strtok_r(text, "-", &save); name; name = strtok_r(NULL, "-", &save)) {
		if (n < CHORD && find_key(name, &code[n])) {
			n++;
			continue;
		}
		names_begin(&h, name);
		for (unsigned i = 0; i < NKEYS; i++)
			names_offer(&h, keys[i].name);
		snprintf(err, errlen, "no key <%s>%s", name, names_hint(&h, hint, sizeof(hint)));
		return -EINVAL;
	}
	for (unsigned i = 0; i < n && !ret; i++)
		ret = press(l, code[i]);
	for (unsigned i = n; i-- > 0 && !ret;)
		ret = release(l, code[i]);
	return ret;
}

int keys_parse(struct key_list *l, const char *text, char *err, size_t errlen)
{
	int ret = 0;

	l->n = 0;
	snprintf(err, errlen, "at most %d key movements at once", KEY_LIST_MAX);
	while (*text && !ret) {
		const char *end = *text == '<' ? strchr(text, '>') : NULL;
		char name[64];

		if (!end) {
			ret = type_char(l, *text++, err, errlen);
			continue;
		}
		if (end - text > (int)sizeof(name)) {
			snprintf(err, errlen, "no key has so long a name: %.20s...", text);
			return -EINVAL;
		}
		snprintf(name, sizeof(name), "%.*s", (int)(end - text - 1), text + 1);
		ret = type_chord(l, name, err, errlen);
		text = end + 1;
	}
	return ret;
}

static int send_keys(struct ctl *c, const char *rest, const char *value)
{
	Cleave__SendKeys send = CLEAVE__SEND_KEYS__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	Cleave__Response *r;
	struct key_list *l = malloc(sizeof(*l));
	char err[700];
	int ret;

	(void)rest;
	if (!l)
		return ctl_error(ENOMEM, "out of memory");
	ret = keys_parse(l, value, err, sizeof(err));
	if (ret) {
		free(l);
		return ctl_error(ret, "--send-keys: %s", err);
	}
	send.sequence = l->sequence;
	send.n_sequence = l->n;
	q.what_case = CLEAVE__REQUEST__WHAT_SEND_KEYS;
	q.send_keys = &send;
	r = ctl_call(c, &q);
	free(l);
	if (!r)
		return -EIO;
	cleave__response__free_unpacked(r, NULL);
	return 0;
}

const struct verb key_verbs[] = {
	{ "send-keys", TAKES_VALUE, "types text; <enter> <f1> <ctrl-alt-delete> ... are keys, <lt> is '<'", send_keys },
	{ 0 },
};
