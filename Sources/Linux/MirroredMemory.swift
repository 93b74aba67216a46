import CLinux
import Glibc

/// Memory that is mapped twice in a row, so that a range beyond its end goes on at its start.
///
/// Every range of a ring buffer in it is contiguous. It counts as shared memory: the kernel charges
/// each page once, to the control group that uses it first, and `ps` may show it twice.
@safe
struct MirroredMemory: ~Copyable, Sendable {
    /// The size of the memory, in whole pages.
    ///
    /// As many bytes follow that are the same ones.
    let byteCount: Int
    /// The address as a number, since pointers do not go from thread to thread.
    let address: UInt

    /// Reserves address space; memory is taken page by page as it is used, and is all zero bytes.
    ///
    /// - Parameter byteCountMin: The least size, which is rounded up to whole pages.
    /// - Throws: The kernel's reason if there is no address space.
    init(byteCountMin: Int) throws(SystemError) {
        let pageByteCount = Int(getpagesize())
        let byteCount = (max(byteCountMin, 1) + pageByteCount - 1) / pageByteCount * pageByteCount
        // Reserving both halves at once keeps other threads from what lies between.
        let reserved = unsafe mmap(
            nil, 2 * byteCount, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let reserved = unsafe reserved, unsafe reserved != MAP_FAILED else {
            throw SystemError("mmap of \(byteCount) bytes")
        }
        // No file is behind the memory: a limit for the size of files, or for descriptors, is no limit
        // for queues.
        // Safety: the mappings take the place of the halves of what has just been reserved.
        let half = unsafe mmap(
            reserved, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1,
            0)
        guard unsafe half != MAP_FAILED,
            unsafe clinux_map_again(reserved, byteCount, reserved + byteCount) == 0
        else {
            let error = SystemError("mmap of \(byteCount) bytes")
            unsafe _ = munmap(reserved, 2 * byteCount)
            throw error
        }
        self.byteCount = byteCount
        address = UInt(bitPattern: reserved)
    }

    deinit {
        // Safety: nobody has the address but the owner.
        unsafe _ = munmap(UnsafeMutableRawPointer(bitPattern: address), 2 * byteCount)
    }
}
