// The traffic: packets over IPv4 between two pods, as fast as one core makes them or at a given rate.
//
//     send DEVICE TARGET_MAC SOURCE:PORT TARGET:PORT FRAME_BYTES SECONDS RATE CORE [FLOWS]
//
// FLOWS is "many", "one", or "mixed": many flows, each of whose packets is longer than the one before,
// up to FRAME_BYTES, so that no two of a flow can be handled as one.
// A rate of 0 is as fast as possible. Frames leave through a packet socket past the queueing
// discipline, 64 with each call, so that nearly all of this process's time is what the kernel does
// with them: the veth, the taps at its other end, the bridge, and the other pod's veth. trafgen
// does the same at the same speed, but tells neither what it has sent nor what that has cost.
// Frames of more than 1,514 bytes are TCP packets that a device has to segment (GSO).
// Prints one line of JSON.

#define _GNU_SOURCE
#include "frame.h"

#include <errno.h>
#include <sched.h>
#include <sys/uio.h>
#include <unistd.h>

enum { BATCH_COUNT = 64, LENGTH_COUNT = 8, FRAME_COUNT = BATCH_COUNT * LENGTH_COUNT };

static uint8_t frames[FRAME_COUNT][FRAME_BYTE_COUNT_MAX];

int main(int count, char **words) {
    if (count != 9 && count != 10) return 64;
    int is_one = count == 10 && !strcmp(words[9], "one");
    int is_mixed = count == 10 && !strcmp(words[9], "mixed");
    int frame_count = is_mixed ? FRAME_COUNT : BATCH_COUNT;
    int byte_count = atoi(words[5]);
    double seconds = atof(words[6]), rate = atof(words[7]);
    if (byte_count < UDP_PAYLOAD + (is_mixed ? LENGTH_COUNT : 0) || byte_count > FRAME_BYTE_COUNT_MAX) return 64;
    STAY_ON(atoi(words[8]));
    uint8_t mac[6], target_mac[6];
    parse_mac(words[2], target_mac);
    int number = open_sender(words[1], mac, is_segmented(byte_count));

    struct virtio_net_hdr header = offload();
    static struct iovec parts[FRAME_COUNT][2];
    static struct mmsghdr messages[FRAME_COUNT];
    for (int index = 0; index < frame_count; index++) {
        int length = is_mixed ? byte_count - LENGTH_COUNT + 1 + index / BATCH_COUNT : byte_count;
        build(frames[index], mac, target_mac, parse_end(words[3]), parse_end(words[4]), length,
              is_one ? 0 : index % BATCH_COUNT);
        parts[index][0] = (struct iovec){&header, sizeof header};
        parts[index][1] = (struct iovec){frames[index], (size_t)length};
        int first = is_segmented(byte_count) ? 0 : 1;
        messages[index].msg_hdr.msg_iov = &parts[index][first];
        messages[index].msg_hdr.msg_iovlen = (size_t)(2 - first);
    }

    uint64_t sent = 0, refused = 0;
    uint64_t begin = now_ns(CLOCK_MONOTONIC), cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t end = begin + (uint64_t)(seconds * 1e9), now = begin;
    while (now < end) {
        unsigned batch = BATCH_COUNT;
        if (rate > 0) {
            // Slow traffic goes out packet by packet, evenly.
            uint64_t due = begin + (uint64_t)((double)sent / rate * 1e9);
            if (due > now) wait_until(due);
            batch = 1;
        }
        unsigned at = (unsigned)(sent % (unsigned)frame_count), rest = (unsigned)frame_count - at;
        int done = sendmmsg(number, messages + at, batch < rest ? batch : rest, 0);
        if (done > 0) sent += (unsigned)done;
        // The veth or its other end had no room; the counter of the veth says what went through.
        else if (errno == ENOBUFS || errno == EAGAIN) refused++;
        else fail("sendmmsg");
        now = now_ns(CLOCK_MONOTONIC);
    }
    report(sent, refused, now - begin, now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    return 0;
}
