/* In real mode: no room for the frame of the fault, nor for that of the double fault. */
#define REAL_MODE
#include "metal.inc"
	.code16
main:
	TEST("push at SP = 1")
	movw	$1, %sp
	pushw	%ax
	fail_	__LINE__
