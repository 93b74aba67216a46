import CLinux
import Glibc

/// Memory of this process alone, of which pages are taken as they are used.
///
/// It never moves, and its bytes are read and written through spans, whose bounds are checked.
@safe
package struct PageMemory: ~Copyable, Sendable {
    /// The size of the memory.
    package let byteCount: Int
    /// The address as a number, since pointers do not go from thread to thread.
    private let address: UInt

    @unsafe private var base: UnsafeMutableRawPointer {
        // Safety: the initializer has made sure that the address is not 0.
        unsafe UnsafeMutableRawPointer(bitPattern: address).unsafelyUnwrapped
    }

    /// Reserves address space; the bytes are all zero.
    ///
    /// - Throws: The kernel's reason if there is no address space.
    package init(byteCount: Int) throws(SystemError) {
        let address = unsafe mmap(
            nil, byteCount, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let address = unsafe address, unsafe address != MAP_FAILED else {
            throw SystemError("mmap of \(byteCount) bytes")
        }
        // Large pages spare most of the address translation. Where there are none, small ones do.
        unsafe _ = madvise(address, byteCount, MADV_HUGEPAGE)
        self.byteCount = byteCount
        self.address = UInt(bitPattern: address)
    }

    /// All bytes.
    package var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            // Safety: `self` keeps the memory mapped, and new pages are all zero bytes.
            let span = unsafe RawSpan(_unsafeStart: base, byteCount: byteCount)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// Lends all bytes to be changed.
    @_lifetime(&self)
    package mutating func change() -> MutableRawSpan {
        // Safety: as above.
        let span = unsafe MutableRawSpan(_unsafeStart: base, byteCount: byteCount)
        return unsafe _overrideLifetime(span, mutating: &self)
    }

    /// Has the CPU fetch bytes into its cache that are read soon.
    package func prefetch(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount)
        // Safety: the line above keeps the range inside the memory, of which nothing is read.
        unsafe clinux_prefetch_range(base + range.lowerBound, UInt(range.count))
    }

    deinit {
        // Safety: nobody has the address but the owner.
        unsafe _ = munmap(base, byteCount)
    }
}
