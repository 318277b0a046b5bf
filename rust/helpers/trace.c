// SPDX-License-Identifier: GPL-2.0

#define CREATE_TRACE_POINTS
#include "trace.h"

#include "helpers.h"

void skiff_helper_trace_slot_set(u32 adapter, u32 registers, u32 slot, u32 port, u64 base,
				 u32 uncached)
{
	trace_slot_set(adapter, registers, slot, port, base, uncached);
}

void skiff_helper_trace_slot_clear(u32 adapter, u32 registers, u32 slot, u32 port)
{
	trace_slot_clear(adapter, registers, slot, port);
}

void skiff_helper_trace_msg_tx(u32 adapter, u32 port, u32 kind, u32 seq, u32 bytes)
{
	trace_msg_tx(adapter, port, kind, seq, bytes);
}

void skiff_helper_trace_msg_rx(u32 adapter, u32 port, u32 kind, u32 seq, u32 bytes)
{
	trace_msg_rx(adapter, port, kind, seq, bytes);
}

void skiff_helper_trace_connect(u32 outgoing, u32 node, u32 segment, u32 lease, u64 bytes, s32 error)
{
	trace_connect(outgoing, node, segment, lease, bytes, error);
}

void skiff_helper_trace_revoke(u32 outgoing, u32 node, u32 segment, u32 lease)
{
	trace_revoke(outgoing, node, segment, lease);
}

void skiff_helper_trace_peer_up(u32 adapter, u32 port, u32 node, u64 generation, u32 resumed)
{
	trace_peer_up(adapter, port, node, generation, resumed);
}

void skiff_helper_trace_peer_down(u32 adapter, u32 port, u32 node)
{
	trace_peer_down(adapter, port, node);
}
