// The tables of the test bed's eBPF data path, in the layout of Cilium's, and pinned under its names.
//
// Addresses and ports are big-endian. A key of connection tracking has the service as its destination and
// the client as its source, but the client's port as the destination's, and the service's as the source's.

#pragma once
#include "packet.h"

enum {
    // An entry that says which backend a call to a service got, and one that says of a call to a backend
    // through which service it came.
    SERVICE_FLAGS = 4,
    EGRESS_FLAGS = 0,
    // One side has ended the connection: the next SYN from the same port may get another backend.
    CLOSING = 1,
    FLOW_COUNT_MAX = 65536,
    SERVICE_COUNT_MAX = 4096,
};

struct tuple4 {
    __be32 destination, source;
    __be16 destination_port, source_port;
    __u8 protocol, flags;
} __attribute__((packed));

struct tuple6 {
    struct address destination, source;
    __be16 destination_port, source_port;
    __u8 protocol, flags;
} __attribute__((packed));

struct flow {
    __u64 unused;
    __u64 backend;
    __u64 packets, bytes;
    __u32 lifetime;
    __u16 flags;
    __u16 service;
    __u32 more[4];
};

struct service_key4 {
    __be32 address;
    __be16 port;
    __u16 slot;
    __u8 protocol, scope, padding[2];
};

struct service_key6 {
    struct address address;
    __be16 port;
    __u16 slot;
    __u8 protocol, scope, padding[2];
};

// In slot 0 `count` backends, in those that follow the number of one of them.
struct service {
    __u32 backend;
    __u16 count, number;
    __u8 flags, flags2;
    __u16 unused;
};

struct backend4 {
    __be32 address;
    __be16 port;
    __u8 protocol, state;
    __u16 cluster;
    __u8 zone, padding;
};

struct backend6 {
    struct address address;
    __be16 port;
    __u8 protocol, state;
    __u16 cluster;
    __u8 zone, padding;
};

struct front4 {
    __be32 address;
    __be16 port;
} __attribute__((packed));

struct front6 {
    struct address address;
    __be16 port;
} __attribute__((packed));

_Static_assert(sizeof(struct tuple4) == 14 && sizeof(struct tuple6) == 38, "Cilium's keys of flows");
_Static_assert(sizeof(struct flow) == 56, "Cilium's entry of a flow");
_Static_assert(sizeof(struct service_key4) == 12 && sizeof(struct service_key6) == 24, "Cilium's services");
_Static_assert(sizeof(struct backend4) == 12 && sizeof(struct backend6) == 24, "Cilium's backends");

#define TABLE(name, kind, key_type, value_type, count, bits) \
    struct { \
        __uint(type, kind); \
        __uint(max_entries, count); \
        __uint(map_flags, bits); \
        __type(key, key_type); \
        __type(value, value_type); \
    } name SEC(".maps")

#define FLOWS(name, key_type) TABLE(name, BPF_MAP_TYPE_LRU_HASH, key_type, struct flow, FLOW_COUNT_MAX, 0)
#define SERVICES(name, key_type, value_type) \
    TABLE(name, BPF_MAP_TYPE_HASH, key_type, value_type, SERVICE_COUNT_MAX, BPF_F_NO_PREALLOC)

FLOWS(cilium_ct4_global, struct tuple4);
FLOWS(cilium_ct_any4_global, struct tuple4);
FLOWS(cilium_ct6_global, struct tuple6);
FLOWS(cilium_ct_any6_global, struct tuple6);
SERVICES(cilium_lb4_services_v2, struct service_key4, struct service);
SERVICES(cilium_lb6_services_v2, struct service_key6, struct service);
SERVICES(cilium_lb4_backends_v3, __u32, struct backend4);
SERVICES(cilium_lb6_backends_v3, __u32, struct backend6);
SERVICES(cilium_lb4_reverse_nat, __u16, struct front4);
SERVICES(cilium_lb6_reverse_nat, __u16, struct front6);

// One end of a flow.
struct end {
    struct address address;
    __be16 port;
};

// A flow's entry; there is one for each direction of look-up. `flags` says which.
static __always_inline struct flow *find_flow(const struct ends *ends, __u8 flags, const struct flow *new) {
    if (ends->is_v6) {
        struct tuple6 key = {ends->destination, ends->source, ends->source_port, ends->destination_port,
                             ends->protocol, flags};
        void *table = ends->protocol == IPPROTO_TCP ? (void *)&cilium_ct6_global
                                                    : (void *)&cilium_ct_any6_global;
        if (new) bpf_map_update_elem(table, &key, new, BPF_ANY);
        return bpf_map_lookup_elem(table, &key);
    }
    struct tuple4 key = {ends->destination.words[0], ends->source.words[0], ends->source_port,
                         ends->destination_port, ends->protocol, flags};
    void *table = ends->protocol == IPPROTO_TCP ? (void *)&cilium_ct4_global : (void *)&cilium_ct_any4_global;
    if (new) bpf_map_update_elem(table, &key, new, BPF_ANY);
    return bpf_map_lookup_elem(table, &key);
}

// What a slot of a service says: of the one that a packet's destination is.
static __always_inline struct service *find_service(const struct ends *ends, __u16 slot) {
    if (ends->is_v6) {
        struct service_key6 key = {ends->destination, ends->destination_port, slot, ends->protocol};
        return bpf_map_lookup_elem(&cilium_lb6_services_v2, &key);
    }
    struct service_key4 key = {ends->destination.words[0], ends->destination_port, slot, ends->protocol};
    return bpf_map_lookup_elem(&cilium_lb4_services_v2, &key);
}

static __always_inline bool find_backend(bool is_v6, __u32 number, struct end *end) {
    if (is_v6) {
        struct backend6 *backend = bpf_map_lookup_elem(&cilium_lb6_backends_v3, &number);
        if (!backend) return false;
        end->address = backend->address;
        end->port = backend->port;
        return true;
    }
    struct backend4 *backend = bpf_map_lookup_elem(&cilium_lb4_backends_v3, &number);
    if (!backend) return false;
    end->address = (struct address){{backend->address}};
    end->port = backend->port;
    return true;
}

// The service's own end, by its number.
static __always_inline bool find_front(bool is_v6, __u16 number, struct end *end) {
    if (is_v6) {
        struct front6 *front = bpf_map_lookup_elem(&cilium_lb6_reverse_nat, &number);
        if (!front) return false;
        end->address = front->address;
        end->port = front->port;
        return true;
    }
    struct front4 *front = bpf_map_lookup_elem(&cilium_lb4_reverse_nat, &number);
    if (!front) return false;
    end->address = (struct address){{front->address}};
    end->port = front->port;
    return true;
}
