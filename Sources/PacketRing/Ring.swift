package import BPF
package import Linux

import CLinux
import Glibc

/// A TPACKET_V3 receive ring: memory the kernel fills with packets and this process reads in place.
///
/// The ring is a circle of blocks. A block's status word names its owner, the kernel or us, and the
/// kernel hands a block over when it is full or old enough. `next` lends that block out, and the
/// block goes back to the kernel when the caller lets it go. The compiler holds both sides to it:
/// while a block is out the ring lends no other, and no packet outlives its block.
///
///     while let block = ring.next() { forward(block) }
///
/// A ring belongs to one thread. Opening it needs `CAP_NET_RAW`, and takes some 15 ms, nearly all of
/// it waiting for the kernel: open many of them concurrently.
package struct Ring: ~Copyable, Sendable {
    private let socket: Descriptor
    private let memory: Mapping
    private let shape: Shape
    private let tellsOffload: Bool
    private var blockIndex = 0

    /// How long a packet may be in a block that is not full: three times the retirement time, since
    /// timers are late on a busy node.
    package static let retirementNanosecondsMax: UInt64 = 42_000_000

    private static let memoryOption = "PACKET_RX_RING"
    /// What the error names when the kernel has no memory for a ring.
    package static let memoryOperation = "setsockopt \(memoryOption)"
    private static let offloadOption = "PACKET_VNET_HDR"
    /// What the error names when the kernel does not tell what is left to a packet's device.
    package static let offloadOperation = "setsockopt \(offloadOption)"

    /// Opens a ring on an interface. A packet is shown to the youngest ring there first.
    ///
    /// What its packets' senders have left to the device comes with them, unless the ring is told to
    /// leave it out. The kernel does not report a packet whose segmentation `virtio_net_hdr` has no
    /// word for, as SCTP's: it counts that as dropped. A ring and its successor should agree on this:
    /// to whoever reads them they are one.
    package init(
        on interface: UInt32, _ program: Program, shape: Shape, tellsOffload: Bool = true
    ) throws(SystemError) {
        // Protocol 0 receives nothing. Packets start to arrive with `bind`, when the program and
        // the ring are in place, so not one gets in undecided (packet(7)).
        let socket = try Descriptor("socket AF_PACKET") {
            Glibc.socket(AF_PACKET, CInt(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), 0)
        }
        try socket.attach(program)
        try socket.set(
            PACKET_VERSION, of: SOL_PACKET, to: TPACKET_V3.rawValue, "PACKET_VERSION")
        // It moves the frames in the ring, so it has to come first. Kernels before 4.6 take it and
        // then refuse the ring (EINVAL).
        if tellsOffload {
            try socket.set(
                PACKET_VNET_HDR, of: SOL_PACKET, to: CInt(1), Self.offloadOption)
        }
        try socket.set(PACKET_RX_RING, of: SOL_PACKET, to: shape.request, Self.memoryOption)
        let memory = try Mapping(of: socket, byteCount: shape.byteCount)
        try socket.bind(to: interface)

        self.socket = socket
        self.memory = memory
        self.shape = shape
        self.tellsOffload = tellsOffload
    }

    /// A hold on the ring's socket that outlives this value.
    package func lease() throws(SystemError) -> RingLease { try RingLease(socket) }

    /// For an epoll set: readable when the kernel has handed over a block.
    package var fileDescriptor: CInt { socket.fileDescriptor }

    package static let blockByteCount = Int(Shape.blockByteCountMin)
    package var blockCount: Int { Int(shape.blockCount) }
    /// How much memory it has.
    package var byteCount: Int { shape.byteCount }

    /// The next block with packets in it, or nil if the kernel has not handed one over. Never waits.
    @_lifetime(&self)
    package mutating func next() -> Block? {
        let block = unsafe block(blockIndex)
        guard unsafe clinux_block_status(block) & UInt32(TP_STATUS_USER) != 0 else { return nil }
        blockIndex = (blockIndex + 1) % Int(shape.blockCount)
        // Safety: the block is ours until it is released, and `self` is borrowed for that long.
        return unsafe _overrideLifetime(
            Block(block, tellsOffload: tellsOffload), mutating: &self)
    }

    /// Whether so many blocks wait to be read that only half of the ring, or less, is left to be
    /// filled.
    package var isHalfFull: Bool {
        let index = (blockIndex + Int(shape.blockCount) / 2) % Int(shape.blockCount)
        return unsafe clinux_block_status(block(index)) & UInt32(TP_STATUS_USER) != 0
    }

    private func block(_ index: Int) -> UnsafeMutablePointer<tpacket_block_desc> {
        // Safety: `index` is below `blockCount`, so the block lies inside the mapping.
        unsafe (memory.base + index * Int(shape.blockByteCount))
            .assumingMemoryBound(to: tpacket_block_desc.self)
    }

    /// Gives the next block back unread. Answers how many packets were in it, or nil if the kernel has
    /// not handed one over.
    package mutating func skipBlock() -> Int? {
        guard let block = next() else { return nil }
        return block.packetCount
    }

    /// Puts another program in the place of the one that decides what gets in. No packet passes
    /// undecided, and none is lost.
    package func attach(_ program: Program) throws(SystemError) {
        try socket.attach(program)
    }

    /// The error that the socket reports once when its interface goes down or away (`ENETDOWN`).
    /// Until it is taken, every wait for the ring ends at once.
    package func takePendingError() throws(SystemError) -> CInt {
        try socket.takePendingError()
    }

    /// What the kernel has counted since the last time this was asked; asking resets its counters.
    package func takeStatistics() throws(SystemError) -> Statistics {
        let counts = try socket.get(
            PACKET_STATISTICS, of: SOL_PACKET, into: tpacket_stats_v3(), "PACKET_STATISTICS")
        return Statistics(
            received: counts.tp_packets, dropped: counts.tp_drops, freezes: counts.tp_freeze_q_cnt)
    }
}

