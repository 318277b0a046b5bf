// SPDX-License-Identifier: GPL-2.0
/*
 * A shift in C: UBSAN instruments the C compiler's code, not Rust's.
 */
#include "shift.h"

/* Undefined for @by above 31, which is the point. */
int skiff_faults_shift(unsigned int by)
{
	return 1 << by;
}
