import Glibc

/// A bounded queue of bytes on their way to a socket: a ring whose ranges are all contiguous.
///
/// Bytes are appended at one end and sent from the other, and there is room as soon as some are sent.
/// When all are sent, both ends return to the start. A queue whose socket keeps up therefore stays
/// within the same few pages, which are in the CPU's cache; only a slow socket makes it use the
/// memory that its bound allows.
@safe
public struct ByteQueue: ~Copyable, Sendable {
    /// The most bytes that can wait.
    package let byteCountMax: Int
    private let memory: MirroredMemory
    /// The start of the memory.
    @usableFromInline let address: UInt
    /// Where the bytes begin, always in the first half of the mirrored memory.
    @usableFromInline private(set) var start = 0
    /// Where the bytes end, which may be in the second half.
    @usableFromInline var end = 0
    /// Where the end may be at most: `byteCountMax` behind the start.
    @usableFromInline private(set) var bound: Int

    @usableFromInline @unsafe var base: UnsafeMutableRawPointer {
        // Safety: the memory's initializer has made sure that the address is not 0.
        @inlinable get { unsafe UnsafeMutableRawPointer(bitPattern: address).unsafelyUnwrapped }
    }

    /// Reserves address space; memory is taken page by page as it is used.
    ///
    /// - Parameters:
    ///   - byteCountMax: The most bytes that wait.
    ///   - headroomByteCount: The most bytes that `prepend` can put in front of them.
    /// - Throws: The kernel's reason if there is no address space.
    package init(byteCountMax: Int, headroomByteCount: Int = 0) throws(SystemError) {
        let memory = try MirroredMemory(byteCountMin: byteCountMax + headroomByteCount)
        address = memory.address
        self.memory = memory
        self.byteCountMax = byteCountMax
        bound = byteCountMax
    }

    /// The number of bytes that wait to be sent.
    @inlinable public var byteCount: Int { end - start }

    /// Whether there is room for a number of bytes more.
    @inlinable
    public func hasRoom(for byteCount: Int) -> Bool { end + byteCount <= bound }

    /// Moves the start, with which goes how far the end may be.
    ///
    /// - Parameter offset: Where the bytes begin: at most one round before or behind the first half.
    private mutating func move(startTo offset: Int) {
        if offset == end {
            (start, end) = (0, 0)
        } else if offset >= memory.byteCount {
            (start, end) = (offset - memory.byteCount, end - memory.byteCount)
        } else if offset < 0 {
            (start, end) = (offset + memory.byteCount, end + memory.byteCount)
        } else {
            start = offset
        }
        bound = start + byteCountMax
    }

    /// Moves all bytes of another queue in front of those of this one, whose headroom must do.
    package mutating func prepend(_ other: inout ByteQueue) {
        let byteCount = other.byteCount
        precondition(self.byteCount + byteCount <= memory.byteCount)
        guard byteCount > 0 else { return }
        move(startTo: start - byteCount)
        // Safety: the lines above keep the copy inside the memory, and the other queue has its own.
        unsafe _ = memcpy(base + start, other.base + other.start, byteCount)
        other.move(startTo: other.end)
    }

    /// Appends bytes, for which there must be room.
    package mutating func append(_ bytes: RawSpan) {
        precondition(hasRoom(for: bytes.byteCount))
        // Safety: the line above keeps the copy inside the memory.
        unsafe bytes.withUnsafeBytes { source in
            guard let address = source.baseAddress else { return }
            unsafe _ = memcpy(base + end, address, source.count)
        }
        end += bytes.byteCount
    }

    /// Appends bytes, for which there must be room, and returns them to be changed before they are sent.
    @_lifetime(&self)
    package mutating func appended(_ bytes: RawSpan) -> MutableRawSpan {
        append(bytes)
        return last(bytes.byteCount)
    }

    /// Appends bytes for the caller to write, for which there must be room.
    @inlinable @inline(__always)
    @_lifetime(&self)
    public mutating func extend(by byteCount: Int) -> MutableRawSpan {
        precondition(byteCount >= 0 && hasRoom(for: byteCount))
        // Safety: the line above keeps the span inside the memory, which `self` keeps mapped. New
        // memory is all zero bytes, so it is initialized.
        let span = unsafe MutableRawSpan(_unsafeStart: base + end, byteCount: byteCount)
        end += byteCount
        return unsafe _overrideLifetime(span, mutating: &self)
    }

    /// Appends bytes for the caller to write, or returns nil if there is no room for them.
    @inlinable @inline(__always)
    @_lifetime(&self)
    public mutating func extendIfPossible(by byteCount: Int) -> MutableRawSpan? {
        precondition(byteCount >= 0)
        guard hasRoom(for: byteCount) else { return nil }
        // Safety: the line above keeps the span inside the memory, which `self` keeps mapped. New
        // memory is all zero bytes, so it is initialized.
        let span = unsafe MutableRawSpan(_unsafeStart: base + end, byteCount: byteCount)
        end &+= byteCount
        return unsafe _overrideLifetime(span, mutating: &self)
    }

    /// The bytes that were appended last, to be changed before they are sent.
    @_lifetime(&self)
    package mutating func last(_ byteCount: Int) -> MutableRawSpan {
        precondition(byteCount <= self.byteCount)
        // Safety: the line above keeps the span inside what has been appended.
        let span = unsafe MutableRawSpan(
            _unsafeStart: base + end - byteCount, byteCount: byteCount)
        return unsafe _overrideLifetime(span, mutating: &self)
    }

    /// All bytes that wait, for callers that send them in another form.
    package var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            // Safety: start and end stay inside the memory, which `self` keeps mapped, and what lies
            // between them has been appended.
            let span = unsafe RawSpan(_unsafeStart: base + start, byteCount: byteCount)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// Removes the bytes that have waited longest, since they were sent in another form.
    ///
    /// If few are left they are moved to the start. A queue that is never quite empty then stays
    /// within the same pages as well.
    package mutating func removeFirst(_ byteCount: Int) {
        precondition(byteCount <= self.byteCount)
        move(startTo: start + byteCount)
        let rest = self.byteCount
        // Beyond the first half it would be in its own way.
        guard rest <= Self.movedByteCountMax, start >= rest, end <= memory.byteCount else { return }
        // Safety: the line above keeps the two apart, and both lie inside the memory.
        unsafe _ = memcpy(base, base + start, rest)
        end = rest
        move(startTo: 0)
    }

    /// A page: moving it costs less than touching a new one.
    private static let movedByteCountMax = 4096

    /// Removes the bytes that were appended last.
    package mutating func removeLast(_ byteCount: Int) {
        precondition(byteCount <= self.byteCount)
        end -= byteCount
    }

    /// Removes the bytes that a closure sends, until all are gone or it sends none.
    ///
    /// - Parameter write: Sends some bytes, and returns how many: 0 if none can be sent now.
    /// - Returns: Whether nothing is left.
    /// - Throws: What `write` throws.
    package mutating func send<Failure>(
        by write: (RawSpan) throws(Failure) -> Int
    ) throws(Failure) -> Bool {
        while start < end {
            // Safety: start and end stay inside the memory, which `self` keeps mapped.
            let count = try write(
                unsafe RawSpan(_unsafeStart: base + start, byteCount: end - start))
            precondition(count <= end - start)
            if count == 0 { return false }
            move(startTo: start + count)
        }
        return true
    }
}
