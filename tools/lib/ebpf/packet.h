// Packets, as the test bed's eBPF data path reads and changes them.

#pragma once
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum {
    IPV4_OFFSET_BITS = 0x1fff,
    IPV4_MORE_FRAGMENTS = 0x2000,
    IPV6_OFFSET_BITS = 0xfff8,
    IPV6_MORE_FRAGMENTS = 1,
    FRAGMENT_HEADER = 44,
    // Of ICMP, either family's: its header, and where in it the checksum is.
    ICMP_BYTE_COUNT = 8,
    ICMP_CHECKSUM_OFFSET = 2,
    ICMP_UNREACHABLE = 3,
    ICMP_EXCEEDED = 11,
    ICMP_PARAMETER_PROBLEM = 12,
    ICMPV6_ERROR_END = 128,
    TCP_CHECKSUM_OFFSET = 16,
    UDP_CHECKSUM_OFFSET = 6,
    TCP_FLAGS_OFFSET = 13,
    TCP_FIN = 1,
    TCP_SYN = 2,
    TCP_RST = 4,
    TCP_ACK = 16,
    // Datagrams some pieces of which are still to come.
    DATAGRAM_COUNT_MAX = 8192,
};

// An address of either family; IPv4's is in the first word.
struct address {
    __u32 words[4];
};

struct ends {
    struct address source, destination;
    __be16 source_port, destination_port;
    __u8 protocol;
    bool is_v6;
};

struct packet {
    struct ends ends;
    // Where its IP header begins, and what is behind that.
    __u32 header, payload;
    // A fragment that is not the first one has no transport header.
    bool is_later_fragment;
    __u8 hop_limit, tcp_flags;
};

// The first piece of a datagram says for all of them which ports they have.
struct datagram {
    struct address source, destination;
    __u32 identification, protocol;
};

struct ports {
    __be16 source, destination;
};

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, DATAGRAM_COUNT_MAX);
    __type(key, struct datagram);
    __type(value, struct ports);
} podwire_datagrams SEC(".maps");

static __always_inline bool is_equal(const struct address *a, const struct address *b) {
    return a->words[0] == b->words[0] && a->words[1] == b->words[1] && a->words[2] == b->words[2] &&
           a->words[3] == b->words[3];
}

// Reads the ports, or takes those of the datagram of which this is a piece.
static __always_inline bool read_ports(struct __sk_buff *skb, struct packet *packet, bool is_fragment,
                                       __u32 identification) {
    struct ends *ends = &packet->ends;
    struct datagram datagram = {ends->source, ends->destination, identification, ends->protocol};
    struct ports ports;
    if (packet->is_later_fragment) {
        struct ports *known = bpf_map_lookup_elem(&podwire_datagrams, &datagram);
        if (!known) return false;
        ports = *known;
    } else {
        if (bpf_skb_load_bytes(skb, packet->payload, &ports, sizeof ports) != 0) return false;
        if (is_fragment) bpf_map_update_elem(&podwire_datagrams, &datagram, &ports, BPF_ANY);
        // A quoted packet may have been cut before these.
        if (ends->protocol == IPPROTO_TCP)
            bpf_skb_load_bytes(skb, packet->payload + TCP_FLAGS_OFFSET, &packet->tcp_flags, 1);
    }
    ends->source_port = ports.source;
    ends->destination_port = ports.destination;
    return true;
}

static __always_inline bool has_ports(__u8 protocol) {
    return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

static __always_inline bool read_ipv4(struct __sk_buff *skb, struct packet *packet) {
    struct iphdr header;
    if (bpf_skb_load_bytes(skb, packet->header, &header, sizeof header) != 0) return false;
    packet->ends.source.words[0] = header.saddr;
    packet->ends.destination.words[0] = header.daddr;
    packet->ends.protocol = header.protocol;
    packet->payload = packet->header + header.ihl * 4;
    packet->hop_limit = header.ttl;
    __u16 fragment = bpf_ntohs(header.frag_off);
    packet->is_later_fragment = fragment & IPV4_OFFSET_BITS;
    if (!has_ports(header.protocol)) return true;
    return read_ports(skb, packet, fragment & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET_BITS), header.id);
}

static __always_inline bool read_ipv6(struct __sk_buff *skb, struct packet *packet) {
    struct ipv6hdr header;
    if (bpf_skb_load_bytes(skb, packet->header, &header, sizeof header) != 0) return false;
    __builtin_memcpy(&packet->ends.source, &header.saddr, sizeof header.saddr);
    __builtin_memcpy(&packet->ends.destination, &header.daddr, sizeof header.daddr);
    packet->ends.protocol = header.nexthdr;
    packet->payload = packet->header + sizeof header;
    packet->hop_limit = header.hop_limit;
    struct {
        __u8 protocol, reserved;
        __be16 offset;
        __be32 identification;
    } piece = {};
    bool is_fragment = header.nexthdr == FRAGMENT_HEADER;
    if (is_fragment) {
        if (bpf_skb_load_bytes(skb, packet->payload, &piece, sizeof piece) != 0) return false;
        packet->ends.protocol = piece.protocol;
        packet->payload += sizeof piece;
        packet->is_later_fragment = bpf_ntohs(piece.offset) & IPV6_OFFSET_BITS;
        is_fragment = bpf_ntohs(piece.offset) & (IPV6_OFFSET_BITS | IPV6_MORE_FRAGMENTS);
    }
    if (!has_ports(packet->ends.protocol)) return true;
    return read_ports(skb, packet, is_fragment, piece.identification);
}

