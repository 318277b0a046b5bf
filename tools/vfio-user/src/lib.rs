// SPDX-License-Identifier: GPL-2.0
//! Place holder, replaced by the first slice of this room.
