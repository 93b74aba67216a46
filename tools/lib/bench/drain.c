// The sensor's side of a data connection: takes what comes as fast as it comes, and counts it.
//
//     drain ADDRESS rpcap|pcap RATE
//
// With a rate it is a slow sensor, which takes no more than so many bytes a second; 0 is for no limit.
// What comes are RPCAP's records, or a capture file as tcpdump writes it to a pipe.
// Prints the port where it listens, takes one connection, and answers each line of standard input
// with one of JSON; after the line "forget" it measures delays anew. Ends with standard input.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_BYTE_COUNT = 1 << 20,
    RECORD_BYTE_COUNT = 28,
    FILE_HEADER_BYTE_COUNT = 24,
    FILE_RECORD_BYTE_COUNT = 16,
    // Delays by the microsecond, up to a second.
    DELAY_COUNT = 1000000,
    // A network card hands over what has come in portions. Without that, whoever writes packet by
    // packet would pay for waking this process for each of them, as no real sensor has it.
    PORTION_NS = 100000,
    // A slow sensor takes a hundredth of a second's bytes at once, and waits for as long.
    SLOW_PORTIONS_PER_SECOND = 100,
    // TCP's headers in a segment, Ethernet's included, and what it carries at an MTU of 1,500.
    HEADERS_BYTE_COUNT = 66,
    PAYLOAD_BYTE_COUNT = 1448,
    FRAME_BYTE_COUNT = 1514,
};

static uint8_t buffer[READ_BYTE_COUNT];
static size_t used;
static uint32_t delays[DELAY_COUNT];
static uint64_t packets, wire_packets, wire_bytes, bytes, reads, gaps, strangers;
static uint64_t first_arrival_ns, delay_count;
static uint32_t last_number;
static int has_ended, is_file, has_file_header;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static uint32_t word(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return ntohl(value);
}

// How many packets a cable would have carried for this one: a super-frame counts as its segments.
static uint32_t segments(uint32_t wire) {
    if (wire <= FRAME_BYTE_COUNT) return 1;
    return (wire - HEADERS_BYTE_COUNT + PAYLOAD_BYTE_COUNT - 1) / PAYLOAD_BYTE_COUNT;
}

static void note(uint32_t wire, uint64_t stamp_us, uint64_t now) {
    packets++;
    wire_packets += segments(wire);
    wire_bytes += wire;
    int64_t delay = (int64_t)(now / 1000) - (int64_t)stamp_us;
    if (delay < 0) delay = 0;
    if (delay >= DELAY_COUNT) delay = DELAY_COUNT - 1;
    delays[delay]++;
    delay_count++;
}

// The records of a capture file, in the byte order of this machine, which has written them.
static void walk_file(uint64_t now) {
    size_t at = has_file_header ? 0 : FILE_HEADER_BYTE_COUNT;
    if (used < at) return;
    has_file_header = 1;
    while (used - at >= FILE_RECORD_BYTE_COUNT) {
        uint32_t fields[4];
        memcpy(fields, buffer + at, sizeof fields);
        size_t whole = FILE_RECORD_BYTE_COUNT + (size_t)fields[2];
        if (used - at < whole) break;
        at += whole;
        note(fields[3], (uint64_t)fields[0] * 1000000 + fields[1], now);
    }
    memmove(buffer, buffer + at, used - at);
    used -= at;
}

static void walk(uint64_t now) {
    size_t at = 0;
    while (used - at >= RECORD_BYTE_COUNT) {
        const uint8_t *record = buffer + at;
        size_t whole = 8 + (size_t)word(record + 4);
        if (used - at < whole) break;
        at += whole;
        // Anything but a packet would be a mistake of the contestant's, or ours.
        if (record[1] != 7) {
            strangers++;
            continue;
        }
        uint32_t number = word(record + 24);
        gaps += number != last_number + 1;
        last_number = number;
        note(word(record + 20), (uint64_t)word(record + 8) * 1000000 + word(record + 12), now);
    }
    memmove(buffer, buffer + at, used - at);
    used -= at;
}

static uint64_t percentile(double share) {
    uint64_t wanted = (uint64_t)(share * (double)delay_count), seen = 0;
    for (uint64_t delay = 0; delay < DELAY_COUNT; delay++) {
        seen += delays[delay];
        if (seen > wanted) return delay;
    }
    return 0;
}

static void answer(void) {
    printf("{\"packets\": %llu, \"wire_packets\": %llu, \"wire_bytes\": %llu, "
           "\"bytes\": %llu, \"reads\": %llu, \"gaps\": %llu, \"strangers\": %llu, "
           "\"first_arrival_ns\": %llu, \"delay_median_us\": %llu, \"delay_99th_us\": %llu, "
           "\"ended\": %s}\n",
           (unsigned long long)packets, (unsigned long long)wire_packets,
           (unsigned long long)wire_bytes, (unsigned long long)bytes, (unsigned long long)reads,
           (unsigned long long)gaps, (unsigned long long)strangers,
           (unsigned long long)first_arrival_ns, (unsigned long long)percentile(0.5),
           (unsigned long long)percentile(0.99), has_ended ? "true" : "false");
    fflush(stdout);
}

static int listen_on(const char *address) {
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in own = {.sin_family = AF_INET};
    socklen_t length = sizeof own;
    if (inet_pton(AF_INET, address, &own.sin_addr) != 1) exit(64);
    if (bind(listener, (struct sockaddr *)&own, sizeof own) != 0) fail("bind");
    if (listen(listener, 1) != 0) fail("listen");
    getsockname(listener, (struct sockaddr *)&own, &length);
    printf("%d\n", ntohs(own.sin_port));
    fflush(stdout);
    return listener;
}

int main(int count, char **words) {
    if (count != 4) return 64;
    size_t rate = (size_t)atoll(words[3]);
    size_t slow_portion = rate / SLOW_PORTIONS_PER_SECOND;
    is_file = strcmp(words[2], "pcap") == 0;
    int listener = listen_on(words[1]);
    struct pollfd inputs[2] = {{listener, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    for (;;) {
        if (poll(inputs, 2, -1) < 0) fail("poll");
        if (inputs[1].revents) {
            char line[64];
            if (read(STDIN_FILENO, line, sizeof line) <= 0) return 0;
            answer();
            if (line[0] != 'f') continue;
            memset(delays, 0, sizeof delays);
            delay_count = 0;
        }
        if (!inputs[0].revents) continue;
        if (listener >= 0) {
            inputs[0].fd = accept(listener, NULL, NULL);
            close(listener);
            listener = -1;
            continue;
        }
        size_t room = sizeof buffer - used;
        if (rate > 0 && room > slow_portion) room = slow_portion;
        ssize_t got = read(inputs[0].fd, buffer + used, room);
        if (got <= 0) {
            has_ended = 1;
            inputs[0].fd = -1;
            continue;
        }
        uint64_t now = now_ns();
        if (first_arrival_ns == 0) first_arrival_ns = now;
        reads++;
        bytes += (uint64_t)got;
        used += (size_t)got;
        int is_all = used < sizeof buffer;
        if (is_file) walk_file(now);
        else walk(now);
        struct timespec pause = {0, PORTION_NS};
        if (rate > 0) pause.tv_nsec = (long)((uint64_t)got * 1000000000 / rate);
        if (is_all || rate > 0) nanosleep(&pause, NULL);
    }
}
