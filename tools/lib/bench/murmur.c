// Light traffic of many pods: each sends UDP datagrams over IPv4 at a low rate, all of them evenly.
//
//     murmur DEVICE TARGET_MAC PORT TARGET:PORT FRAME_BYTES[,FRAME_BYTES...] SECONDS RATE CORE < PODS
//
// PODS has a line for each pod: the file of its network namespace, and its address. The rate is that
// of one pod; several sizes take turns. Each millisecond those pods send whose turn it is, so that the
// generator's own wake-ups do not grow with the number of pods. Prints one line of JSON.

#define _GNU_SOURCE
#include "frame.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

enum { POD_COUNT_MAX = 1024, SIZE_COUNT_MAX = 4, TICK_NS = 1000000 };

static size_t sizes[SIZE_COUNT_MAX];
static unsigned size_count;

static struct pod {
    int number;
    uint8_t frames[SIZE_COUNT_MAX][WIRE_FRAME_BYTE_COUNT_MAX];
} pods[POD_COUNT_MAX];

static int parse_sizes(char *text) {
    for (char *word = strtok(text, ","); word; word = strtok(NULL, ",")) {
        int size = atoi(word);
        if (size < UDP_PAYLOAD || size > WIRE_FRAME_BYTE_COUNT_MAX) return 0;
        if (size_count == SIZE_COUNT_MAX) return 0;
        sizes[size_count++] = (size_t)size;
    }
    return size_count > 0;
}

static void open_pod(struct pod *pod, const char *namespace, char **words, const char *address) {
    int file = open(namespace, O_RDONLY | O_CLOEXEC);
    if (file < 0 || setns(file, CLONE_NEWNET) != 0) fail(namespace);
    close(file);
    uint8_t mac[6], target_mac[6];
    parse_mac(words[2], target_mac);
    pod->number = open_sender(words[1], mac, 0);
    char source[64];
    snprintf(source, sizeof source, "%s:%s", address, words[3]);
    for (unsigned index = 0; index < size_count; index++)
        build(pod->frames[index], mac, target_mac, parse_end(source), parse_end(words[4]),
              (int)sizes[index], 0);
}

int main(int count, char **words) {
    if (count != 9) return 64;
    int pod_count = 0;
    double seconds = atof(words[6]), rate = atof(words[7]);
    if (!parse_sizes(words[5])) return 64;
    STAY_ON(atoi(words[8]));
    char namespace[256], address[64];
    while (pod_count < POD_COUNT_MAX && scanf("%255s %63s", namespace, address) == 2)
        open_pod(&pods[pod_count++], namespace, words, address);
    if (pod_count == 0) return 64;

    uint64_t sent = 0, refused = 0;
    uint64_t begin = now_ns(CLOCK_MONOTONIC), cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t end = begin + (uint64_t)(seconds * 1e9), now = begin;
    for (uint64_t tick = begin; now < end; tick += TICK_NS) {
        wait_until(tick);
        now = now_ns(CLOCK_MONOTONIC);
        uint64_t due = (uint64_t)((double)(now - begin) / 1e9 * rate * pod_count);
        while (sent + refused < due) {
            uint64_t number = sent + refused;
            const struct pod *pod = &pods[number % (uint64_t)pod_count];
            unsigned size = (unsigned)(number / (uint64_t)pod_count) % size_count;
            if (send(pod->number, pod->frames[size], sizes[size], 0) > 0) sent++;
            else if (errno == ENOBUFS || errno == EAGAIN) refused++;
            else fail("send");
        }
    }
    report(sent, refused, now - begin, now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    return 0;
}
