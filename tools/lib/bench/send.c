// The traffic: UDP over IPv4 between two pods, as fast as one core makes it or at a given rate.
//
//     send DEVICE TARGET_MAC SOURCE:PORT TARGET:PORT FRAME_BYTES SECONDS RATE CORE
//
// A rate of 0 is as fast as possible. Frames leave through a packet socket past the queueing
// discipline, 64 with each call, so that nearly all of this process's time is what the kernel does
// with them: the veth, the taps at its other end, the bridge, and the other pod's veth. trafgen
// does the same at the same speed, but tells neither what it has sent nor what that has cost.
// Prints one line of JSON.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH_COUNT = 64, HEADERS_BYTE_COUNT = 42, FRAME_BYTE_COUNT_MAX = 1514 };

static uint8_t frames[BATCH_COUNT][FRAME_BYTE_COUNT_MAX];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void put16(uint8_t *at, unsigned value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint32_t sum(const uint8_t *bytes, int count, uint32_t start) {
    for (int index = 0; index < count; index++) start += bytes[index] << (index % 2 ? 0 : 8);
    return start;
}

static unsigned folded(uint32_t sum) {
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

// An end as ADDRESS:PORT: the address goes where it belongs in a frame, the port is answered.
static unsigned parse_end(char *text, uint8_t *address) {
    char *colon = strchr(text, ':');
    if (!colon) exit(64);
    *colon = 0;
    if (inet_pton(AF_INET, text, address) != 1) exit(64);
    return (unsigned)atoi(colon + 1);
}

// One of the frames, with a source port of its own: a pod has many connections.
static void build(uint8_t *frame, const uint8_t *source_mac, const char *target_mac, char *source,
                  char *target, int byte_count, int number) {
    char near[64], far[64];
    snprintf(near, sizeof near, "%s", source);
    snprintf(far, sizeof far, "%s", target);
    unsigned char mac[6];
    if (sscanf(target_mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4,
               mac + 5) != 6) exit(64);
    memcpy(frame, mac, 6);
    memcpy(frame + 6, source_mac, 6);
    put16(frame + 12, ETHERTYPE_IP);
    uint8_t *ip = frame + 14, *udp = frame + 34;
    ip[0] = 0x45;
    put16(ip + 2, (unsigned)byte_count - 14);
    put16(ip + 4, (unsigned)number);
    ip[8] = 64;
    ip[9] = IPPROTO_UDP;
    put16(udp, parse_end(near, ip + 12) + (unsigned)number);
    put16(udp + 2, parse_end(far, ip + 16));
    int datagram = byte_count - 34;
    put16(udp + 4, (unsigned)datagram);
    put16(ip + 10, folded(sum(ip, 20, 0)));
    for (int index = HEADERS_BYTE_COUNT; index < byte_count; index++)
        frame[index] = (uint8_t)(index * 31 + number);
    uint32_t pseudo = sum(ip + 12, 8, IPPROTO_UDP + (uint32_t)datagram);
    put16(udp + 6, folded(sum(udp, datagram, pseudo)));
}

static int open_socket(const char *device, uint8_t *mac) {
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
    setsockopt(number, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    return number;
}

int main(int count, char **words) {
    if (count != 9) return 64;
    int byte_count = atoi(words[5]);
    double seconds = atof(words[6]), rate = atof(words[7]);
    if (byte_count < HEADERS_BYTE_COUNT || byte_count > FRAME_BYTE_COUNT_MAX) return 64;
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET((size_t)atoi(words[8]), &cores);
    if (sched_setaffinity(0, sizeof cores, &cores) != 0) fail("sched_setaffinity");
    uint8_t mac[6];
    int number = open_socket(words[1], mac);

    struct iovec parts[BATCH_COUNT];
    struct mmsghdr messages[BATCH_COUNT] = {0};
    for (int index = 0; index < BATCH_COUNT; index++) {
        build(frames[index], mac, words[2], words[3], words[4], byte_count, index);
        parts[index] = (struct iovec){frames[index], (size_t)byte_count};
        messages[index].msg_hdr.msg_iov = &parts[index];
        messages[index].msg_hdr.msg_iovlen = 1;
    }

    uint64_t sent = 0, refused = 0;
    uint64_t begin = now_ns(CLOCK_MONOTONIC), cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t end = begin + (uint64_t)(seconds * 1e9), now = begin;
    while (now < end) {
        unsigned batch = BATCH_COUNT;
        if (rate > 0) {
            // Slow traffic goes out packet by packet, evenly.
            uint64_t due = begin + (uint64_t)((double)sent / rate * 1e9);
            struct timespec wake = {(time_t)(due / 1000000000), (long)(due % 1000000000)};
            if (due > now) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, NULL);
            batch = 1;
        }
        int done = sendmmsg(number, messages, batch, 0);
        if (done > 0) sent += (unsigned)done;
        // The veth or its other end had no room; the counter of the veth says what went through.
        else if (errno == ENOBUFS || errno == EAGAIN) refused++;
        else fail("sendmmsg");
        now = now_ns(CLOCK_MONOTONIC);
    }
    cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("{\"packets\": %llu, \"refused\": %llu, \"wall_ns\": %llu, \"cpu_ns\": %llu}\n",
           (unsigned long long)sent, (unsigned long long)refused, (unsigned long long)(now - begin),
           (unsigned long long)cpu);
    return 0;
}
