// Frames of a generator: UDP datagrams over IPv4, and TCP packets that a device has to segment.

#ifndef FRAME_H
#define FRAME_H

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

enum {
    NETWORK = 14,
    TRANSPORT = 34,
    UDP_PAYLOAD = 42,
    // TCP's header with the timestamps that most connections have.
    TCP_HEADER_BYTE_COUNT = 32,
    TCP_PAYLOAD = TRANSPORT + TCP_HEADER_BYTE_COUNT,
    SEGMENT_PAYLOAD_BYTE_COUNT = 1448,
    WIRE_FRAME_BYTE_COUNT_MAX = 1514,
    // As much as an IPv4 packet can say of its length, in whole segments.
    FRAME_BYTE_COUNT_MAX = TCP_PAYLOAD + 45 * SEGMENT_PAYLOAD_BYTE_COUNT,
};

struct end {
    uint32_t address;
    unsigned port;
};

static inline void fail(const char *what) {
    perror(what);
    exit(1);
}

static inline uint64_t now_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static inline void wait_until(uint64_t due) {
    struct timespec wake = {(time_t)(due / 1000000000), (long)(due % 1000000000)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, NULL);
}

static inline void put16(uint8_t *at, unsigned value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline uint32_t sum(const uint8_t *bytes, int count, uint32_t start) {
    for (int index = 0; index < count; index++) start += bytes[index] << (index % 2 ? 0 : 8);
    return start;
}

static inline unsigned folded(uint32_t sum) {
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return sum & 0xffff;
}

static inline void parse_mac(const char *text, uint8_t *mac) {
    if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4,
               mac + 5) != 6) exit(64);
}

// An end as ADDRESS:PORT.
static inline struct end parse_end(const char *text) {
    char copy[64];
    snprintf(copy, sizeof copy, "%s", text);
    char *colon = strchr(copy, ':');
    struct end end;
    if (!colon) exit(64);
    *colon = 0;
    if (inet_pton(AF_INET, copy, &end.address) != 1) exit(64);
    end.port = (unsigned)atoi(colon + 1);
    return end;
}

static inline int is_segmented(int byte_count) {
    return byte_count > WIRE_FRAME_BYTE_COUNT_MAX;
}

// What the kernel is told of a frame that it is to segment, or whose checksum it is to finish.
static inline struct virtio_net_hdr offload(void) {
    return (struct virtio_net_hdr){
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
        .hdr_len = TCP_PAYLOAD, .gso_size = SEGMENT_PAYLOAD_BYTE_COUNT,
        .csum_start = TRANSPORT, .csum_offset = 16};
}

// One of several frames, with a source port of its own: a pod has many connections. A frame that is
// longer than a wire's is one of TCP, and lacks the checksum that the device makes for each segment.
static inline void build(uint8_t *frame, const uint8_t *source_mac, const uint8_t *target_mac,
                         struct end source, struct end target, int byte_count, int number) {
    memcpy(frame, target_mac, 6);
    memcpy(frame + 6, source_mac, 6);
    put16(frame + 12, ETHERTYPE_IP);
    uint8_t *ip = frame + NETWORK, *transport = frame + TRANSPORT;
    int datagram = byte_count - TRANSPORT, is_tcp = is_segmented(byte_count);
    ip[0] = 0x45;
    put16(ip + 2, (unsigned)byte_count - NETWORK);
    put16(ip + 4, (unsigned)number);
    ip[8] = 64;
    ip[9] = is_tcp ? IPPROTO_TCP : IPPROTO_UDP;
    memcpy(ip + 12, &source.address, 4);
    memcpy(ip + 16, &target.address, 4);
    put16(ip + 10, ~folded(sum(ip, 20, 0)) & 0xffff);
    put16(transport, source.port + (unsigned)number);
    put16(transport + 2, target.port);
    for (int index = is_tcp ? TCP_PAYLOAD : UDP_PAYLOAD; index < byte_count; index++)
        frame[index] = (uint8_t)(index * 31 + number);
    uint32_t pseudo = sum(ip + 12, 8, ip[9] + (uint32_t)datagram);
    if (!is_tcp) {
        put16(transport + 4, (unsigned)datagram);
        put16(transport + 6, ~folded(sum(transport, datagram, pseudo)) & 0xffff);
        return;
    }
    // A segment in the middle of a connection, with an acknowledgment; the option is two NOPs and the
    // timestamps.
    transport[12] = TCP_HEADER_BYTE_COUNT / 4 << 4;
    transport[13] = 0x10;
    put16(transport + 14, 0xffff);
    transport[20] = transport[21] = 1;
    transport[22] = 8;
    transport[23] = 10;
    put16(transport + 16, folded(pseudo));
}

// A packet socket that only sends, past the queueing discipline, and the MAC address of its device.
static inline int open_sender(const char *device, uint8_t *mac, int sends_offload) {
    // Protocol 0: nothing is received.
    int number = socket(AF_PACKET, SOCK_RAW, 0);
    if (number < 0) fail("socket");
    struct ifreq request = {0};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", device);
    if (ioctl(number, SIOCGIFHWADDR, &request) != 0) fail(device);
    memcpy(mac, request.ifr_hwaddr.sa_data, 6);
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(device)};
    if (bind(number, (struct sockaddr *)&address, sizeof address) != 0) fail("bind");
    int yes = 1, bytes = 8 << 20;
    if (setsockopt(number, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof yes) != 0)
        fail("PACKET_QDISC_BYPASS");
    if (sends_offload &&
        setsockopt(number, SOL_PACKET, PACKET_VNET_HDR, &yes, sizeof yes) != 0)
        fail("PACKET_VNET_HDR");
    setsockopt(number, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    return number;
}

// Has this process run on one core only.
#define STAY_ON(core)                                                      \
    do {                                                                   \
        cpu_set_t cores;                                                   \
        CPU_ZERO(&cores);                                                  \
        CPU_SET((size_t)(core), &cores);                                   \
        if (sched_setaffinity(0, sizeof cores, &cores) != 0)               \
            fail("sched_setaffinity");                                     \
    } while (0)

// The line of JSON with which a generator ends.
static inline void report(uint64_t sent, uint64_t refused, uint64_t wall_ns, uint64_t cpu_ns) {
    printf("{\"packets\": %llu, \"refused\": %llu, \"wall_ns\": %llu, \"cpu_ns\": %llu}\n",
           (unsigned long long)sent, (unsigned long long)refused, (unsigned long long)wall_ns,
           (unsigned long long)cpu_ns);
}

#endif
