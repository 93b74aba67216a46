import Glibc

/// A bounded queue of bytes on their way to a socket.
///
/// Bytes are appended at one end and sent from the other; when all are sent both ends go back to the
/// start. So a queue whose socket keeps up stays within the same few pages, which the processor has
/// at hand, and only a slow socket makes it touch the memory that its bound allows.
@safe
public struct ByteQueue: ~Copyable, Sendable {
    /// A number, so that whoever owns the queue can hand it to another thread.
    @usableFromInline let address: UInt
    /// Where the memory ends.
    @usableFromInline let limit: Int
    /// Where bytes go when none wait: in front of that is room for what has to be sent before them.
    @usableFromInline let floor: Int
    @usableFromInline var start: Int
    @usableFromInline var end: Int

    @usableFromInline @unsafe var base: UnsafeMutableRawPointer {
        // Safety: the initializer has made sure that the address is not 0.
        @inlinable get { unsafe UnsafeMutableRawPointer(bitPattern: address).unsafelyUnwrapped }
    }

    /// Sets address space aside; memory is taken page by page as it is used. So many bytes more can be
    /// put in front of those that wait.
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

    /// How many bytes wait to be sent.
    @inlinable public var byteCount: Int { end - start }

    /// Whether so many bytes can be appended. Makes room at the end by moving what is left to the
    /// start, which happens once for each time around and never while the socket keeps up.
    @inlinable
    public mutating func hasRoom(for byteCount: Int) -> Bool {
        end + byteCount <= limit || makesRoom(for: byteCount)
    }

    @usableFromInline
    mutating func makesRoom(for byteCount: Int) -> Bool {
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

    /// Puts all that waits in another queue in front of what waits in this one; the caller knows that
    /// there is room.
    package mutating func prepend(_ other: inout ByteQueue) {
        let byteCount = other.byteCount
        precondition(byteCount <= start)
        start -= byteCount
        // Safety: the lines above keep the copy inside the memory, and the other queue has its own.
        unsafe _ = memcpy(base + start, other.base + other.start, byteCount)
        (other.start, other.end) = (other.floor, other.floor)
    }

    /// Appends bytes; the caller has asked for room.
    package mutating func append(_ bytes: RawSpan) {
        precondition(end + bytes.byteCount <= limit)
        // Safety: the line above keeps the copy inside the memory.
        unsafe bytes.withUnsafeBytes { source in
            guard let address = source.baseAddress else { return }
            unsafe _ = memcpy(base + end, address, source.count)
        }
        end += bytes.byteCount
    }

    /// Appends so many bytes for the caller to write; the caller has asked for room.
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

    /// The bytes appended last, so many of them, to be changed before they are sent.
    @_lifetime(&self)
    package mutating func last(_ byteCount: Int) -> MutableRawSpan {
        precondition(byteCount <= self.byteCount)
        // Safety: the line above keeps the span inside what has been appended.
        let span = unsafe MutableRawSpan(
            _unsafeStart: base + end - byteCount, byteCount: byteCount)
        return unsafe _overrideLifetime(span, mutating: &self)
    }

    /// All bytes that wait, for whoever sends them in another form.
    package var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            // Safety: start and end stay inside the memory, which `self` keeps mapped, and what lies
            // between them has been appended.
            let span = unsafe RawSpan(_unsafeStart: base + start, byteCount: byteCount)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// Takes away bytes that wait longest, sent in another form. Where few are left they are moved
    /// to the start, so that a queue that is never quite empty stays within the same pages, too.
    package mutating func removeFirst(_ byteCount: Int) {
        precondition(byteCount <= self.byteCount)
        start += byteCount
        guard self.byteCount <= Self.movedByteCountMax, start - floor >= self.byteCount else {
            return
        }
        moveToFloor()
    }

    /// Moving a page costs less than touching a new one.
    private static let movedByteCountMax = 4096

    /// Takes back bytes appended last.
    package mutating func removeLast(_ byteCount: Int) {
        precondition(byteCount <= self.byteCount)
        end -= byteCount
    }

    /// Sends what the socket takes without waiting. Answers whether nothing is left.
    package mutating func send(to socket: CInt) throws(SystemError) -> Bool {
        while start < end {
            // Safety: start and end stay inside the memory.
            let count = unsafe Glibc.send(
                socket, base + start, end - start, CInt(MSG_DONTWAIT | MSG_NOSIGNAL))
            guard count >= 0 else {
                if errno == EAGAIN { return false }
                if errno == EINTR { continue }
                throw SystemError("send")
            }
            start += count
        }
        (start, end) = (floor, floor)
        return true
    }

    /// Sends by something other than a plain socket, which answers how many bytes it took, or 0 if it
    /// takes none now. Answers whether nothing is left.
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
