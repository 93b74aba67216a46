import CLinux
import Glibc

/// Datagrams that one system call sends together, in memory that is set aside once.
@safe
package struct DatagramBatch: ~Copyable {
    private let memory: UnsafeMutableRawPointer
    private var datagrams: [clinux_datagram] = []
    /// The number of datagrams at the front that have been sent or dropped.
    private var doneCount = 0
    /// The end of the memory in use.
    private var end = 0

    /// The most datagrams in a batch; a longer one hardly lowers the cost of each.
    package static let countMax = Int(CLINUX_DATAGRAM_COUNT_MAX)
    /// Room for 4 of the longest datagrams or 64 of the size of a frame, all within a CPU cache.
    private static let byteCountMax = 256 << 10

    /// Creates an empty batch.
    package init() {
        // Safety: zero bytes are initialized memory, and `deinit` alone frees it.
        unsafe memory = .allocate(byteCount: Self.byteCountMax, alignment: 64)
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: Self.byteCountMax)
        datagrams.reserveCapacity(Self.countMax)
    }

    deinit {
        unsafe memory.deallocate()
    }

    /// Whether no datagram waits.
    package var isEmpty: Bool { count == 0 }

    /// The number of datagrams that wait.
    package var count: Int { datagrams.count - doneCount }

    /// The number of bytes in all datagrams that wait.
    package var byteCount: Int { isEmpty ? 0 : end - Int(datagrams[doneCount].offset) }

    /// The length of the datagram that is sent next, or 0 if none waits.
    package var firstByteCount: Int { isEmpty ? 0 : Int(datagrams[doneCount].byte_count) }

    /// Whether a datagram of this length can be appended.
    package func hasRoom(for byteCount: Int) -> Bool {
        datagrams.count < Self.countMax && end + byteCount <= Self.byteCountMax
    }

    /// The free memory, into which the next datagram is written before `append(byteCount:)`.
    package var room: MutableRawSpan {
        @_lifetime(&self)
        mutating get {
            // Safety: `end` stays inside the memory, all of which is initialized.
            let span = unsafe MutableRawSpan(
                _unsafeStart: memory + end, byteCount: Self.byteCountMax - end)
            return unsafe _overrideLifetime(span, mutating: &self)
        }
    }

    /// Appends the first bytes of `room` as a datagram, for which there must be room.
    package mutating func append(byteCount: Int) {
        precondition(hasRoom(for: byteCount))
        datagrams.append(clinux_datagram(offset: UInt32(end), byte_count: UInt32(byteCount)))
        end += byteCount
    }

    /// Removes the datagrams that have waited longest.
    ///
    /// Removing the last one frees all the room.
    package mutating func removeFirst(_ count: Int) {
        precondition(count <= self.count)
        doneCount += count
        guard isEmpty else { return }
        datagrams.removeAll(keepingCapacity: true)
        (doneCount, end) = (0, 0)
    }

    /// Sends as many datagrams as the kernel takes in one call, and leaves them in the batch.
    ///
    /// - Returns: The number of datagrams sent, or -1, with the reason in `errno`.
    func send(to socket: CInt) -> CInt {
        // Safety: each datagram lies inside the memory, which the kernel reads during the call.
        unsafe datagrams.withUnsafeBufferPointer { all in
            let waiting = unsafe all.dropFirst(doneCount)
            let first = unsafe UnsafeBufferPointer(rebasing: waiting).baseAddress
            return unsafe clinux_send_datagrams(socket, memory, first, UInt32(waiting.count))
        }
    }
}
