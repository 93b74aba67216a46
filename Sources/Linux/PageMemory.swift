import CLinux
import Glibc

/// Memory of this process alone, of which pages are taken as they are used.
///
/// It never moves, and its bytes are read and written through spans, whose bounds are checked.
@safe
package struct PageMemory: ~Copyable, Sendable {
    private let mapping: Mapping

    /// The size of the memory.
    package var byteCount: Int { mapping.byteCount }

    /// Reserves address space; the bytes are all zero.
    ///
    /// - Throws: The kernel's reason if there is no address space.
    package init(byteCount: Int) throws(SystemError) {
        mapping = try Mapping(anonymousByteCount: byteCount)
        // Large pages spare most of the address translation. Where there are none, small ones do.
        // Safety: the advice concerns the mapping alone, and changes no byte of it.
        unsafe _ = madvise(mapping.base, byteCount, MADV_HUGEPAGE)
    }

    /// All bytes.
    package var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            // Safety: `mapping` keeps the memory mapped, and new pages are all zero bytes.
            let span = unsafe RawSpan(_unsafeStart: mapping.base, byteCount: byteCount)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// Lends all bytes to be changed.
    @_lifetime(&self)
    package mutating func change() -> MutableRawSpan {
        // Safety: as above.
        let span = unsafe MutableRawSpan(_unsafeStart: mapping.base, byteCount: byteCount)
        return unsafe _overrideLifetime(span, mutating: &self)
    }

    /// Has the CPU fetch bytes into its cache that are read soon.
    package func prefetch(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount)
        // Safety: the line above keeps the range inside the memory, of which nothing is read.
        unsafe clinux_prefetch_range(mapping.base + range.lowerBound, UInt(range.count))
    }
}
