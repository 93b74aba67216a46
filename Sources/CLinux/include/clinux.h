#ifndef CLINUX_H
#define CLINUX_H

/*
 * The part of the kernel's interface that Glibc's Swift module leaves out.
 *
 * Structures and plain constants come from the headers below. The functions stand in for what the
 * Swift importer cannot take: macros that compute, atomic access to a union member, variadic
 * functions, and calls that are declared only under _GNU_SOURCE.
 */

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sched.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

/* The owner of a block, as bits of TP_STATUS_*. Acquires what the kernel wrote before it. */
static inline uint32_t clinux_block_status(const struct tpacket_block_desc *block)
{
    return __atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE);
}

/* Gives a block back to the kernel, after every read from it. */
static inline void clinux_block_release(struct tpacket_block_desc *block)
{
    __atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
}

/*
 * Prefetches three cache lines for reading, at a distance behind an address. Memory that is not mapped
 * is not fetched, without an error.
 */
static inline void clinux_prefetch(const void *address, uintptr_t distance)
{
    uintptr_t start = (uintptr_t)address + distance;
    __builtin_prefetch((const void *)start);
    __builtin_prefetch((const void *)(start + 64));
    __builtin_prefetch((const void *)(start + 128));
}

/* Has the CPU fetch a range into its cache, three lines after the other. */
static inline void clinux_prefetch_range(const void *address, uintptr_t byte_count)
{
    for (uintptr_t offset = 0; offset < byte_count; offset += 192) clinux_prefetch(address, offset);
}

/* Gives the calling thread a network namespace of its own (unshare(2)). */
int clinux_unshare_network(void);

/* Moves the calling thread into a network namespace, which a descriptor of its file names (setns(2)). */
int clinux_enter_network(int fd);

/*
 * The type of the namespace that a descriptor stands for, as one of CLONE_NEW* (NS_GET_NSTYPE of
 * ioctl_ns(2), Linux 4.11). Returns -1 and errno if it stands for none.
 */
int clinux_namespace_type(int fd);

/* Whether a descriptor is of nsfs, the file system of namespaces. Returns 0 or 1, or -1 and errno. */
int clinux_is_of_nsfs(int fd);

/* The most descriptors of a message; the kernel closes what is beyond. */
#define CLINUX_PASSED_COUNT_MAX 4

/*
 * Sends a message and duplicates of descriptors with it (SCM_RIGHTS of unix(7)), without waiting. Returns
 * the number of bytes, or -1 and errno.
 */
ssize_t clinux_send_with_descriptors(int fd, const void *bytes, size_t byte_count, const int *passed,
                                     uint32_t passed_count);

/*
 * Receives a message without waiting, and the descriptors that came with it, which the caller owns from
 * then on. `is_cut` tells whether bytes or descriptors were left out. Returns the number of bytes, or -1
 * and errno.
 */
ssize_t clinux_receive_with_descriptors(int fd, void *bytes, size_t byte_count, int *passed,
                                        uint32_t *passed_count, int *is_cut);

/* The user id of the process that connected a UNIX socket (SO_PEERCRED of unix(7)), or -1 and errno. */
int64_t clinux_peer_user(int fd);

int clinux_accept_nonblocking(int fd, struct sockaddr *address, socklen_t *byte_count);
int clinux_dup_cloexec(int fd);

/*
 * Receives a netlink message without waiting, and the id of the namespace that it is from, which is -1
 * for this one (NETLINK_LISTEN_ALL_NSID). Returns the length, or -1 and errno.
 */
ssize_t clinux_receive_from_namespace(int fd, void *buffer, size_t byte_count, int32_t *nsid);

/* A datagram in memory that several share. */
struct clinux_datagram {
    uint32_t offset;
    uint32_t byte_count;
};

/* The most datagrams of one call. */
#define CLINUX_DATAGRAM_COUNT_MAX 64

/*
 * Sends datagrams in order from a connected socket without waiting (sendmmsg(2)). Returns the number
 * that the kernel took, or -1 and errno if it did not take the first.
 */
