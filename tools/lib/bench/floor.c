// The floor: what forwarding costs when nothing is decided. From ring to TCP, each frame behind the
// header of an RPCAP record, without a rule, a session, a limit or a repair.
//
//     floor copies|vectors ADDRESS PORT RING_BYTES BLOCK_BYTES DEVICE...
//
// Blocks are retired after 14 ms, as the agent's are. With `copies`, frames are copied, and the blocks
// given back, before anything is written: a slow reader must not hold the kernel's memory. With
// `vectors`, frames go to the socket straight from the ring, which a slow reader then holds up: it is
// what no agent that must not lose packets can do, and so the least that there is.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    BLOCK_BYTE_COUNT_MAX = 2 << 20,
    RETIREMENT_MS = 14,
    RING_COUNT_MAX = 1024,
    WRITE_BYTE_COUNT = 256 << 10,
    RECORD_BYTE_COUNT = 28,
    // Two parts for each frame, and as many parts as the kernel takes at once (UIO_MAXIOV).
    BATCH_COUNT = 512,
};

struct ring {
    uint8_t *memory;
    unsigned block_count, next;
};

struct record {
    uint32_t kind, byte_count, seconds, microseconds, captured, wire, number;
};

static struct ring rings[RING_COUNT_MAX];
// A block's frames always fit behind what is not worth a write yet: a record's header is smaller
// than the one that the kernel puts before each frame.
static uint8_t buffer[WRITE_BYTE_COUNT + BLOCK_BYTE_COUNT_MAX];
static size_t used, block_byte_count;
static uint32_t number;
static int sensor, sends_straight;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int open_ring(struct ring *ring, const char *device, size_t byte_count) {
    int descriptor = socket(AF_PACKET, SOCK_RAW, 0);
    if (descriptor < 0) fail("socket");
    int version = TPACKET_V3;
    if (setsockopt(descriptor, SOL_PACKET, PACKET_VERSION, &version, sizeof version) != 0)
        fail("PACKET_VERSION");
    ring->block_count = (unsigned)(byte_count / block_byte_count);
    struct tpacket_req3 request = {
        .tp_block_size = (unsigned)block_byte_count, .tp_block_nr = ring->block_count,
        .tp_frame_size = 2048, .tp_frame_nr = (unsigned)(block_byte_count / 2048) * ring->block_count,
        .tp_retire_blk_tov = RETIREMENT_MS};
    if (setsockopt(descriptor, SOL_PACKET, PACKET_RX_RING, &request, sizeof request) != 0)
        fail("PACKET_RX_RING");
    ring->memory = mmap(NULL, (size_t)ring->block_count * block_byte_count,
                        PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (ring->memory == MAP_FAILED) fail("mmap");
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
                                  .sll_ifindex = (int)if_nametoindex(device)};
    if (bind(descriptor, (struct sockaddr *)&address, sizeof address) != 0) fail(device);
    return descriptor;
}

static void flush(void) {
    for (size_t done = 0; done < used;) {
        ssize_t count = write(sensor, buffer + done, used - done);
        if (count < 0) fail("write");
        done += (size_t)count;
    }
    used = 0;
}

static struct record record_of(const struct tpacket3_hdr *header) {
    uint32_t captured = header->tp_snaplen;
    return (struct record){
        htonl(0x00070000), htonl(captured + 20), htonl(header->tp_sec),
        htonl(header->tp_nsec / 1000), htonl(captured), htonl(header->tp_len), htonl(++number)};
}

static void copy(const struct tpacket_block_desc *block) {
    const uint8_t *at = (const uint8_t *)block + block->hdr.bh1.offset_to_first_pkt;
    for (unsigned left = block->hdr.bh1.num_pkts; left > 0; left--) {
        const struct tpacket3_hdr *header = (const void *)at;
        struct record record = record_of(header);
        memcpy(buffer + used, &record, sizeof record);
        memcpy(buffer + used + RECORD_BYTE_COUNT, at + header->tp_mac, header->tp_snaplen);
        used += RECORD_BYTE_COUNT + header->tp_snaplen;
        at += header->tp_next_offset;
    }
}

static void write_all(struct iovec *parts, int count) {
    while (count > 0) {
        ssize_t done = writev(sensor, parts, count);
        if (done < 0) fail("writev");
        for (; count > 0 && (size_t)done >= parts->iov_len; parts++, count--)
            done -= (ssize_t)parts->iov_len;
        if (count == 0) return;
        parts->iov_base = (uint8_t *)parts->iov_base + done;
        parts->iov_len -= (size_t)done;
    }
}

static void send_straight(const struct tpacket_block_desc *block) {
    static struct record records[BATCH_COUNT];
    static struct iovec parts[2 * BATCH_COUNT];
    const uint8_t *at = (const uint8_t *)block + block->hdr.bh1.offset_to_first_pkt;
    int count = 0;
    for (unsigned left = block->hdr.bh1.num_pkts; left > 0; left--) {
        const struct tpacket3_hdr *header = (const void *)at;
        records[count] = record_of(header);
        parts[2 * count] = (struct iovec){&records[count], RECORD_BYTE_COUNT};
        parts[2 * count + 1] = (struct iovec){(void *)(at + header->tp_mac), header->tp_snaplen};
        at += header->tp_next_offset;
        if (++count < BATCH_COUNT && left > 1) continue;
        write_all(parts, 2 * count);
        count = 0;
    }
}

static void drain(struct ring *ring) {
    for (;;) {
        struct tpacket_block_desc *block =
            (void *)(ring->memory + (size_t)ring->next * block_byte_count);
        uint32_t *status = &block->hdr.bh1.block_status;
        if (!(__atomic_load_n(status, __ATOMIC_ACQUIRE) & TP_STATUS_USER)) return;
        if (sends_straight) send_straight(block);
        else copy(block);
        __atomic_store_n(status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        ring->next = (ring->next + 1) % ring->block_count;
        if (used >= WRITE_BYTE_COUNT) flush();
    }
}

static void connect_to(const char *address, int port) {
    sensor = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, address, &peer.sin_addr) != 1) exit(64);
    if (connect(sensor, (struct sockaddr *)&peer, sizeof peer) != 0) fail("connect");
}

int main(int count, char **words) {
    if (count < 7 || count - 6 > RING_COUNT_MAX) return 64;
    sends_straight = strcmp(words[1], "vectors") == 0;
    block_byte_count = (size_t)atoll(words[5]);
    if (block_byte_count > BLOCK_BYTE_COUNT_MAX) return 64;
    connect_to(words[2], atoi(words[3]));
    int poller = epoll_create1(0);
    for (int index = 6; index < count; index++) {
        struct ring *ring = &rings[index - 6];
        int descriptor = open_ring(ring, words[index], (size_t)atoll(words[4]));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = ring};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event) != 0) fail("epoll_ctl");
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct epoll_event ready[64];
        int ready_count = epoll_wait(poller, ready, 64, -1);
        for (int index = 0; index < ready_count; index++) drain(ready[index].data.ptr);
        if (used > 0) flush();
    }
}
