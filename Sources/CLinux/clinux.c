#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <linux/bpf.h>
#include <linux/errqueue.h>
#include <linux/if_tun.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/timex.h>
#include <sys/vfs.h>
#include "clinux.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(struct tpacket_block_desc) == 48, "PacketRing reads packets from this offset");
_Static_assert(sizeof(struct tpacket3_hdr) == 48, "PacketRing loads this header whole");
_Static_assert(__builtin_offsetof(struct tpacket3_hdr, tp_next_offset) == 0
                   && __builtin_offsetof(struct tpacket3_hdr, tp_sec) == 4
                   && __builtin_offsetof(struct tpacket3_hdr, tp_nsec) == 8
                   && __builtin_offsetof(struct tpacket3_hdr, tp_snaplen) == 12
                   && __builtin_offsetof(struct tpacket3_hdr, tp_len) == 16
                   && __builtin_offsetof(struct tpacket3_hdr, tp_status) == 20
                   && __builtin_offsetof(struct tpacket3_hdr, tp_mac) == 24,
               "PacketRing reads a packet's numbers at these offsets");
_Static_assert(TPACKET_ALIGN(sizeof(struct tpacket3_hdr)) == 48
                   && sizeof(struct sockaddr_ll) == 20
                   && __builtin_offsetof(struct sockaddr_ll, sll_ifindex) == 4
                   && __builtin_offsetof(struct sockaddr_ll, sll_pkttype) == 10,
               "PacketRing reads the interface from 48 on, and the offload behind it");
_Static_assert(sizeof(struct virtio_net_hdr) == 10
                   && __builtin_offsetof(struct virtio_net_hdr, flags) == 0
                   && __builtin_offsetof(struct virtio_net_hdr, gso_type) == 1
                   && __builtin_offsetof(struct virtio_net_hdr, csum_start) == 6
                   && __builtin_offsetof(struct virtio_net_hdr, csum_offset) == 8,
               "PacketRing and Packets read the offload at these offsets");

int clinux_unshare_network(void)
{
    return unshare(CLONE_NEWNET);
}

int clinux_enter_network(int fd)
{
    return setns(fd, CLONE_NEWNET);
}

int clinux_namespace_type(int fd)
{
    return ioctl(fd, NS_GET_NSTYPE);
}

int clinux_is_of_nsfs(int fd)
{
    struct statfs system;

    if (fstatfs(fd, &system) != 0)
        return -1;
    return system.f_type == NSFS_MAGIC;
}

ssize_t clinux_send_with_descriptors(int fd, const void *bytes, size_t byte_count, const int *passed,
                                     uint32_t passed_count)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int) * CLINUX_PASSED_COUNT_MAX)];
    } control = {0};
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = byte_count};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (passed_count > CLINUX_PASSED_COUNT_MAX) {
        errno = EINVAL;
        return -1;
    }
    if (passed_count > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * passed_count);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int) * passed_count);
        memcpy(CMSG_DATA(&control.header), passed, sizeof(int) * passed_count);
    }
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

ssize_t clinux_receive_with_descriptors(int fd, void *bytes, size_t byte_count, int *passed,
                                        uint32_t *passed_count, int *is_cut)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int) * CLINUX_PASSED_COUNT_MAX)];
    } control;
    struct iovec part = {.iov_base = bytes, .iov_len = byte_count};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof control,
    };
    ssize_t count = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    *passed_count = 0;
    *is_cut = 0;
    if (count < 0)
        return count;
    *is_cut = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        uint32_t more = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        /* The control buffer has no room for more than the limit. */
        memcpy(passed + *passed_count, CMSG_DATA(part), more * sizeof(int));
        *passed_count += more;
    }
    return count;
}

int64_t clinux_peer_user(int fd)
{
    struct ucred peer;
    socklen_t byte_count = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &byte_count) != 0)
        return -1;
    return peer.uid;
}

int clinux_accept_nonblocking(int fd, struct sockaddr *address, socklen_t *byte_count)
{
    return accept4(fd, address, byte_count, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

int clinux_set_thread_name(const char *name)
{
    return pthread_setname_np(pthread_self(), name);
}

int clinux_set_affinity(const unsigned long *words, size_t byte_count)
{
    return sched_setaffinity(0, byte_count, (const cpu_set_t *)words);
}

int clinux_affinity(unsigned long *words, size_t byte_count)
{
    return sched_getaffinity(0, byte_count, (cpu_set_t *)words);
}

int clinux_set_niceness(int niceness)
{
    return setpriority(PRIO_PROCESS, 0, niceness);
}

int clinux_niceness(void)
{
    return getpriority(PRIO_PROCESS, 0);
}

int64_t clinux_effective_capabilities(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, data) != 0)
        return -1;
    return (int64_t)data[0].effective | (int64_t)data[1].effective << 32;
}

