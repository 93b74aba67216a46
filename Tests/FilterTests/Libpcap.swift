import BPF
import Glibc

/// Libpcap's compiler, which tcpdump runs: the judge of what a filter means.
///
/// It is loaded while the tests run; nothing of podwire is linked with it.
@safe
final class Libpcap {
    /// Why there is no judge, or what it says of a filter.
    struct Refusal: Error, CustomStringConvertible {
        let description: String
    }

    private typealias OpenDead = @convention(c) (CInt, CInt) -> OpaquePointer?
    private typealias Compile =
        @convention(c) (
            OpaquePointer?, UnsafeMutableRawPointer?, UnsafePointer<CChar>?, CInt, UInt32
        ) -> CInt
    private typealias FreeCode = @convention(c) (UnsafeMutableRawPointer?) -> Void
    private typealias ErrorText = @convention(c) (OpaquePointer?) -> UnsafePointer<CChar>?

    private let capture: OpaquePointer
    private let compile: Compile
    private let freeCode: FreeCode
    private let errorText: ErrorText

    /// `DLT_EN10MB` of pcap/dlt.h.
    private static let ethernet: CInt = 1
    /// `PCAP_NETMASK_UNKNOWN` of pcap/pcap.h.
    private static let unknownMask: UInt32 = 0xffff_ffff

    /// - Throws: A `Refusal` where the library is missing; tools/test installs tcpdump, which has it.
    init() throws {
        // Safety: the library stays loaded, and the types are those of pcap/pcap.h.
        guard let library = unsafe dlopen("libpcap.so.0.8", RTLD_NOW) else {
            throw Refusal(description: "libpcap.so.0.8 is missing: install tcpdump")
        }
        func symbol(_ name: String) throws -> UnsafeMutableRawPointer {
            guard let symbol = unsafe dlsym(library, name) else {
                throw Refusal(description: "libpcap has no \(name)")
            }
            return unsafe symbol
        }
        let openDead = try unsafe unsafeBitCast(symbol("pcap_open_dead"), to: OpenDead.self)
        unsafe compile = try unsafeBitCast(symbol("pcap_compile"), to: Compile.self)
        unsafe freeCode = try unsafeBitCast(symbol("pcap_freecode"), to: FreeCode.self)
        unsafe errorText = try unsafeBitCast(symbol("pcap_geterr"), to: ErrorText.self)
        guard let capture = unsafe openDead(Self.ethernet, 262_144) else {
            throw Refusal(description: "libpcap cannot begin")
        }
        unsafe self.capture = capture
    }

    /// The program that libpcap makes of a filter.
    ///
    /// - Throws: A `Refusal` with libpcap's words.
    func program(_ text: String, isOptimized: Bool = true) throws -> Program {
        // Safety: a bpf_program is a number of 32 bits and, 8 bytes on, a pointer to instructions of 8
        // bytes each; it is freed below, and read before.
        let result = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 8)
        defer { unsafe result.deallocate() }
        let outcome = unsafe text.withCString { text in
            unsafe compile(capture, result, text, isOptimized ? 1 : 0, Self.unknownMask)
        }
        guard outcome == 0 else {
            let words = unsafe errorText(capture).map { unsafe String(cString: $0) } ?? ""
            throw Refusal(description: words)
        }
        defer { unsafe freeCode(result) }
        let count = Int(unsafe result.load(as: UInt32.self))
        let steps = unsafe result.load(fromByteOffset: 8, as: UnsafeRawPointer.self)
        let instructions = (0..<count).map { index in
            let word = unsafe steps.load(fromByteOffset: 8 * index, as: UInt64.self)
            return Instruction(
                Opcode(rawValue: UInt16(truncatingIfNeeded: word)),
                UInt32(truncatingIfNeeded: word >> 32),
                ifTrue: UInt8(truncatingIfNeeded: word >> 16),
                ifFalse: UInt8(truncatingIfNeeded: word >> 24))
        }
        return try Program(checking: instructions)
    }
}