int clinux_send_datagrams(int fd, const void *memory, const struct clinux_datagram *datagrams,
                          uint32_t count);

/*
 * Does the same, and hands over runs of datagrams of one length as one that the kernel is to cut (UDP_SEGMENT
 * of udp(7), Linux 4.18); the last of a run may be shorter. A run's datagrams have at most
 * `joined_byte_count_max` bytes each. Returns the number of datagrams that the kernel took.
 */
int clinux_send_joined_datagrams(int fd, const void *memory, const struct clinux_datagram *datagrams,
                                 uint32_t count, uint32_t joined_byte_count_max);

/*
 * Empties a socket's queue of errors (IP_RECVERR of ip(7)). Returns the last one that the network has
 * reported, as a number of errno, or 0 if there was none.
 */
int clinux_take_network_error(int fd);

/*
 * Makes a TAP device, which is there as long as the descriptor, without waiting when it is written to
 * (tun in the kernel's documentation). Returns the descriptor, or -1 and errno, which is EBUSY if there is
 * an interface of that name.
 */
int clinux_open_tap(const char *name);

/*
 * Sets an interface's MTU, switches ARP and multicast off and the interface on (netdevice(7)). Returns 0,
 * or -1 and errno.
 */
int clinux_raise_silent_link(const char *name, int mtu);

/*
 * Maps shared memory a second time, at an address that is already reserved, as mremap(2) does for an old
 * size of 0. Returns 0, or -1 and errno.
 */
int clinux_map_again(void *memory, size_t byte_count, void *address);

/* Raises the limit of open descriptors to the hard limit (setrlimit(2)). Returns 0, or -1 and errno. */
int clinux_raise_descriptor_limit(void);

/* The hard limit of open descriptors, or -1 if there is none. */
int64_t clinux_descriptor_limit(void);

/*
 * The largest error of the clock in microseconds, as the time service has told the kernel, or -1 if
 * there is none (adjtimex(2)).
 */
int64_t clinux_clock_error(void);

int clinux_set_thread_name(const char *name);

/*
 * The processors that the calling thread may run on, as a bit mask of as many words as the kernel wants
 * (sched_setaffinity(2)). Returns 0, or -1 and errno.
 */
int clinux_set_affinity(const unsigned long *words, size_t byte_count);
int clinux_affinity(unsigned long *words, size_t byte_count);

/*
 * Sets the niceness of the calling thread alone, where POSIX has that of the process (setpriority(2)).
 * Returns 0, or -1 and errno.
 */
int clinux_set_niceness(int niceness);
/* Cannot fail for the calling thread; -1 is a niceness. */
int clinux_niceness(void);

/* The shape of a map in the kernel (BPF_OBJ_GET_INFO_BY_FD). */
struct clinux_map_shape {
    uint32_t type;
    uint32_t key_byte_count;
    uint32_t value_byte_count;
};

#define CLINUX_MAP_HASH 1
#define CLINUX_MAP_LRU_HASH 9

/*
 * Opens a map by its pin to be read (bpf(2): BPF_OBJ_GET with BPF_F_RDONLY), asks for its shape, and looks a
 * key up in it (BPF_MAP_LOOKUP_ELEM), with as many bytes of key and value as the shape says. Each returns a
 * descriptor or 0, or -1 and errno, which is ENOENT if the map lacks the key.
 */
int clinux_open_pinned_map(const char *path);
int clinux_shape_of_map(int fd, struct clinux_map_shape *shape);
int clinux_map_look_up(int fd, const void *key, void *value);

/* The effective capabilities of the process as a bit mask (capget(2)), or -1 and errno. */
int64_t clinux_effective_capabilities(void);

/*
 * Takes from the calling thread all capabilities but those of a bit mask: from all its sets (capset(2)),
 * and from the bounding set if that is allowed; and has execve(2) give it nothing new. Returns how many
 * it had that it has no more, or -1 and errno.
 */
int clinux_keep_capabilities(uint64_t mask);

#endif
