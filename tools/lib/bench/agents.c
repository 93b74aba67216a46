// Agents for a collector: each dials it, and sends what it has captured at eight edges.
//
//     agents ADDRESS PORT AGENTS BYTES RATE SECONDS
//
// An agent hands over a block of each edge every 20 ms, as podwire does: the stamps of a block rise, and
// blocks of the same time follow each other. The rate is in packets a second of all agents together; 0 is
// for as many as the collector takes. Prints a line of JSON for each agent when its time is over, and ends
// when the collector ends.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    EDGE_COUNT = 8,
    PERIOD_NS = 20000000,
    // Of one edge and period, where there is no rate.
    BLOCK_PACKET_COUNT = 256,
    HEADER_BYTE_COUNT = 8,
    RECORD_BYTE_COUNT = 28,
    REQUEST_BYTE_COUNT_MAX = 1 << 16,
};

static struct sockaddr_in collector = {.sin_family = AF_INET};
static uint8_t *records;
static size_t frame_byte_count, block_packet_count;
static uint64_t sent;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void put(uint8_t *at, uint32_t value) {
    value = htonl(value);
    memcpy(at, &value, sizeof value);
}

static uint32_t word(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return ntohl(value);
}

static int dial(uint16_t port) {
    int number = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in peer = collector;
    peer.sin_port = htons(port);
    if (connect(number, (struct sockaddr *)&peer, sizeof peer) != 0) fail("connect");
    setsockopt(number, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return number;
}

static void send_all(int number, const uint8_t *bytes, size_t count) {
    while (count > 0) {
        ssize_t done = send(number, bytes, count, MSG_NOSIGNAL);
        if (done <= 0) exit(0);
        bytes += done;
        count -= (size_t)done;
    }
}

static void take(int number, uint8_t *bytes, size_t count) {
    while (count > 0) {
        ssize_t done = recv(number, bytes, count, 0);
        if (done <= 0) exit(0);
        bytes += done;
        count -= (size_t)done;
    }
}

static void answer(int control, uint8_t kind, uint16_t value, const uint8_t *bytes, size_t count) {
    uint8_t head[HEADER_BYTE_COUNT] = {0, kind | 0x80, (uint8_t)(value >> 8), (uint8_t)value};
    put(head + 4, (uint32_t)count);
    send_all(control, head, sizeof head);
    send_all(control, bytes, count);
}

// Answers a request; returns the data connection if that was the one to start.
static int serve(int control) {
    uint8_t head[HEADER_BYTE_COUNT];
    static uint8_t payload[REQUEST_BYTE_COUNT_MAX];
    uint8_t reply[64] = {0};
    take(control, head, sizeof head);
    size_t count = word(head + 4);
    if (count > sizeof payload) exit(65);
    take(control, payload, count);
    switch (head[1]) {
    case 2:
        // A device of the name "all", without a description and addresses.
        reply[1] = 3;
        reply[7] = 0x16;
        memcpy(reply + 12, "all", 3);
        answer(control, 2, 1, reply, 15);
        return -1;
    case 3:
        reply[3] = 1;
        answer(control, 3, 0, reply, 8);
        return -1;
    case 4: {
        int data = dial((uint16_t)(payload[10] << 8 | payload[11]));
        answer(control, 4, 0, reply, 8);
        return data;
    }
    case 6: exit(0);
    case 9: answer(control, 9, 0, reply, 16); return -1;
    default: answer(control, head[1], 0, reply, 0); return -1;
    }
}

// A UDP packet of one agent's pods, in the records of a period.
static void prepare(int agent) {
    size_t whole = RECORD_BYTE_COUNT + frame_byte_count;
    records = calloc(EDGE_COUNT * block_packet_count, whole);
    for (size_t index = 0; index < EDGE_COUNT * block_packet_count; index++) {
        uint8_t *record = records + index * whole, *frame = record + RECORD_BYTE_COUNT;
        record[1] = 7;
        put(record + 4, (uint32_t)(20 + frame_byte_count));
        put(record + 16, (uint32_t)frame_byte_count);
        put(record + 20, (uint32_t)frame_byte_count);
        frame[5] = frame[11] = 1;
        frame[12] = 8;
        frame[14] = 0x45;
        frame[16] = (uint8_t)((frame_byte_count - 14) >> 8);
        frame[17] = (uint8_t)(frame_byte_count - 14);
        frame[22] = 64;
        frame[23] = 17;
        put(frame + 26, 0x0af40001u + ((uint32_t)agent << 8) + (uint32_t)(index / block_packet_count));
        put(frame + 30, 0x0af4ff01u);
        frame[34] = 0x20;
        frame[36] = 0x30;
        frame[38] = (uint8_t)((frame_byte_count - 34) >> 8);
        frame[39] = (uint8_t)(frame_byte_count - 34);
    }
}

// Sends the blocks of all edges, whose stamps lie between two times.
static void send_period(int data, uint64_t from, uint64_t to) {
    size_t whole = RECORD_BYTE_COUNT + frame_byte_count;
    for (size_t index = 0; index < EDGE_COUNT * block_packet_count; index++) {
        uint8_t *record = records + index * whole;
        uint64_t place = index % block_packet_count;
        uint64_t stamp = from + (to - from) * place / block_packet_count + index / block_packet_count * 1000;
        if (stamp > to) stamp = to;
        put(record + 8, (uint32_t)(stamp / 1000000000));
        put(record + 12, (uint32_t)(stamp % 1000000000 / 1000));
        put(record + 24, (uint32_t)(++sent));
    }
    send_all(data, records, EDGE_COUNT * block_packet_count * whole);
}

static void run(int agent, uint16_t port, int is_paced, uint64_t seconds) {
    prepare(agent);
    int control = dial(port), data = -1;
    while (data < 0) data = serve(control);
    uint64_t begin = now_ns(CLOCK_MONOTONIC), last = now_ns(CLOCK_REALTIME), next = begin;
    while (now_ns(CLOCK_MONOTONIC) - begin < seconds * 1000000000) {
        struct pollfd input = {control, POLLIN, 0};
        while (poll(&input, 1, 0) > 0) serve(control);
        next += PERIOD_NS;
        struct timespec until = {(time_t)(next / 1000000000), (long)(next % 1000000000)};
        if (is_paced) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        uint64_t now = now_ns(CLOCK_REALTIME);
        send_period(data, last, now);
        last = now;
    }
    printf("{\"agent\": %d, \"packets\": %llu, \"seconds\": %.3f}\n", agent, (unsigned long long)sent,
           (double)(now_ns(CLOCK_MONOTONIC) - begin) / 1e9);
    fflush(stdout);
    for (;;) serve(control);
}

int main(int count, char **words) {
    if (count != 7) return 64;
    if (inet_pton(AF_INET, words[1], &collector.sin_addr) != 1) return 64;
    int agents = atoi(words[3]);
    frame_byte_count = (size_t)atoi(words[4]);
    uint64_t rate = (uint64_t)atoll(words[5]);
    if (agents < 1 || frame_byte_count < 60) return 64;
    block_packet_count = rate ? rate / (uint64_t)agents / (1000000000 / PERIOD_NS) / EDGE_COUNT : BLOCK_PACKET_COUNT;
    if (block_packet_count < 1) return 64;
    for (int agent = 0; agent < agents; agent++)
        if (fork() == 0) run(agent, (uint16_t)atoi(words[2]), rate > 0, (uint64_t)atoll(words[6]));
    while (wait(NULL) > 0) {}
    return 0;
}
