/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM skiff

#if !defined(_SKIFF_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _SKIFF_TRACE_H

#include <linux/tracepoint.h>

/* A slot of a window leads to a chunk of a peer's bus addresses now. */
TRACE_EVENT(slot_set,
	TP_PROTO(u32 adapter, u32 registers, u32 slot, u32 port, u64 base, u32 uncached),
	TP_ARGS(adapter, registers, slot, port, base, uncached),
	TP_STRUCT__entry(
		__field(u32, adapter)
		__field(u32, registers)
		__field(u32, slot)
		__field(u32, port)
		__field(u64, base)
		__field(u32, uncached)
	),
	TP_fast_assign(
		__entry->adapter = adapter;
		__entry->registers = registers;
		__entry->slot = slot;
		__entry->port = port;
		__entry->base = base;
		__entry->uncached = uncached;
	),
	TP_printk("adapter=%u window=%s slot=%u port=%u base=0x%llx mode=%s",
		  __entry->adapter,
		  __entry->registers ? "registers" : "memory",
		  __entry->slot, __entry->port,
		  __entry->base, __entry->uncached ? "uc" : "wc")
);

/* A slot leads nowhere now; port is where it led before. */
TRACE_EVENT(slot_clear,
	TP_PROTO(u32 adapter, u32 registers, u32 slot, u32 port),
	TP_ARGS(adapter, registers, slot, port),
	TP_STRUCT__entry(
		__field(u32, adapter)
		__field(u32, registers)
		__field(u32, slot)
		__field(u32, port)
	),
	TP_fast_assign(
		__entry->adapter = adapter;
		__entry->registers = registers;
		__entry->slot = slot;
		__entry->port = port;
	),
	TP_printk("adapter=%u window=%s slot=%u port=%u",
		  __entry->adapter,
		  __entry->registers ? "registers" : "memory",
		  __entry->slot, __entry->port)
);

/* Entries of control rings; kind is that of the wire protocol, bytes the payload. */
DECLARE_EVENT_CLASS(skiff_msg,
	TP_PROTO(u32 adapter, u32 port, u32 kind, u32 seq, u32 bytes),
	TP_ARGS(adapter, port, kind, seq, bytes),
	TP_STRUCT__entry(
		__field(u32, adapter)
		__field(u32, port)
		__field(u32, kind)
		__field(u32, seq)
		__field(u32, bytes)
	),
	TP_fast_assign(
		__entry->adapter = adapter;
		__entry->port = port;
		__entry->kind = kind;
		__entry->seq = seq;
		__entry->bytes = bytes;
	),
	TP_printk("adapter=%u port=%u kind=%u seq=%u bytes=%u",
		  __entry->adapter, __entry->port, __entry->kind,
		  __entry->seq, __entry->bytes)
);

DEFINE_EVENT(skiff_msg, msg_tx,
	TP_PROTO(u32 adapter, u32 port, u32 kind, u32 seq, u32 bytes),
	TP_ARGS(adapter, port, kind, seq, bytes)
);

DEFINE_EVENT(skiff_msg, msg_rx,
	TP_PROTO(u32 adapter, u32 port, u32 kind, u32 seq, u32 bytes),
	TP_ARGS(adapter, port, kind, seq, bytes)
);

/* A connection was asked for. outgoing: by this node; error: 0 or an errno. */
TRACE_EVENT(connect,
	TP_PROTO(u32 outgoing, u32 node, u32 segment, u32 lease, u64 bytes, s32 error),
	TP_ARGS(outgoing, node, segment, lease, bytes, error),
	TP_STRUCT__entry(
		__field(u32, outgoing)
		__field(u32, node)
		__field(u32, segment)
		__field(u32, lease)
		__field(u64, bytes)
		__field(s32, error)
	),
	TP_fast_assign(
		__entry->outgoing = outgoing;
		__entry->node = node;
		__entry->segment = segment;
		__entry->lease = lease;
		__entry->bytes = bytes;
		__entry->error = error;
	),
	TP_printk("direction=%s node=%u segment=%u lease=%u bytes=%llu error=%d",
		  __entry->outgoing ? "out" : "in", __entry->node,
		  __entry->segment, __entry->lease, __entry->bytes,
		  __entry->error)
);

/* A connection was taken away. outgoing: this node held it. */
TRACE_EVENT(revoke,
	TP_PROTO(u32 outgoing, u32 node, u32 segment, u32 lease),
	TP_ARGS(outgoing, node, segment, lease),
	TP_STRUCT__entry(
		__field(u32, outgoing)
		__field(u32, node)
		__field(u32, segment)
		__field(u32, lease)
	),
	TP_fast_assign(
		__entry->outgoing = outgoing;
		__entry->node = node;
		__entry->segment = segment;
		__entry->lease = lease;
	),
	TP_printk("direction=%s node=%u segment=%u lease=%u",
		  __entry->outgoing ? "out" : "in", __entry->node,
		  __entry->segment, __entry->lease)
);

/* A node answers. resumed: it is the generation that was up before. */
TRACE_EVENT(peer_up,
	TP_PROTO(u32 adapter, u32 port, u32 node, u64 generation, u32 resumed),
	TP_ARGS(adapter, port, node, generation, resumed),
	TP_STRUCT__entry(
		__field(u32, adapter)
		__field(u32, port)
		__field(u32, node)
		__field(u64, generation)
		__field(u32, resumed)
	),
	TP_fast_assign(
		__entry->adapter = adapter;
		__entry->port = port;
		__entry->node = node;
		__entry->generation = generation;
		__entry->resumed = resumed;
	),
	TP_printk("adapter=%u port=%u node=%u generation=0x%llx resumed=%u",
		  __entry->adapter, __entry->port, __entry->node,
		  __entry->generation, __entry->resumed)
);

/* A node does not answer any more; all slots towards it are empty. */
TRACE_EVENT(peer_down,
	TP_PROTO(u32 adapter, u32 port, u32 node),
	TP_ARGS(adapter, port, node),
	TP_STRUCT__entry(
		__field(u32, adapter)
		__field(u32, port)
		__field(u32, node)
	),
	TP_fast_assign(
		__entry->adapter = adapter;
		__entry->port = port;
		__entry->node = node;
	),
	TP_printk("adapter=%u port=%u node=%u",
		  __entry->adapter, __entry->port, __entry->node)
);

#endif /* _SKIFF_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace

#include <trace/define_trace.h>
