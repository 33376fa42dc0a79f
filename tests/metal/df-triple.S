/*
 * A double fault whose handler cannot be reached ends in shutdown.
 * SDM vol. 3 section 6.15, interrupt 8.
 */
#include "metal.inc"
	.code32
main:
	TEST("triple fault")
	movw	$0, idtr
	lidtl	idtr
	ud2
	FAIL()
