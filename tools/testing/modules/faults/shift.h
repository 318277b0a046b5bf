/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SKIFF_FAULTS_SHIFT_H
#define SKIFF_FAULTS_SHIFT_H

int skiff_faults_shift(unsigned int by);

#endif
