import CLinux
import Glibc

/// Datagrams that are sent together: memory for some, set aside once.
@safe
package struct DatagramBatch: ~Copyable {
    private let memory: UnsafeMutableRawPointer
    private var datagrams: [clinux_datagram] = []
    /// How many of them have been sent or dropped.
    private var doneCount = 0
    /// Up to where the memory is in use.
    private var end = 0

    /// One system call sends so many: more make it hardly cheaper for each.
    package static let countMax = Int(CLINUX_DATAGRAM_COUNT_MAX)
    /// The longest datagrams still go four at a time, those that fit a wire 64, and all of it stays
    /// in the processor's cache.
    private static let byteCountMax = 256 << 10

    package init() {
        // Safety: zero bytes are initialized memory, and `deinit` alone frees it.
        unsafe memory = .allocate(byteCount: Self.byteCountMax, alignment: 64)
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: Self.byteCountMax)
        datagrams.reserveCapacity(Self.countMax)
    }

    deinit {
        unsafe memory.deallocate()
    }

    package var isEmpty: Bool { count == 0 }

    /// How many wait.
    package var count: Int { datagrams.count - doneCount }

    /// How many bytes they have together.
    package var byteCount: Int { isEmpty ? 0 : end - Int(datagrams[doneCount].offset) }

    /// The length of the one that is next; 0 if none is.
    package var firstByteCount: Int { isEmpty ? 0 : Int(datagrams[doneCount].byte_count) }

    /// Whether there is room for one more of this length.
    package func hasRoom(for byteCount: Int) -> Bool {
        datagrams.count < Self.countMax && end + byteCount <= Self.byteCountMax
    }

    /// The memory behind the last one, to write one more into; `append` then makes it one.
    package var room: MutableRawSpan {
        @_lifetime(&self)
        mutating get {
            // Safety: `end` stays inside the memory, all of which is initialized.
            let span = unsafe MutableRawSpan(
                _unsafeStart: memory + end, byteCount: Self.byteCountMax - end)
            return unsafe _overrideLifetime(span, mutating: &self)
        }
    }

    /// Has the first bytes of the room be a datagram; the caller has asked for room.
    package mutating func append(byteCount: Int) {
        precondition(hasRoom(for: byteCount))
        datagrams.append(clinux_datagram(offset: UInt32(end), byte_count: UInt32(byteCount)))
        end += byteCount
    }

    /// Lets go of some that wait longest. When none is left there is room again.
    package mutating func removeFirst(_ count: Int) {
        precondition(count <= self.count)
        doneCount += count
        guard isEmpty else { return }
        datagrams.removeAll(keepingCapacity: true)
        (doneCount, end) = (0, 0)
    }

    /// Sends as many as the kernel takes in one call. Answers how many, or -1 and `errno`.
    func send(to socket: CInt) -> CInt {
        // Safety: each datagram lies inside the memory, which the kernel reads during the call.
        unsafe datagrams.withUnsafeBufferPointer { all in
            let waiting = unsafe all.dropFirst(doneCount)
            let first = unsafe UnsafeBufferPointer(rebasing: waiting).baseAddress
            return unsafe clinux_send_datagrams(socket, memory, first, UInt32(waiting.count))
        }
    }
}
