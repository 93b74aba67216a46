package import BPF
import CLinux
import Glibc
package import Linux
import Time

/// A TPACKET_V3 receive ring: memory the kernel fills with packets and this process reads in place.
///
/// The ring is a circle of blocks. A block's status word names its owner, the kernel or us, and the
/// kernel hands a block over when it is full or old enough. `next` lends that block out, and the
/// block goes back to the kernel when the caller lets it go. The compiler holds both sides to it:
/// while a block is out the ring lends no other, and no packet outlives its block.
///
///     while let block = ring.next() { forward(block) }
///
/// A ring belongs to one thread. Opening it needs `CAP_NET_RAW`, and takes about 15 ms, nearly all
/// of it waiting for the kernel: open many of them concurrently.
package struct Ring: ~Copyable, Sendable {
    private let socket: Descriptor
    private let memory: Mapping
    /// The size of its memory, and how soon a block is handed over.
    package let shape: Shape
    private let tellsOffload: Bool
    private var blockIndex = 0

    /// The time after which no packet is under way any more that came under an earlier program.
    ///
    /// The kernel may be late on a busy node.
    package static let settlingTime = Duration.milliseconds(42)

    /// Opens a ring on an interface.
    ///
    /// The kernel shows a packet to the newest ring on the interface first.
    ///
    /// - Parameters:
    ///   - interface: The interface's index; 0 for all interfaces.
    ///   - program: Decides in the kernel which packets get in, and how much of them.
    ///   - shape: The size of the memory.
    ///   - tellsOffload: Whether the kernel says what packets' senders have left to the device. It
    ///     drops a packet, and counts it as dropped, if `virtio_net_hdr` cannot describe its
    ///     segmentation, as with SCTP. A ring and the one that replaces it should agree on this,
    ///     since their reader takes them for one.
    /// - Throws: The kernel's reason, by kind.
    package init(
        on interface: UInt32, _ program: Program, shape: Shape, tellsOffload: Bool = true
    ) throws(Failure) {
        let socket: Descriptor
        do throws(SystemError) {
            socket = try Descriptor("socket AF_PACKET") {
                Glibc.socket(AF_PACKET, CInt(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), 0)
            }
        } catch {
            throw .system(error)
        }
        try self.init(
            on: interface, program, shape: shape, tellsOffload: tellsOffload, socket: socket)
    }

    /// Opens a ring on an interface of the network namespace in which a packet socket was made.
    ///
    /// A ready socket takes no capability. See the other initializer for the rest.
    ///
    /// - Parameters:
    ///   - interface: The interface's index in that namespace.
    ///   - program: Decides in the kernel which packets get in.
    ///   - shape: The size of the memory.
    ///   - tellsOffload: Whether the kernel says what packets' senders have left to the device.
    ///   - socket: An `AF_PACKET` socket of protocol 0 that is not bound.
    /// - Throws: The kernel's reason, by kind.
    package init(
        on interface: UInt32, _ program: Program, shape: Shape, tellsOffload: Bool = true,
        socket: consuming Descriptor
    ) throws(Failure) {
        // Protocol 0 receives nothing. Packets start to arrive with `bind`, when the program and
        // the ring are in place, so none gets in undecided (packet(7)).
        try Self.attach(program, to: socket)
        try Self.configure(socket, shape, tellsOffload: tellsOffload)
        let memory: Mapping
        do throws(SystemError) {
            memory = try Mapping(of: socket, byteCount: shape.byteCount)
        } catch {
            throw .system(error)
        }
        try Self.bind(socket, to: interface)

        self.socket = socket
        self.memory = memory
        self.shape = shape
        self.tellsOffload = tellsOffload
    }

    /// The descriptor, for an epoll set: readable when the kernel has handed over a block.
    package var fileDescriptor: CInt { socket.fileDescriptor }

    /// The size of a block.
    package var blockByteCount: Int { Int(shape.blockByteCount) }
    /// The number of blocks.
    package var blockCount: Int { Int(shape.blockCount) }
    /// The size of the memory.
    package var byteCount: Int { shape.byteCount }

    /// The next block with packets, or nil if the kernel has not handed one over.
    ///
    /// Never waits.
    @_lifetime(&self)
    package mutating func next() -> Block? {
        let block = unsafe block(blockIndex)
        guard unsafe clinux_block_status(block) & UInt32(TP_STATUS_USER) != 0 else { return nil }
        blockIndex = (blockIndex + 1) % Int(shape.blockCount)
        // Safety: the block is ours until it is released, and `self` is borrowed for that long.
        return unsafe _overrideLifetime(
            Block(block, byteCount: blockByteCount, tellsOffload: tellsOffload), mutating: &self)
    }

    /// Whether as many blocks wait to be read.
    ///
    /// A ring that holds few is found out by the block that is read next, which is at hand.
    package func hasBlocks(_ count: Int) -> Bool { isReady(0) && isReady(count - 1) }

    private func isReady(_ distance: Int) -> Bool {
        let index = (blockIndex + distance) % blockCount
        return unsafe clinux_block_status(block(index)) & UInt32(TP_STATUS_USER) != 0
    }

    private func block(_ index: Int) -> UnsafeMutablePointer<tpacket_block_desc> {
        // Safety: `index` is below `blockCount`, so the block lies inside the mapping.
        unsafe (memory.base + index * Int(shape.blockByteCount))
            .assumingMemoryBound(to: tpacket_block_desc.self)
    }

    /// Gives the next block back unread.
    ///
    /// - Returns: The number of packets in it, or nil if the kernel has not handed one over.
    package mutating func skipBlock() -> Int? {
        guard let block = next() else { return nil }
        return block.packetCount
    }

    /// Replaces the program that decides what gets in.
    ///
    /// Every packet meets the old or the new one.
    package func attach(_ program: Program) throws(Failure) {
        try Self.attach(program, to: socket)
    }

    /// Takes the error that is pending since the interface went down or away (`ENETDOWN`), or nil.
    ///
    /// Until it is taken, every wait for the ring ends at once.
    package func takePendingError() throws(SystemError) -> Errno? {
        try socket.takePendingError()
    }

    /// Takes what the kernel has counted since the last time.
    package func takeStatistics() throws(SystemError) -> Statistics {
        let counts = try socket.get(
            PACKET_STATISTICS, of: SOL_PACKET, into: tpacket_stats_v3(), "PACKET_STATISTICS")
        return Statistics(
            received: counts.tp_packets, dropped: counts.tp_drops, freezes: counts.tp_freeze_q_cnt)
    }

    /// Makes a lease on the ring's socket, which may outlive the ring.
    package func lease() throws(Failure) -> RingLease {
        do throws(SystemError) { return try RingLease(socket) } catch { throw .system(error) }
    }
}

