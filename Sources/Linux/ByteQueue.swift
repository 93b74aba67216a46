import Glibc

/// A bounded queue of bytes on their way to a socket.
///
/// Bytes are appended at one end and sent from the other. When all are sent, both ends return to the
/// start. A queue whose socket keeps up therefore stays within the same few pages, which are in the
/// CPU's cache; only a slow socket makes it use the memory that its bound allows.
@safe
public struct ByteQueue: ~Copyable, Sendable {
    /// The address as a number, since pointers do not go from thread to thread.
    @usableFromInline let address: UInt
    /// The end of the memory.
    @usableFromInline let limit: Int
    /// Where bytes go when none wait.
    ///
    /// The headroom in front is for bytes that are sent before them.
    @usableFromInline let floor: Int
    @usableFromInline var start: Int
    @usableFromInline var end: Int

    @usableFromInline @unsafe var base: UnsafeMutableRawPointer {
        // Safety: the initializer has made sure that the address is not 0.
        @inlinable get { unsafe UnsafeMutableRawPointer(bitPattern: address).unsafelyUnwrapped }
    }

    /// Reserves address space; memory is taken page by page as it is used.
    ///
    /// - Parameters:
    ///   - byteCountMax: The most bytes that wait.
    ///   - headroomByteCount: The most bytes that `prepend` can put in front of them.
    /// - Throws: The kernel's reason if there is no address space.
    package init(byteCountMax: Int, headroomByteCount: Int = 0) throws(SystemError) {
        let limit = headroomByteCount + byteCountMax
        let address = unsafe mmap(
            nil, limit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let address = unsafe address, unsafe address != MAP_FAILED else {
            throw SystemError("mmap of a queue of \(byteCountMax) bytes")
        }
        self.address = UInt(bitPattern: address)
        self.limit = limit
        (floor, start, end) = (headroomByteCount, headroomByteCount, headroomByteCount)
    }

    deinit {
        unsafe _ = munmap(base, limit)
    }

    /// The number of bytes that wait to be sent.
    @inlinable public var byteCount: Int { end - start }

    /// The most bytes that can wait.
    package var byteCountMax: Int { limit - floor }

    /// Makes room for bytes at the end if that is possible.
    ///
    /// It may move what waits to the start, which happens once for each time around, and never while
    /// the socket keeps up.
    ///
    /// - Returns: Whether there is room.
    @inlinable
    public mutating func makeRoom(for byteCount: Int) -> Bool {
        end + byteCount <= limit || makeRoomByMoving(for: byteCount)
    }

    @usableFromInline
    mutating func makeRoomByMoving(for byteCount: Int) -> Bool {
        guard floor + self.byteCount + byteCount <= limit, start - floor >= (limit - floor) / 2
        else { return false }
        moveToFloor()
        return true
    }

    private mutating func moveToFloor() {
        let byteCount = self.byteCount
        precondition(byteCount <= start - floor)
        // Safety: the line above keeps the two apart, and both lie inside the memory.
        unsafe _ = memcpy(base + floor, base + start, byteCount)
        (start, end) = (floor, floor + byteCount)
    }

    /// Moves all bytes of another queue in front of those of this one, whose headroom must do.
    package mutating func prepend(_ other: inout ByteQueue) {
        let byteCount = other.byteCount
        precondition(byteCount <= start)
        start -= byteCount
        // Safety: the lines above keep the copy inside the memory, and the other queue has its own.
        unsafe _ = memcpy(base + start, other.base + other.start, byteCount)
        (other.start, other.end) = (other.floor, other.floor)
    }

    /// Appends bytes, for which there must be room.
    package mutating func append(_ bytes: RawSpan) {
        precondition(end + bytes.byteCount <= limit)
        // Safety: the line above keeps the copy inside the memory.
        unsafe bytes.withUnsafeBytes { source in
            guard let address = source.baseAddress else { return }
            unsafe _ = memcpy(base + end, address, source.count)
        }
        end += bytes.byteCount
    }

    /// Appends bytes for the caller to write, for which there must be room.
    @inlinable @inline(__always)
    @_lifetime(&self)
    public mutating func extend(by byteCount: Int) -> MutableRawSpan {
        precondition(end + byteCount <= limit)
        // Safety: the line above keeps the span inside the memory, which `self` keeps mapped. An
        // anonymous mapping is all zero bytes at first, so it is initialized.
        let span = unsafe MutableRawSpan(_unsafeStart: base + end, byteCount: byteCount)
        end += byteCount
        return unsafe _overrideLifetime(span, mutating: &self)
    }

    /// Appends bytes for the caller to write, or returns nil if there is no room for them.
    ///
    /// It may move what waits, as `makeRoom` does.
    @inlinable @inline(__always)
    @_lifetime(&self)
    public mutating func extendIfPossible(by byteCount: Int) -> MutableRawSpan? {
        precondition(byteCount >= 0)
        guard makeRoom(for: byteCount) else { return nil }
        // Safety: the line above keeps the span inside the memory, which `self` keeps mapped. An
        // anonymous mapping is all zero bytes at first, so it is initialized.
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
        start += byteCount
        guard self.byteCount <= Self.movedByteCountMax, start - floor >= self.byteCount else {
            return
        }
        moveToFloor()
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
            start += count
        }
        (start, end) = (floor, floor)
        return true
    }
}
