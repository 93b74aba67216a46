import Addressing
import BPF
import CLinux
import Filter
import FuzzSupport
import Glibc
import Linux
import Testing

/// Filters that the kernel runs, on the datagrams of a socket pair: that needs no privilege.
@Suite("A filter in the kernel")
struct FilterInKernelTests {
    @Test("keeps the packets that the interpreter keeps")
    func verdicts() throws {
        var generator = RandomNumbers(8)
        var expressions = RandomExpression(RandomNumbers(9))
        let frames = (0..<64).map { _ in RandomFrame.make(with: &generator) }.filter { !$0.isEmpty }
        var (keptCount, programCount) = (0, 0)
        let texts =
            CommonFilters.texts + SuiteExpressions.taken + (0..<200).map { _ in expressions.next() }
        for text in texts {
            guard let program = try? FilterExpression(text).program else { continue }
            #expect(program.isForKernel, "\(text)")
            let pair = try FilteredPair(program)
            for frame in frames {
                let isKept = try pair.passes(frame)
                keptCount += isKept ? 1 : 0
                #expect(isKept == (program.run(on: frame.wire) > 0), "\(text): \(frame.hex)")
            }
            programCount += 1
        }
        #expect(programCount > 500)
        #expect(keptCount > 1000)
    }
}

/// Two sockets, of which one receives only what a program keeps.
private struct FilteredPair: ~Copyable {
    private let sender: Descriptor
    private let receiver: Descriptor

    init(_ program: Program) throws {
        var ends: [CInt] = [0, 0]
        let type = CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        // Safety: the call writes two numbers.
        guard unsafe socketpair(AF_UNIX, type, 0, &ends) == 0 else {
            throw SystemError("socketpair")
        }
        let (first, second) = (ends[0], ends[1])
        let sender = try Descriptor("socketpair") { first }
        let receiver = try Descriptor("socketpair") { second }
        var steps = program.instructions.map { step in
            sock_filter(
                code: step.opcode.rawValue, jt: step.ifTrue, jf: step.ifFalse, k: step.operand)
        }
        // Safety: the kernel copies the program during the call.
        let result = unsafe steps.withUnsafeMutableBufferPointer { buffer in
            var program = unsafe sock_fprog(len: UInt16(buffer.count), filter: buffer.baseAddress)
            return unsafe setsockopt(
                second, SOL_SOCKET, SO_ATTACH_FILTER, &program,
                socklen_t(MemoryLayout<sock_fprog>.size))
        }
        guard result == 0 else { throw SystemError("SO_ATTACH_FILTER") }
        self.sender = sender
        self.receiver = receiver
    }

    /// Whether a frame arrives.
    func passes(_ frame: [UInt8]) throws -> Bool {
        var buffer = [UInt8](repeating: 0, count: frame.count + 1)
        // Safety: the calls read and write as many bytes as the arrays have. A datagram that the program
        // drops counts as sent.
        guard unsafe send(sender.fileDescriptor, frame, frame.count, 0) == frame.count else {
            throw SystemError("send")
        }
        let count = unsafe recv(receiver.fileDescriptor, &buffer, buffer.count, 0)
        return count == frame.count
    }
}