int clinux_keep_capabilities(uint64_t mask)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    int count = 0;

    if (syscall(SYS_capget, &header, data) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    /* An older kernel knows fewer capabilities and no ambient ones, and a process without CAP_SETPCAP may
       not change the bounding set: with the line above that set lets nothing in any more. */
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (int capability = 0; capability <= CAP_LAST_CAP; capability++)
        if (!(mask >> capability & 1))
            prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    for (int word = 0; word < _LINUX_CAPABILITY_U32S_3; word++) {
        uint32_t kept = (uint32_t)(mask >> (32 * word));
        count += __builtin_popcount(data[word].permitted & ~kept);
        data[word].permitted &= kept;
        data[word].effective &= kept;
        data[word].inheritable = 0;
    }
    return syscall(SYS_capset, &header, data) == 0 ? count : -1;
}

int clinux_dup_cloexec(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

int clinux_raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return -1;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit);
}

int64_t clinux_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max == RLIM_INFINITY)
        return -1;
    return limit.rlim_max;
}

int64_t clinux_clock_error(void)
{
    struct timex clock = {.modes = 0};
    int state = adjtimex(&clock);

    return state < 0 || state == TIME_ERROR || clock.status & STA_UNSYNC ? -1 : clock.maxerror;
}

ssize_t clinux_receive_from_namespace(int fd, void *buffer, size_t byte_count, int32_t *nsid)
{
    char control[CMSG_SPACE(sizeof(int32_t)) * 4];
    struct iovec part = {.iov_base = buffer, .iov_len = byte_count};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    ssize_t count = recvmsg(fd, &message, MSG_DONTWAIT);

    *nsid = -1;
    if (count < 0)
        return count;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part))
        if (part->cmsg_level == SOL_NETLINK && part->cmsg_type == NETLINK_LISTEN_ALL_NSID)
            memcpy(nsid, CMSG_DATA(part), sizeof *nsid);
    return count;
}