// Reads an IP packet that begins at an offset; false if it is none, or one without its first piece.
static __always_inline bool read_packet(struct __sk_buff *skb, __u32 offset, struct packet *packet) {
    packet->header = offset;
    packet->ends.is_v6 = skb->protocol == bpf_htons(ETH_P_IPV6);
    if (packet->ends.is_v6) return read_ipv6(skb, packet);
    return skb->protocol == bpf_htons(ETH_P_IP) && read_ipv4(skb, packet);
}

// Where an ICMP error quotes the packet that it is about, 0 if a packet is none.
static __always_inline __u32 quote_of(struct __sk_buff *skb, const struct packet *packet) {
    __u8 type;
    if (packet->is_later_fragment || bpf_skb_load_bytes(skb, packet->payload, &type, 1) != 0) return 0;
    bool is_error = packet->ends.is_v6
                        ? packet->ends.protocol == IPPROTO_ICMPV6 && type < ICMPV6_ERROR_END
                        : packet->ends.protocol == IPPROTO_ICMP &&
                              (type == ICMP_UNREACHABLE || type == ICMP_EXCEEDED ||
                               type == ICMP_PARAMETER_PROBLEM);
    return is_error ? packet->payload + ICMP_BYTE_COUNT : 0;
}

// Where the checksum is that covers a packet's addresses, and ports if it has any. 0 if there is none.
static __always_inline __u32 checksum_of(const struct packet *packet) {
    if (packet->is_later_fragment) return 0;
    switch (packet->ends.protocol) {
    case IPPROTO_TCP:
        return packet->payload + TCP_CHECKSUM_OFFSET;
    case IPPROTO_UDP:
        return packet->payload + UDP_CHECKSUM_OFFSET;
    case IPPROTO_ICMPV6:
        return packet->payload + ICMP_CHECKSUM_OFFSET;
    default:
        return 0;
    }
}

// Gives one end of a packet another address. `quoting` is where the checksum is of the ICMP error that
// quotes the packet, 0 if none does. A checksum that is still to be finished holds the pseudo header alone,
// and the kernel's helper knows.
static __always_inline void set_address(struct __sk_buff *skb, const struct packet *packet, bool is_source,
                                        const struct address *address, __u32 quoting) {
    struct address from = is_source ? packet->ends.source : packet->ends.destination, to = *address;
    __u32 checksum = quoting ? quoting : checksum_of(packet);
    __u32 udp = packet->ends.protocol == IPPROTO_UDP && !quoting ? BPF_F_MARK_MANGLED_0 : 0;
    if (packet->ends.is_v6) {
        __u32 offset = is_source ? offsetof(struct ipv6hdr, saddr) : offsetof(struct ipv6hdr, daddr);
        __s64 difference = bpf_csum_diff(from.words, sizeof from, to.words, sizeof to, 0);
        if (checksum)
            bpf_l4_csum_replace(skb, checksum, 0, difference, udp | (quoting ? 0 : BPF_F_PSEUDO_HDR));
        bpf_skb_store_bytes(skb, packet->header + offset, &to, sizeof to, 0);
        return;
    }
    __u32 offset = is_source ? offsetof(struct iphdr, saddr) : offsetof(struct iphdr, daddr);
    bpf_l3_csum_replace(skb, packet->header + offsetof(struct iphdr, check), from.words[0], to.words[0], 4);
    // In a quoted header its own checksum makes up for it.
    if (checksum && !quoting)
        bpf_l4_csum_replace(skb, checksum, from.words[0], to.words[0], udp | BPF_F_PSEUDO_HDR | 4);
    bpf_skb_store_bytes(skb, packet->header + offset, &to.words[0], 4, 0);
}

// The same for the port.
static __always_inline void set_port(struct __sk_buff *skb, const struct packet *packet, bool is_source,
                                     __be16 port, __u32 quoting) {
    if (packet->is_later_fragment) return;
    __be16 from = is_source ? packet->ends.source_port : packet->ends.destination_port;
    __u32 offset = packet->payload + (is_source ? 0 : sizeof port);
    __u32 udp = packet->ends.protocol == IPPROTO_UDP && !quoting ? BPF_F_MARK_MANGLED_0 : 0;
    bpf_l4_csum_replace(skb, quoting ? quoting : checksum_of(packet), from, port, udp | sizeof port);
    bpf_skb_store_bytes(skb, offset, &port, sizeof port, 0);
}

static __always_inline void set_hop_limit(struct __sk_buff *skb, const struct packet *packet, __u8 limit) {
    if (packet->ends.is_v6) {
        bpf_skb_store_bytes(skb, packet->header + offsetof(struct ipv6hdr, hop_limit), &limit, 1, 0);
        return;
    }
    __be16 from = bpf_htons(packet->hop_limit << 8 | packet->ends.protocol);
    __be16 to = bpf_htons(limit << 8 | packet->ends.protocol);
    bpf_l3_csum_replace(skb, packet->header + offsetof(struct iphdr, check), from, to, sizeof to);
    bpf_skb_store_bytes(skb, packet->header + offsetof(struct iphdr, ttl), &limit, 1, 0);
}
