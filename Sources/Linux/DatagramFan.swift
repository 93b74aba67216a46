import CLinux
import Glibc

/// UDP sockets that send to one peer from different ports, each for a part of all flows.
///
/// A receiver spreads datagrams by their source port, which a UDP socket has only one of. A datagram
/// that cannot be sent is no reason to stop, so sending tells what happened and throws nothing. What
/// the peer sends is not read, and the kernel drops it.
package struct DatagramFan: ~Copyable {
    /// The address that the datagrams go to.
    package let peer: SocketAddress
    private let sockets: [FanSocket]
    private var batch: FanBatch
    /// Whether the kernel may be given several datagrams of one length as one, which it cuts.
    ///
    /// Joining takes less time. A packet socket on the way inside this machine, also one in a
    /// container, would see such datagrams uncut.
    package var mayJoin = false
    /// The longest datagrams that are joined: the kernel cuts nothing that has to become fragments.
    private var joinedByteCountMax: Int

    /// The most sockets, and so the most ports.
    ///
    /// Receivers have fewer processes than this on a node, and each socket is worth a system call for
    /// a batch.
    package static let countMax = 64

    /// Room for a burst at one port; the kernel doubles it.
    private static let bufferByteCount: CInt = 1 << 20

    /// Room for some errors that the network reports; the kernel doubles it.
    private static let receiveBufferByteCount: CInt = 16 << 10

    /// What happened to some datagrams.
    package enum Event: Equatable, Sendable {
        /// The kernel took this many datagrams with this many bytes.
        case sent(count: Int, byteCount: Int)
        /// The network reports an error of a datagram that was sent before.
        case reported(Errno)
        /// A datagram could not be sent, and is dropped.
        case dropped(Errno, byteCount: Int)
        /// A socket takes no more for now, and this many datagrams wait for it.
        case blocked(count: Int, fileDescriptor: CInt)
    }

    /// Opens the sockets, which send nothing: the peer need not be there.
    ///
    /// - Parameters:
    ///   - peer: The address to send to.
    ///   - ports: The local ports, which are cut into as many equal parts as there are sockets. A
    ///     socket takes the first port of its part that is free.
    ///   - count: The number of sockets: 1 to `countMax`, and at most one for each port.
    /// - Throws: If there is no route to the peer, or no free port in a part.
    package init(
        to peer: SocketAddress, from ports: ClosedRange<UInt16>, count: Int = countMax
    ) throws(SystemError) {
        precondition((1...min(Self.countMax, ports.count)).contains(count))
        var sockets: [FanSocket] = []
        let partCount = ports.count / count
        for index in 0..<count {
            let first = ports.lowerBound + UInt16(index * partCount)
            sockets.append(
                try FanSocket(
                    to: peer, from: first...(first + UInt16(partCount - 1)),
                    sendByteCount: Self.bufferByteCount,
                    receiveByteCount: Self.receiveBufferByteCount))
        }
        joinedByteCountMax = try sockets[0].descriptor.routePayloadByteCountMax(peer.domain)
        self.peer = peer
        self.sockets = sockets
        batch = FanBatch(listCount: count)
    }

    /// The number of sockets.
    package var count: Int { sockets.count }

    /// The local ports of the sockets, in order.
    package var ports: [UInt16] { sockets.map(\.port) }

    /// The sockets' descriptors, in order, for a poll set.
    package var fileDescriptors: [CInt] { sockets.map(\.fileDescriptor) }

    /// The address that the first socket is bound to; the others have the same at other ports.
    package func local() throws(SystemError) -> SocketAddress {
        try sockets[0].descriptor.localAddress()
    }

    /// Takes the errors that the network has reported to a socket.
    ///
    /// - Parameter fileDescriptor: The socket.
    /// - Returns: The errors; none if there are none, or no such socket.
    package func takeErrors(of fileDescriptor: CInt) -> [Errno] {
        guard let socket = sockets.first(where: { $0.fileDescriptor == fileDescriptor }) else {
            return []
        }
        return socket.descriptor.takeErrors()
    }

    /// The longest payload that the route carries unfragmented, as far as the kernel knows by now.
    package func routePayloadByteCountMax() throws(SystemError) -> Int {
        try sockets[0].descriptor.routePayloadByteCountMax(peer.domain)
    }

    /// The longest payload that UDP has for this peer: an IP packet is no longer than 65,535 bytes.
    package var payloadByteCountMax: Int {
        (peer.domain == AF_INET ? 65_535 - 20 : 65_535) - 8
    }

    /// The number of datagrams that wait.
    package var waitingCount: Int { batch.waitingCount }

    /// Whether a datagram of this length can be appended.
    ///
    /// If not, what waits has to be sent or dropped.
    package func hasRoom(for byteCount: Int) -> Bool { batch.hasRoom(for: byteCount) }

    /// The free memory, into which the next datagram is written before `append`.
    package var room: MutableRawSpan {
        @_lifetime(&self)
        mutating get { batch.room }
    }

    /// Appends the first bytes of `room` as a datagram, for which there must be room.
    ///
    /// - Parameters:
    ///   - byteCount: The datagram's length.
    ///   - index: The socket that sends it.
    package mutating func append(byteCount: Int, from index: Int) {
        batch.append(byteCount: byteCount, to: index)
    }

    /// Drops what waits.
    ///
    /// - Returns: The number of datagrams.
    package mutating func dropWaiting() -> Int {
        defer { batch.removeAll() }
        return batch.waitingCount
    }

    /// The number of tries for a datagram whose failure may be an earlier one's.
    ///
    /// The kernel holds one such error for each socket, so the second try tells.
    private static let tryCountMax = 2
    /// The number of tries after "connection refused", which is never this datagram's fault.
    ///
    /// If a port nearby is closed, the answer to an earlier datagram may come between any two tries.
    private static let refusedTryCountMax = 8

    /// Sends what waits, at each socket as much as the kernel takes, and never waits.
    ///
    /// What is left afterwards waits at a socket that takes no more for now.
    ///
    /// - Parameter note: Called with each thing that happens.
    package mutating func send(_ note: (Event) -> Void) {
        for index in sockets.indices where batch.hasWaiting(index) { send(index, note) }
        if batch.waitingCount == 0 { batch.removeAll() }
    }

    private mutating func send(_ index: Int, _ note: (Event) -> Void) {
        var tryCount = 0
        while batch.hasWaiting(index) {
            let (count, wantedCount) = batch.send(
                index, to: sockets[index].fileDescriptor,
                joinedByteCountMax: mayJoin ? joinedByteCountMax : 0)
            if count >= 0 {
                let byteCount = batch.removeFirst(count, of: index)
                tryCount = 0
                note(.sent(count: count, byteCount: byteCount))
                // What ended the call is not returned by sendmmsg(2), if that has sent some.
                if count < wantedCount, let errno = sockets[index].takeNetworkError() {
                    note(.reported(errno))
                }
                continue
            }
            let errno = Errno.current
            if errno == .interrupted { continue }
            if errno == .wouldBlock {
                return note(
                    .blocked(
                        count: batch.waitingCount(index),
                        fileDescriptor: sockets[index].fileDescriptor))
            }
            _ = sockets[index].takeNetworkError()
            if Self.isOfJoining(errno), endJoining() { continue }
            tryCount += 1
            if tryCount < Self.tryCountMax(errno) {
                note(.reported(errno))
            } else {
                let byteCount = batch.removeFirst(1, of: index)
                tryCount = 0
                note(.dropped(errno, byteCount: byteCount))
            }
        }
    }

    /// Whether the kernel, or a device, may have refused to cut datagrams.
    private static func isOfJoining(_ errno: Errno) -> Bool {
        [.invalidArgument, .inputOutput, .messageTooLong, .protocolOptionNotSupported]
            .contains(errno)
    }

    /// Joins shorter datagrams from now on, if the route has become shorter, or none at all.
    ///
    /// - Returns: Whether that changes anything.
    private mutating func endJoining() -> Bool {
        guard mayJoin else { return false }
        let route = (try? routePayloadByteCountMax()) ?? 0
        if route < joinedByteCountMax { joinedByteCountMax = route } else { mayJoin = false }
        return true
    }

    private static func tryCountMax(_ errno: Errno) -> Int {
        switch errno {
        // The kernel's own words about this datagram.
        case .noBufferSpace, .messageTooLong, .noMemory, .notPermitted, .invalidArgument: 1
        case .connectionRefused: refusedTryCountMax
        default: tryCountMax
        }
    }
}