int clinux_send_datagrams(int fd, const void *memory, const struct clinux_datagram *datagrams,
                          uint32_t count)
{
    struct mmsghdr messages[CLINUX_DATAGRAM_COUNT_MAX];
    struct iovec parts[CLINUX_DATAGRAM_COUNT_MAX];

    if (count > CLINUX_DATAGRAM_COUNT_MAX)
        count = CLINUX_DATAGRAM_COUNT_MAX;
    for (uint32_t index = 0; index < count; index++) {
        parts[index] = (struct iovec){
            .iov_base = (char *)memory + datagrams[index].offset,
            .iov_len = datagrams[index].byte_count,
        };
        messages[index] = (struct mmsghdr){
            .msg_hdr = {.msg_iov = &parts[index], .msg_iovlen = 1},
        };
    }
    return sendmmsg(fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Room for the headers beside it in an IP packet of 65,535 bytes. */
#define RUN_BYTE_COUNT_MAX 65000u

/* The number of datagrams from the first on that can be handed over as one. */
static uint32_t run_length(const struct clinux_datagram *datagrams, uint32_t count,
                           uint32_t joined_byte_count_max)
{
    uint32_t each = datagrams[0].byte_count;
    uint32_t total = each;
    uint32_t index = 1;

    if (each > joined_byte_count_max)
        return 1;
    while (index < count && datagrams[index].byte_count <= each &&
           total + datagrams[index].byte_count <= RUN_BYTE_COUNT_MAX) {
        total += datagrams[index].byte_count;
        if (datagrams[index++].byte_count < each)
            break;
    }
    return index;
}

int clinux_send_joined_datagrams(int fd, const void *memory, const struct clinux_datagram *datagrams,
                                 uint32_t count, uint32_t joined_byte_count_max)
{
    struct mmsghdr messages[CLINUX_DATAGRAM_COUNT_MAX];
    struct iovec parts[CLINUX_DATAGRAM_COUNT_MAX];
    uint32_t ends[CLINUX_DATAGRAM_COUNT_MAX];
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
    } controls[CLINUX_DATAGRAM_COUNT_MAX];
    uint32_t message_count = 0;
    uint32_t index = 0;
    int sent_count;

    if (count > CLINUX_DATAGRAM_COUNT_MAX)
        count = CLINUX_DATAGRAM_COUNT_MAX;
    while (index < count) {
        uint32_t length = run_length(datagrams + index, count - index, joined_byte_count_max);
        struct msghdr *header = &messages[message_count].msg_hdr;

        memset(header, 0, sizeof *header);
        header->msg_iov = parts + index;
        header->msg_iovlen = length;
        if (length > 1) {
            struct cmsghdr *control = &controls[message_count].header;
            uint16_t each = datagrams[index].byte_count;

            header->msg_control = control;
            header->msg_controllen = sizeof controls[message_count];
            memset(control, 0, sizeof controls[message_count]);
            control->cmsg_level = IPPROTO_UDP;
            control->cmsg_type = UDP_SEGMENT;
            control->cmsg_len = CMSG_LEN(sizeof each);
            memcpy(CMSG_DATA(control), &each, sizeof each);
        }
        for (uint32_t end = index + length; index < end; index++)
            parts[index] = (struct iovec){
                .iov_base = (char *)memory + datagrams[index].offset,
                .iov_len = datagrams[index].byte_count,
            };
        ends[message_count++] = index;
    }
    sent_count = sendmmsg(fd, messages, message_count, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent_count > 0 ? (int)ends[sent_count - 1] : sent_count;
}

int clinux_take_network_error(int fd)
{
    /* Many more than a socket's buffer has room for. */
    enum { COUNT_MAX = 64 };
    _Alignas(struct cmsghdr) char control[512];
    int found = 0;

    for (int count = 0; count < COUNT_MAX; count++) {
        struct msghdr message = {.msg_control = control, .msg_controllen = sizeof(control)};

        if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            break;
        for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
            struct sock_extended_err error;

            if (!(part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_RECVERR)
                && !(part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_RECVERR))
                continue;
            memcpy(&error, CMSG_DATA(part), sizeof(error));
            if (error.ee_origin == SO_EE_ORIGIN_ICMP || error.ee_origin == SO_EE_ORIGIN_ICMP6)
                found = (int)error.ee_errno;
        }
    }
    return found;
}

int clinux_open_tap(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL};
    int fd, error;

    if (strlen(name) >= sizeof(request.ifr_name)) {
        errno = EINVAL;
        return -1;
    }
    strcpy(request.ifr_name, name);
    fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && ioctl(fd, TUNSETIFF, &request) != 0) {
        error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

int clinux_raise_silent_link(const char *name, int mtu)
{
    struct ifreq request = {.ifr_mtu = mtu};
    int fd, result, error;

    if (strlen(name) >= sizeof(request.ifr_name)) {
        errno = EINVAL;
        return -1;
    }
    strcpy(request.ifr_name, name);
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    result = ioctl(fd, SIOCSIFMTU, &request);
    if (result == 0)
        result = ioctl(fd, SIOCGIFFLAGS, &request);
    if (result == 0) {
        request.ifr_flags = (request.ifr_flags | IFF_NOARP | IFF_UP) & ~IFF_MULTICAST;
        result = ioctl(fd, SIOCSIFFLAGS, &request);
    }
    error = errno;
    close(fd);
    errno = error;
    return result;
}

int clinux_map_again(void *memory, size_t byte_count, void *address)
{
    void *copy = mremap(memory, 0, byte_count, MREMAP_MAYMOVE | MREMAP_FIXED, address);

    return copy == MAP_FAILED ? -1 : 0;
}

_Static_assert(BPF_MAP_TYPE_HASH == CLINUX_MAP_HASH && BPF_MAP_TYPE_LRU_HASH == CLINUX_MAP_LRU_HASH,
               "a map's type is compared with these");

static int call_bpf(int command, union bpf_attr *attributes)
{
    return syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

int clinux_open_pinned_map(const char *path)
{
    union bpf_attr attributes;

    memset(&attributes, 0, sizeof attributes);
    attributes.pathname = (uintptr_t)path;
    attributes.file_flags = BPF_F_RDONLY;
    return call_bpf(BPF_OBJ_GET, &attributes);
}

int clinux_shape_of_map(int fd, struct clinux_map_shape *shape)
{
    struct bpf_map_info info;
    union bpf_attr attributes;

    memset(&info, 0, sizeof info);
    memset(&attributes, 0, sizeof attributes);
    attributes.info.bpf_fd = fd;
    attributes.info.info_len = sizeof info;
    attributes.info.info = (uintptr_t)&info;
    if (call_bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes) != 0)
        return -1;
    *shape = (struct clinux_map_shape){info.type, info.key_size, info.value_size};
    return 0;
}

int clinux_map_look_up(int fd, const void *key, void *value)
{
    union bpf_attr attributes;

    memset(&attributes, 0, sizeof attributes);
    attributes.map_fd = fd;
    attributes.key = (uintptr_t)key;
    attributes.value = (uintptr_t)value;
    return call_bpf(BPF_MAP_LOOKUP_ELEM, &attributes);
}