/// A hold on a ring's socket that delays its closing.
///
/// The kernel closes the socket, which takes it about 15 ms, when the ring and all its leases are
/// gone. A thread that must not wait closes the ring first, and leaves the lease to another one.
package struct RingLease: ~Copyable, Sendable {
    private let socket: Descriptor

    fileprivate init(_ socket: borrowing Descriptor) throws(SystemError) {
        let fileDescriptor = socket.fileDescriptor
        self.socket = try Descriptor("dup of a ring's socket") {
            clinux_dup_cloexec(fileDescriptor)
        }
    }
}

extension Ring {
    private static let memoryOption = "PACKET_RX_RING"
    private static let offloadOption = "PACKET_VNET_HDR"
    private static let bindOperation = "bind AF_PACKET"

    /// A failure to open a ring or to change its program.
    package enum Failure: Error, Hashable, CustomStringConvertible {
        /// The kernel has no memory for the ring.
        case noMemory
        /// The program exceeds what the kernel allows a socket (`net.core.optmem_max`).
        ///
        /// When a program is replaced, the old and the new one count together.
        case programTooLarge
        /// The interface does not exist any more.
        case interfaceGone(Errno)
        /// The interface is down.
        case interfaceDown
        /// The kernel cannot say what is left to a packet's device.
        case unsupportedOffload(Errno)
        /// Another system call failed.
        case system(SystemError)

        /// Whether the interface is gone or down, which a netlink event reports as well.
        package var isInterfaceAbsent: Bool {
            switch self {
            case .interfaceGone, .interfaceDown: true
            case .noMemory, .programTooLarge, .unsupportedOffload, .system: false
            }
        }

        /// The system call that failed.
        package var systemError: SystemError {
            switch self {
            case .noMemory: SystemError("setsockopt \(Ring.memoryOption)", .noMemory)
            case .programTooLarge: SystemError("setsockopt SO_ATTACH_FILTER", .noMemory)
            case .interfaceGone(let errno): SystemError(Ring.bindOperation, errno)
            case .interfaceDown: SystemError(Ring.bindOperation, .networkDown)
            case .unsupportedOffload(let errno):
                SystemError("setsockopt \(Ring.offloadOption)", errno)
            case .system(let error): error
            }
        }

        /// The system call and the kernel's reason.
        package var description: String { systemError.description }
    }

