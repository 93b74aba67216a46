// An eBPF data path like Cilium's, for the test bed: services are translated packet by packet where
// connection tracking does not see it, and with PEER packets go from device to pod, past the node's stack.
//
//     from_pod     tc, what a pod sends, at the node's end of its veth: services become backends, and with
//                  PEER it goes on to a pod of this node
//     to_pod       tc, what the node's stack sends to a pod: backends become services again
//     from_uplink  tc, what other nodes send: with PEER it goes on to the pod
//
// With KEEP_MACS, a packet that goes straight to a pod keeps the MAC addresses that it came with, as
// Calico has it. Without PEER the stack routes all, and the node's firewall sees it.

#include "tables.h"

// What the test bed marks packets with that leave towards a pod.
enum { EGRESS_HOP_LIMIT = 99 };

// The source of a call that a pod makes to itself through a service, Cilium's defaults: 169.254.42.1, fe80::1.
static __always_inline struct address loopback(bool is_v6) {
    if (is_v6) return (struct address){{bpf_htonl(0xfe800000), 0, 0, bpf_htonl(1)}};
    return (struct address){{bpf_htonl(0xa9fe2a01)}};
}

// Translates what comes back from a backend, or its errors about what went there. Those that others send are
// left as they are, as with Cilium, so the client does not know what they are about.
static __always_inline bool untranslate(struct __sk_buff *skb, struct packet *packet) {
    struct packet quoted = {};
    struct packet *subject = packet;
    __u32 quote = has_ports(packet->ends.protocol) ? 0 : quote_of(skb, packet), quoting = 0;
    struct ends call;
    if (quote) {
        if (!read_packet(skb, quote, &quoted) || !has_ports(quoted.ends.protocol)) return false;
        subject = &quoted;
        quoting = packet->payload + ICMP_CHECKSUM_OFFSET;
        call = quoted.ends;
        if (!is_equal(&packet->ends.source, &call.destination)) return false;
    } else {
        if (!has_ports(packet->ends.protocol)) return false;
        call = (struct ends){packet->ends.destination, packet->ends.source, packet->ends.destination_port,
                             packet->ends.source_port, packet->ends.protocol, packet->ends.is_v6};
    }
    struct flow *flow = find_flow(&call, EGRESS_FLAGS, NULL);
    struct end front;
    if (!flow || !find_front(call.is_v6, flow->service, &front)) return false;
    set_address(skb, subject, !quote, &front.address, quoting);
    set_port(skb, subject, !quote, front.port, quoting);
    if (quote) set_address(skb, packet, true, &front.address, 0);
    return true;
}

// The backend of a call to a service: the one that it has got, or any.
static __always_inline bool choose(const struct packet *packet, struct end *backend, __u16 *number) {
    const struct ends *ends = &packet->ends;
    struct service *service = find_service(ends, 0);
    if (!service || service->count == 0) return false;
    *number = service->number;
    bool is_new = (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
    struct flow *flow = find_flow(ends, SERVICE_FLAGS, NULL);
    if (flow && !(is_new && flow->flags & CLOSING) && find_backend(ends->is_v6, flow->backend, backend)) {
        if (packet->tcp_flags & (TCP_FIN | TCP_RST)) flow->flags |= CLOSING;
        return true;
    }
    service = find_service(ends, 1 + bpf_get_prandom_u32() % service->count);
    if (!service || !find_backend(ends->is_v6, service->backend, backend)) return false;
    struct flow new = {.backend = service->backend, .service = *number};
    find_flow(ends, SERVICE_FLAGS, &new);
    return true;
}

// Has a packet go to a backend, and remembers the way back. A pod that calls itself gets another source.
static __always_inline bool translate(struct __sk_buff *skb, struct packet *packet, bool *is_hairpin) {
    struct end backend = {};
    __u16 number;
    if (!choose(packet, &backend, &number)) return false;
    struct packet old = *packet;
    struct ends *ends = &packet->ends;
    *is_hairpin = is_equal(&backend.address, &ends->source);
    set_address(skb, &old, false, &backend.address, 0);
    set_port(skb, &old, false, backend.port, 0);
    ends->destination = backend.address;
    ends->destination_port = backend.port;
    if (*is_hairpin) {
        ends->source = loopback(ends->is_v6);
        set_address(skb, &old, true, &ends->source, 0);
    }
    struct flow *flow = find_flow(ends, EGRESS_FLAGS, NULL);
    if (!flow || flow->service != number) {
        struct flow new = {.service = number};
        find_flow(ends, EGRESS_FLAGS, &new);
    }
    return true;
}

// What a pod answers to itself: it has called from the loopback address.
static __always_inline bool translate_hairpin_reply(struct __sk_buff *skb, struct packet *packet) {
    struct address caller = loopback(packet->ends.is_v6);
    if (!is_equal(&packet->ends.destination, &caller) || !untranslate(skb, packet)) return false;
    set_address(skb, packet, false, &packet->ends.source, 0);
    return true;
}

static __always_inline int to_peer(struct __sk_buff *skb, const struct packet *packet, __u32 device) {
    set_hop_limit(skb, packet, EGRESS_HOP_LIMIT);
#ifdef PEER
    return bpf_redirect_peer(device, 0);
#else
    return bpf_redirect(device, 0);
#endif
}

// Sends a packet back to the pod that it is from.
static __always_inline int bounce(struct __sk_buff *skb, const struct packet *packet) {
    struct ethhdr header;
    __u8 pod[ETH_ALEN];
    if (bpf_skb_load_bytes(skb, 0, &header, sizeof header) != 0) return TC_ACT_SHOT;
    __builtin_memcpy(pod, header.h_source, sizeof pod);
    __builtin_memcpy(header.h_source, header.h_dest, sizeof pod);
    __builtin_memcpy(header.h_dest, pod, sizeof pod);
    bpf_skb_store_bytes(skb, 0, &header, sizeof header, 0);
    return to_peer(skb, packet, skb->ifindex);
}

#ifdef PEER
#include "peer.h"
#endif

SEC("tc")
int from_pod(struct __sk_buff *skb) {
    struct packet packet = {};
    bool is_hairpin = false;
    if (!read_packet(skb, ETH_HLEN, &packet)) return TC_ACT_OK;
    if (has_ports(packet.ends.protocol)) {
        if (translate_hairpin_reply(skb, &packet)) return bounce(skb, &packet);
        if (translate(skb, &packet, &is_hairpin) && is_hairpin) return bounce(skb, &packet);
    }
#ifdef PEER
    return deliver(skb, &packet);
#else
    return TC_ACT_OK;
#endif
}

SEC("tc")
int to_pod(struct __sk_buff *skb) {
    struct packet packet = {};
    if (read_packet(skb, ETH_HLEN, &packet)) untranslate(skb, &packet);
    return TC_ACT_OK;
}

#ifdef PEER
SEC("tc")
int from_uplink(struct __sk_buff *skb) {
    struct packet packet = {};
    return read_packet(skb, ETH_HLEN, &packet) ? deliver(skb, &packet) : TC_ACT_OK;
}
#endif

// Some helpers are there for programs under the GPL alone.
char podwire_license[] SEC("license") = "GPL";
