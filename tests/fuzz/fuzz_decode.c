/*
 * tests/fuzz/fuzz_decode.c - the decoder and the disassembler on any bytes.
 *
 * The input is copied to the end of a buffer of its own size, so that a
 * sanitizer sees a read behind it.  What is checked needs no second decoder:
 * length, that fewer bytes are reported as short and more change nothing, and
 * that text stays in its buffer.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/x86/decode.h"
#include "vmm/x86/disasm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const struct x86_insn *in, unsigned bits, size_t room)
{
	char *text = malloc(room + 1);
	size_t n;

	assert(text);
	text[room] = 0x55;
	n = x86_disassemble(in, 0x12345678, bits, text, room);
	assert(text[room] == 0x55);
	assert(room ? n < room && n == strlen(text) : n == 0);
	assert(room < X86_TEXT_MAX || n > 0);
	free(text);
}

static void check_prefixes(const uint8_t *bytes, unsigned bits, const struct x86_insn *whole)
{
	for (unsigned n = 0; n <= whole->len; n++) {
		uint8_t *cut = malloc(n ? n : 1);
		struct x86_insn in;
		enum x86_decode_result r;

		assert(cut);
		memcpy(cut, bytes, n);
		r = x86_decode(cut, n, bits, &in);
		assert(n == whole->len ? r == X86_DECODE_OK && in.len == n : r == X86_DECODE_SHORT);
		free(cut);
	}
}

static void check(const uint8_t *data, size_t size, unsigned bits)
{
	uint8_t *bytes = malloc(size ? size : 1);
	struct x86_insn in;
	enum x86_decode_result r;

	assert(bytes);
	memcpy(bytes, data, size);
	r = x86_decode(bytes, size, bits, &in);
	assert(r == X86_DECODE_OK || r == X86_DECODE_SHORT || r == X86_DECODE_LONG || r == X86_DECODE_UD);
	assert(r != X86_DECODE_SHORT || size < X86_INSN_MAX);
	if (r == X86_DECODE_OK) {
		assert(in.len > 0 && in.len <= X86_INSN_MAX && in.len <= size);
		assert(in.row < x86_opcode_rows);
		check_text(&in, bits, X86_TEXT_MAX);
		check_text(&in, bits, size % 12);
		check_prefixes(bytes, bits, &in);
	}
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check(data, size, 16);
	check(data, size, 64);
	check(data, size, 32);
	return 0;
}