    private static func attach(
        _ program: Program, to socket: borrowing Descriptor
    ) throws(Failure) {
        do throws(SystemError) {
            try socket.attachFilter(
                program.instructions.map { step -> Descriptor.FilterInstruction in
                    (step.opcode.rawValue, step.ifTrue, step.ifFalse, step.operand)
                })
        } catch {
            let isTooLong = program.instructions.count > Program.kernelInstructionCountMax
            throw error.errno == .noMemory || isTooLong ? .programTooLarge : .system(error)
        }
    }

    private static func configure(
        _ socket: borrowing Descriptor, _ shape: Shape, tellsOffload: Bool
    ) throws(Failure) {
        do throws(SystemError) {
            try socket.set(
                PACKET_VERSION, of: SOL_PACKET, to: TPACKET_V3.rawValue, "PACKET_VERSION")
        } catch {
            throw .system(error)
        }
        if tellsOffload {
            // It moves the frames in the ring, so it has to come first. Kernels before 4.6 take it
            // and then refuse the ring (EINVAL).
            do throws(SystemError) {
                try socket.set(PACKET_VNET_HDR, of: SOL_PACKET, to: CInt(1), offloadOption)
            } catch {
                throw .unsupportedOffload(error.errno)
            }
        }
        do throws(SystemError) {
            try socket.set(PACKET_RX_RING, of: SOL_PACKET, to: shape.request, memoryOption)
        } catch {
            throw error.errno == .noMemory ? .noMemory : .system(error)
        }
    }

    /// Starts to receive every packet that the interface sends or receives.
    private static func bind(
        _ socket: borrowing Descriptor, to interface: UInt32
    ) throws(Failure) {
        var address = sockaddr_ll()
        address.sll_family = UInt16(AF_PACKET)
        address.sll_protocol = UInt16(ETH_P_ALL).bigEndian
        address.sll_ifindex = CInt(interface)
        // Safety: bind(2) reads `sockaddr_ll` by its family, within the length it is given.
        let result = unsafe withUnsafeBytes(of: address) { bytes in
            unsafe Glibc.bind(
                socket.fileDescriptor, bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self),
                socklen_t(bytes.count))
        }
        guard result != 0 else { return }
        switch Errno.current {
        case .networkDown: throw .interfaceDown
        case .noSuchDevice, .noSuchAddressOrDevice: throw .interfaceGone(.current)
        case let errno: throw .system(SystemError(bindOperation, errno))
        }
    }
}

extension Ring {
    /// What the kernel has counted for a ring.
    package struct Statistics: Equatable, Sendable {
        /// Packets that passed the program, with those dropped.
        package let received: UInt32
        /// Packets lost because every block was ours.
        package let dropped: UInt32
        /// The times that the kernel found every block ours and stopped filling.
        package let freezes: UInt32

        /// The number of packets that can be read.
        package var put: Int { Int(received) - Int(dropped) }

        /// Creates statistics from known numbers.
        package init(received: UInt32, dropped: UInt32, freezes: UInt32 = 0) {
            (self.received, self.dropped, self.freezes) = (received, dropped, freezes)
        }
    }

