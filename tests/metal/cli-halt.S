/* HLT with interrupts off ends for good. */
#include "metal.inc"
	.code32
main:
	TEST("halted for good")
	cli
	hlt
	FAIL()