extension Ring {
    package struct Statistics: Equatable, Sendable {
        /// Packets that passed the program, dropped ones among them.
        package let received: UInt32
        /// Packets lost because every block was ours.
        package let dropped: UInt32
        /// How often the kernel found every block ours and stopped filling.
        package let freezes: UInt32

        /// How many can be read.
        package var put: Int { Int(received) - Int(dropped) }

        package init(received: UInt32, dropped: UInt32, freezes: UInt32 = 0) {
            (self.received, self.dropped, self.freezes) = (received, dropped, freezes)
        }
    }

    /// How much memory a ring has, and how long a packet may wait in a block that does not fill.
    package struct Shape: Equatable, Sendable {
        package let blockByteCount: UInt32
        package let blockCount: UInt32
        package let retirementMilliseconds: UInt32

        /// A frame that is larger than its block is cut, and segmentation offload makes frames of
        /// 64 KiB, so a smaller block loses the end of ordinary traffic.
        package static let blockByteCountMin: UInt32 = 128 << 10
        /// One block is filled while another is read.
        package static let blockCountMin: UInt32 = 2

        /// As many blocks as a budget holds, at least two.
        ///
        /// A packet waits in a block for its retirement time once or twice. While nobody reads, each
        /// block is used up when its time is over, full or not: eight of them outlast a reader that a
        /// CPU limit keeps from running for 100 ms, and yet have packets sent within 30.
        package init(byteCountMax: Int, retirementMilliseconds: UInt32 = 14) {
            blockByteCount = Self.blockByteCountMin
            let count = UInt32(clamping: byteCountMax / Int(Self.blockByteCountMin))
            blockCount = max(count, Self.blockCountMin)
            self.retirementMilliseconds = retirementMilliseconds
        }

        package var byteCount: Int { Int(blockByteCount) * Int(blockCount) }

        fileprivate var request: tpacket_req3 {
            // V3 packs packets of any size into a block; the frame size only has to divide it.
            let frameByteCount: UInt32 = 2048
            return tpacket_req3(
                tp_block_size: blockByteCount, tp_block_nr: blockCount,
                tp_frame_size: frameByteCount,
                tp_frame_nr: blockByteCount / frameByteCount * blockCount,
                tp_retire_blk_tov: retirementMilliseconds,
                tp_sizeof_priv: 0, tp_feature_req_word: 0)
        }
    }
}