/// A socket of a fan.
private final class FanSocket {
    let descriptor: Descriptor
    let port: UInt16

    init(
        to peer: SocketAddress, from ports: ClosedRange<UInt16>, sendByteCount: CInt,
        receiveByteCount: CInt
    ) throws(SystemError) {
        let descriptor = try Descriptor.datagrams(peer.domain)
        try descriptor.set(.allowed, peer.domain)
        try descriptor.setSendBuffer(byteCount: sendByteCount)
        try descriptor.set(SO_RCVBUF, of: SOL_SOCKET, to: receiveByteCount, "SO_RCVBUF")
        // Nothing that the peer sends is read, so the kernel is to drop it.
        let dropAll: Descriptor.FilterInstruction = (code: 0x06, ifTrue: 0, ifFalse: 0, operand: 0)
        try descriptor.attachFilter([dropAll])
        // Without this the kernel says nothing of a datagram that a full queue of the device drops,
        // nor that a host or network cannot be reached (ip(7)).
        if peer.domain == AF_INET {
            try descriptor.set(IP_RECVERR, of: CInt(IPPROTO_IP), to: CInt(1), "IP_RECVERR")
        } else {
            try descriptor.set(IPV6_RECVERR, of: CInt(IPPROTO_IPV6), to: CInt(1), "IPV6_RECVERR")
        }
        try descriptor.bind(to: ports, peer.wildcard)
        try call("connect \(peer)") {
            unsafe peer.withKernelForm { unsafe connect(descriptor.fileDescriptor, $0, $1) }
        }
        port = try descriptor.localAddress().port
        self.descriptor = descriptor
    }

