// SPDX-License-Identifier: GPL-2.0
//! Feeds random bytes to a switch as accesses of hostile nodes and checks what must always hold.
