/*
 * tests/unit/stutter.h - a device model that dies and comes back in every
 * transaction, at the worst moment: when the device has done all its work and
 * the commit is yet to come.
 *
 * stutter() makes a device run each of its operations, undo the transaction as
 * a successor would, and run it once more.  If the device keeps the rules of
 * device.h the guest cannot tell: whatever it could see is the same as without.
 *
 * Not for operations of several devices in one transaction (reset).
 */
#ifndef CLEAVE_TESTS_STUTTER_H
#define CLEAVE_TESTS_STUTTER_H

#include "tests/unit/devharness.h"

void stutter(struct dev *);
void stutter_none(void);		/* forgets the devices of a machine that is gone */

#endif