    var fileDescriptor: CInt { descriptor.fileDescriptor }

    /// Takes the last error that the network has reported; nil if there is none.
    ///
    /// While one is there, poll(2) finds the socket ready.
    func takeNetworkError() -> Errno? {
        let errno = clinux_take_network_error(fileDescriptor)
        return errno == 0 ? nil : Errno(rawValue: errno)
    }
}

/// Datagrams in memory that is set aside once, in a list for each socket.
@safe
private struct FanBatch: ~Copyable {
    private struct Entry {
        var datagram: clinux_datagram
        /// The next one of the same list, or -1.
        var next: Int
    }

    private let memory: UnsafeMutableRawPointer
    private var entries: [Entry] = []
    private var first: [Int]
    private var last: [Int]
    private var counts: [Int]
    /// The end of the memory in use.
    private var end = 0
    /// What one system call sends.
    private var group: [clinux_datagram] = []
    private(set) var waitingCount = 0

    /// Enough that datagrams of many flows still fill system calls.
    private static let countMax = 512
    /// Room for that many of 1 KiB, or 8 of the longest.
    private static let byteCountMax = 512 << 10

    init(listCount: Int) {
        // Safety: zero bytes are initialized memory, and `deinit` alone frees it.
        unsafe memory = .allocate(byteCount: Self.byteCountMax, alignment: 64)
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: Self.byteCountMax)
        first = Array(repeating: -1, count: listCount)
        last = first
        counts = Array(repeating: 0, count: listCount)
        entries.reserveCapacity(Self.countMax)
        group.reserveCapacity(DatagramBatch.countMax)
    }

    deinit {
        unsafe memory.deallocate()
    }

    func hasRoom(for byteCount: Int) -> Bool {
        entries.count < Self.countMax && end + byteCount <= Self.byteCountMax
    }

    func hasWaiting(_ index: Int) -> Bool { counts[index] > 0 }

    func waitingCount(_ index: Int) -> Int { counts[index] }

    var room: MutableRawSpan {
        @_lifetime(&self)
        mutating get {
            // Safety: `end` stays inside the memory, all of which is initialized.
            let span = unsafe MutableRawSpan(
                _unsafeStart: memory + end, byteCount: Self.byteCountMax - end)
            return unsafe _overrideLifetime(span, mutating: &self)
        }
    }

    mutating func append(byteCount: Int, to index: Int) {
        precondition(hasRoom(for: byteCount))
        let number = entries.count
        entries.append(
            Entry(
                datagram: clinux_datagram(offset: UInt32(end), byte_count: UInt32(byteCount)),
                next: -1))
        if counts[index] == 0 {
            first[index] = number
        } else {
            entries[last[index]].next = number
        }
        last[index] = number
        counts[index] += 1
        waitingCount += 1
        end += byteCount
    }

    /// Removes the datagrams of a list that have waited longest.
    ///
    /// - Returns: The number of their bytes.
    mutating func removeFirst(_ count: Int, of index: Int) -> Int {
        precondition(count <= counts[index])
        var byteCount = 0
        for _ in 0..<count {
            let entry = entries[first[index]]
            byteCount += Int(entry.datagram.byte_count)
            first[index] = entry.next
        }
        counts[index] -= count
        waitingCount -= count
        return byteCount
    }

    mutating func removeAll() {
        entries.removeAll(keepingCapacity: true)
        for index in counts.indices { counts[index] = 0 }
        (waitingCount, end) = (0, 0)
    }

    /// Sends the first datagrams of a list, and leaves them in it.
    ///
    /// - Parameters:
    ///   - index: The list.
    ///   - socket: The socket.
    ///   - joinedByteCountMax: The longest datagrams that are joined; 0 for none.
    /// - Returns: The number of datagrams sent, or -1, with the reason in `errno`; and the number that
    ///   was to be sent.
    mutating func send(
        _ index: Int, to socket: CInt, joinedByteCountMax: Int
    ) -> (count: Int, wantedCount: Int) {
        group.removeAll(keepingCapacity: true)
        var number = first[index]
        for _ in 0..<min(counts[index], DatagramBatch.countMax) {
            group.append(entries[number].datagram)
            number = entries[number].next
        }
        // Safety: each datagram lies inside the memory, which the kernel reads during the call.
        let sentCount = unsafe group.withUnsafeBufferPointer { group in
            let count = UInt32(group.count)
            return unsafe joinedByteCountMax > 0
                ? clinux_send_joined_datagrams(
                    socket, memory, group.baseAddress, count, UInt32(joinedByteCountMax))
                : clinux_send_datagrams(socket, memory, group.baseAddress, count)
        }
        return (Int(sentCount), group.count)
    }
}