    /// The size of a ring, and the time that a packet may wait in a block that does not fill.
    package struct Shape: Equatable, Sendable {
        /// The size of a block.
        package let blockByteCount: UInt32
        /// The number of blocks.
        package let blockCount: UInt32
        /// The time after which the kernel hands over a block that is not full.
        package let retirementMilliseconds: UInt32

        /// The smallest block.
        ///
        /// A frame that is larger than its block is cut. Segmentation offload makes frames of 64 KiB,
        /// so a smaller block loses the end of ordinary traffic.
        package static let blockByteCountMin: UInt32 = 128 << 10
        /// The largest block: it holds the largest frame that a kernel makes.
        ///
        /// Its `GSO_MAX_SIZE` is eight times 65,535 bytes (`<linux/netdevice.h>`).
        package static let blockByteCountMax: UInt32 = 1 << 20
        /// The part of a block that no frame can use.
        ///
        /// The kernel's headers of the block and of the packet take 140 bytes. The rest is for the
        /// link-layer header and for tags, which some of the kernel's limits do not count.
        private static let overheadByteCount = 256
        /// The size of a block in a large ring.
        ///
        /// A reader's turn for each block costs more than the packets in it where these are large: a
        /// block of 128 KiB holds two GSO packets. Twice as much costs more again, since it is half of
        /// a processor's second cache or more. Smaller rings keep small blocks, so that there are
        /// enough of them for the reader to notice in time how fast they fill.
        private static let largeBlockByteCount: UInt32 = 512 << 10
        /// The size from which a ring is large.
        package static let largeByteCount = 16 << 20
        /// The fewest blocks: one is filled while another is read.
        package static let blockCountMin: UInt32 = 2

        /// As many blocks as a budget holds, at least two, each of which holds the largest frame.
        ///
        /// In a large ring blocks are larger.
        ///
        /// The size of a block is a power of two, since the kernel's memory is (`alloc_one_pg_vec_page`
        /// in its af_packet.c).
        ///
        /// A packet waits in a block for the retirement time once or twice. While nobody reads, each
        /// block is used up when its time is over, full or not. Eight blocks outlast a reader that a
        /// CPU limit stops for 150 ms, and packets are still sent within 50 ms.
        ///
        /// - Parameters:
        ///   - byteCountMax: The most bytes of the ring, unless two blocks are more.
        ///   - frameByteCountMax: The largest frame, up to what the largest block holds.
        ///   - hasManyBlocks: Whether blocks are as small as they can be in a large ring, too, since it
        ///     must not be full for a long time in which little comes and nobody reads.
        ///   - retirementMilliseconds: The time after which a block is handed over.
        package init(
            byteCountMax: Int, frameByteCountMax: Int = 0, hasManyBlocks: Bool = false,
            retirementMilliseconds: UInt32 = Self.retirementMilliseconds
        ) {
            let needed = Self.blockByteCount(for: frameByteCountMax)
            blockByteCount =
                byteCountMax < Self.largeByteCount || hasManyBlocks
                ? needed : max(needed, Self.largeBlockByteCount)
            let count = UInt32(clamping: byteCountMax / Int(blockByteCount))
            blockCount = max(count, Self.blockCountMin)
            self.retirementMilliseconds = retirementMilliseconds
        }

        /// Returns the size of the smallest block that holds a frame, or of the largest block.
        private static func blockByteCount(for frameByteCount: Int) -> UInt32 {
            var byteCount = blockByteCountMin
            while byteCount < blockByteCountMax,
                Int(byteCount) - overheadByteCount < frameByteCount
            {
                byteCount *= 2
            }
            return byteCount
        }

        /// The usual time after which the kernel hands over a block that is not full.
        package static let retirementMilliseconds: UInt32 = 20

        private init(_ other: Shape, retirementMilliseconds: UInt32) {
            (blockByteCount, blockCount) = (other.blockByteCount, other.blockCount)
            self.retirementMilliseconds = retirementMilliseconds
        }

        /// The same ring with another time after which a block is handed over.
        package func retiring(afterMilliseconds milliseconds: UInt32) -> Shape {
            Shape(self, retirementMilliseconds: milliseconds)
        }

        /// The longest time that a packet stays in a block that is not full.
        package var retirementMax: Duration {
            Self.retirementMax(afterMilliseconds: retirementMilliseconds)
        }

        /// The same of a ring with a retirement time.
        ///
        /// It is three times that time, since timers are late on a busy node.
        package static func retirementMax(afterMilliseconds milliseconds: UInt32) -> Duration {
            .milliseconds(3 * Int(milliseconds))
        }

        /// Whether blocks are as large as in a large ring.
        package var hasLargeBlocks: Bool { blockByteCount >= Self.largeBlockByteCount }

        /// Whether each block holds a frame of a size, or no block could.
        package func holds(frameOf byteCount: Int) -> Bool {
            blockByteCount >= Self.blockByteCount(for: byteCount)
        }

        /// The size of the ring.
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
