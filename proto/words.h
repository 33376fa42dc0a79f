/*
 * proto/words.h - what is said on the device model's socket once it is ready:
 * one byte each.
 *
 *	engine                          device model
 *	GO  --------------------------> serves
 *	HOLD -------------------------> stops between two transactions, at a moment
 *	                                without operations in flight if one comes soon
 *	<-------------------------- HELD
 *	GO, or the end of the socket -> goes on, or ends at once
 *
 * While it holds, it writes neither arena nor link, so that another can take
 * over a copy of them; workers may still be at operations in flight.
 */
#ifndef CLEAVE_PROTO_WORDS_H
#define CLEAVE_PROTO_WORDS_H

enum word { WORD_GO, WORD_HOLD, WORD_HELD };

#endif
