// Delivery from device to pod, past the node's stack, as with Cilium's BPF host routing, and Calico's.

#pragma once
#include "packet.h"

enum {
    // AF_INET and AF_INET6, whose header is not for programs of this kind.
    FAMILY_IPV4 = 2,
    FAMILY_IPV6 = 10,
    EDGE_COUNT_MAX = 1024,
    PORT_COUNT_MAX = 1024,
    // The pings that the test bed's policies decide about, by the bytes of their data.
    POLICED_PING_MIN = 211,
    POLICED_PING_MAX = 223,
};

// The pods' devices at the node, to which a packet may be handed over.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, EDGE_COUNT_MAX);
    __type(key, __u32);
    __type(value, __u32);
} podwire_edges SEC(".maps");

// The ports that the node's firewall, or its kube-proxy, decides about: their packets take the stack.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, PORT_COUNT_MAX);
    __type(key, __u16);
    __type(value, __u32);
} podwire_stack_ports SEC(".maps");

static __always_inline bool is_for_stack(struct __sk_buff *skb, const struct packet *packet) {
    if (has_ports(packet->ends.protocol)) {
        __u16 source = bpf_ntohs(packet->ends.source_port);
        __u16 destination = bpf_ntohs(packet->ends.destination_port);
        return bpf_map_lookup_elem(&podwire_stack_ports, &source) ||
               bpf_map_lookup_elem(&podwire_stack_ports, &destination);
    }
    __u32 data = skb->len - packet->payload - ICMP_BYTE_COUNT;
    return data >= POLICED_PING_MIN && data <= POLICED_PING_MAX;
}

// Hands a packet over to the pod of this node to which the routes lead. All else is left to the stack,
// packets with an unknown neighbour among it.
static __always_inline int deliver(struct __sk_buff *skb, struct packet *packet) {
    if (packet->hop_limit < 2 || packet->hop_limit == 255 || is_for_stack(skb, packet)) return TC_ACT_OK;
    struct bpf_fib_lookup route = {.ifindex = skb->ifindex, .l4_protocol = packet->ends.protocol};
    if (packet->ends.is_v6) {
        route.family = FAMILY_IPV6;
        __builtin_memcpy(route.ipv6_src, &packet->ends.source, sizeof route.ipv6_src);
        __builtin_memcpy(route.ipv6_dst, &packet->ends.destination, sizeof route.ipv6_dst);
    } else {
        route.family = FAMILY_IPV4;
        route.ipv4_src = packet->ends.source.words[0];
        route.ipv4_dst = packet->ends.destination.words[0];
    }
    if (bpf_fib_lookup(skb, &route, sizeof route, 0) != BPF_FIB_LKUP_RET_SUCCESS) return TC_ACT_OK;
    __u32 device = route.ifindex;
    if (!bpf_map_lookup_elem(&podwire_edges, &device)) return TC_ACT_OK;
    untranslate(skb, packet);
#ifndef KEEP_MACS
    bpf_skb_store_bytes(skb, 0, route.dmac, ETH_ALEN, 0);
    bpf_skb_store_bytes(skb, ETH_ALEN, route.smac, ETH_ALEN, 0);
#endif
    return to_peer(skb, packet, device);
}
