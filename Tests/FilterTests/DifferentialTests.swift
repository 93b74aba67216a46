import Addressing
import BPF
import Filter
import FuzzSupport
import Glibc
import Testing

/// Filters that libpcap compiles, too.
@Suite("A filter")
struct DifferentialTests {
    /// How many random filters are compared; FILTER_EXPRESSIONS has another number.
    private static let expressionCount =
        unsafe getenv("FILTER_EXPRESSIONS").flatMap { unsafe Int(String(cString: $0)) } ?? 10_000
    private static let frameCount = 48

    private static func frames(_ count: Int) -> [[UInt8]] {
        var generator = RandomNumbers(1)
        return (0..<count).map { _ in RandomFrame.make(with: &generator) }
    }

    @Test("keeps the packets that libpcap's program keeps")
    func random() throws {
        var comparison = Comparison(try Libpcap())
        var expressions = RandomExpression(RandomNumbers(22))
        let frames = Self.frames(2048)
        for number in 0..<Self.expressionCount {
            let sample = (0..<Self.frameCount).map { frames[(number * 31 + $0 * 7) % frames.count] }
            if let fault = try comparison.fault(expressions.next(), sample) {
                Issue.record("\(fault)")
            }
            guard comparison.faultCount < 10 else { break }
        }
        print(comparison)
        #expect(comparison.keptCount > comparison.verdictCount / 20)
        #expect(comparison.comparedCount > Self.expressionCount * 8 / 10)
        #expect(comparison.optimizerCount < comparison.verdictCount / 1000)
        #expect(comparison.shortCount <= comparison.verdictCount / 100_000 + 1)
    }

    @Test("means what it means in libpcap's own tests")
    func suite() throws {
        var comparison = Comparison(try Libpcap())
        let frames = Self.frames(400)
        for text in SuiteExpressions.taken {
            #expect(throws: Never.self) { try FilterExpression(text) }
            if let fault = try comparison.fault(text, frames) { Issue.record("\(fault)") }
        }
        // The library of Debian 12 does not know VXLAN, nor the names of two EtherTypes.
        #expect(comparison.comparedCount >= SuiteExpressions.taken.count - 5)
    }

    @Test("is refused if libpcap refuses it", arguments: SuiteExpressions.refused)
    func refused(text: String) {
        #expect(throws: FilterError.self) { try FilterExpression(text) }
    }

    private typealias Change = @Sendable (Instruction) -> Instruction

    /// Compilers with a fault, as changes of a right one's program.
    private static let wrongCompilers: [(name: String, change: Change)] = [
        ("source and destination swapped", { $0.movingLoads([26: 30, 30: 26, 54: 56, 56: 54]) }),
        ("fragment mask missing", { $0.opcode == .jumpIfAny ? $0.with(0x2000_0000) : $0 }),
        ("IPv6 forgotten", { $0.operand == 0x86dd ? $0.with(0xfffe) : $0 }),
        ("the header's length taken for 20", { $0.opcode == .loadHeaderLengthToX ? .twenty : $0 }),
        ("comparisons that include the number", { $0.opcode == .jumpIfGreater ? $0.atLeast : $0 }),
    ]

    @Test("is told from that of a wrong compiler", arguments: 0..<wrongCompilers.count)
    func wrong(row: Int) throws {
        let (name, change) = Self.wrongCompilers[row]
        var comparison = Comparison(try Libpcap(), changing: change)
        let frames = Self.frames(400)
        for text in CommonFilters.texts { _ = try comparison.fault(text, frames) }
        #expect(comparison.faultCount > 0, "\(name)")
    }

    @Test("takes at most 1.2 times the instructions of libpcap's", arguments: CommonFilters.texts)
    func length(text: String) throws {
        let theirs = try Libpcap().program(text).instructions.count
        #expect(try FilterExpression(text).program.instructions.count * 5 <= theirs * 6)
    }

    @Test("that is a list has libpcap's length and meaning", arguments: [3, 10, 100])
    func lists(count: Int) throws {
        var comparison = Comparison(try Libpcap())
        let frames = Self.frames(1000 / count)
        for text in CommonFilters.lists(count) {
            if let fault = try comparison.fault(text, frames) { Issue.record("\(fault)") }
            let theirs = try Libpcap().program(text).instructions.count
            let ours = try FilterExpression(text).program.instructions.count
            #expect(ours * 20 <= theirs * 21, "\(text.prefix(64))")
        }
    }
}

/// Filters that people write.
enum CommonFilters {
    static let texts = [
        "tcp", "udp", "icmp", "arp", "ip6", "icmp or icmp6", "port 53", "port 80 or port 443",
        "tcp port 443", "udp port 53 and host 10.1.2.3", "host 10.1.2.3", "src host 10.1.2.3",
        "net 10.1.0.0/16", "net 10.1.2.0/24 and not port 22", "host 10.1.2.3 and host 10.1.2.4",
        "host fd00:10::1", "net fd00:10::/32", "portrange 8000-8080", "tcp portrange 1-1023",
        "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "tcp[13] & 2 != 0", "tcp[tcpflags] == tcp-syn",
        "icmp[icmptype] == icmp-echo", "not arp and not broadcast", "ether host 02:00:00:00:00:01",
        "vlan and tcp port 80", "ip[6:2] & 0x1fff != 0", "greater 1000", "ip proto 50",
        "tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)",
        "not (host 10.1.2.3 and port 22)", "src net 10.0.0.0/8 and dst net 192.168.0.0/16",
        "tcp dst port 22 or 80 or 443 or 8080",
    ]

    /// Lists of hosts, networks and ports.
    static func lists(_ count: Int) -> [String] {
        let addresses = (1...count).map { "10.0.\($0 / 200).\($0 % 200)" }
        let ports = (1...count).map { "\($0 * 7)" }
        func joined(_ words: [String], _ prefix: String, _ joint: String) -> String {
            words.map { prefix + $0 }.joined(separator: joint)
        }
        return [
            "host " + joined(addresses, "", " or "),
            "port " + joined(ports, "", " or "),
            "tcp port " + joined(ports, "", " or "),
            joined(ports, "port ", " or "),
            joined(ports, "not port ", " and "),
            "not (" + joined(addresses, "host ", " or ") + ")",
            "tcp and (host " + joined(addresses, "", " or ") + ") and port 80",
            joined(addresses, "src host ", " or "),
            joined((1...count).map { "10.1.\($0).0/24" }, "net ", " or "),
            joined((1...count).map { "fd00::\($0)" }, "host ", " or "),
        ]
    }
}

/// A comparison of verdicts with libpcap's, and what has come out of it.
struct Comparison: CustomStringConvertible {
    private let judge: Libpcap
    private let change: ((Instruction) -> Instruction)?
    private(set) var comparedCount = 0
    private(set) var refusedCount = 0
    private(set) var verdictCount = 0
    private(set) var keptCount = 0
    /// Verdicts in which libpcap's optimized program differs from its other one, which agrees with ours.
    private(set) var optimizerCount = 0
    /// Short packets that libpcap drops for a load on which nothing depends.
    private(set) var shortCount = 0
    /// Filters that are refused for arithmetic that has no result.
    private(set) var stricterCount = 0
    private(set) var faultCount = 0
    private(set) var lengths = (ours: 0, libpcap: 0)

    init(_ judge: Libpcap, changing change: ((Instruction) -> Instruction)? = nil) {
        (self.judge, self.change) = (judge, change)
    }

    var description: String {
        "\(comparedCount) filters compared, \(refusedCount) refused by both, \(stricterCount) here "
            + "only; \(keptCount) of \(verdictCount) packets kept; \(optimizerCount) differ by "
            + "libpcap's optimizer, \(shortCount) by its loads; \(lengths.ours) instructions against "
            + "\(lengths.libpcap)"
    }

    /// What differs for a filter, in words; nil for nothing.
    mutating func fault(_ text: String, _ frames: [[UInt8]]) throws -> String? {
        let ours = Result { () throws(FilterError) in try FilterExpression(text).program }
        let theirs: Program
        do {
            theirs = try judge.program(text)
        } catch {
            if case .failure = ours { refusedCount += 1 }
            return nil
        }
        switch ours {
        case .failure(let error):
            // Libpcap finds some of these faults only where it cannot prove that nothing depends on them.
            if error.reason.contains("divides by zero") || error.reason.contains("31 bits") {
                stricterCount += 1
                return nil
            }
            faultCount += 1
            return "refused: \(error.text(in: text))"
        case .success(let program):
            return try fault(text, try changed(program), theirs, frames)
        }
    }

    private func changed(_ program: Program) throws -> Program {
        guard let change else { return program }
        return try Program(checking: program.instructions.map(change))
    }

    private mutating func fault(
        _ text: String, _ ours: Program, _ theirs: Program, _ frames: [[UInt8]]
    ) throws -> String? {
        comparedCount += 1
        lengths.ours += ours.instructions.count
        lengths.libpcap += theirs.instructions.count
        for frame in frames {
            verdictCount += 1
            let isKept = ours.run(on: frame.wire) > 0
            keptCount += isKept ? 1 : 0
            guard isKept != (theirs.run(on: frame.wire) > 0) else { continue }
            let other = try judge.program(text, isOptimized: false)
            let padded = frame + [UInt8](repeating: 0, count: 256)
            if isKept == (other.run(on: frame.wire) > 0) {
                optimizerCount += 1
            } else if isKept, theirs.run(on: padded.wire) > 0, change == nil {
                shortCount += 1
            } else {
                faultCount += 1
                return
                    "\(text): \(isKept ? "kept" : "dropped") of \(frame.count) bytes: \(frame.hex)"
            }
        }
        return nil
    }
}

extension Instruction {
    fileprivate static let twenty = Self(.loadConstantToX, 20)

    fileprivate var atLeast: Self {
        Self(.jumpIfAtLeast, operand, ifTrue: ifTrue, ifFalse: ifFalse)
    }

    fileprivate func with(_ operand: UInt32) -> Self {
        Self(opcode, operand, ifTrue: ifTrue, ifFalse: ifFalse)
    }

    /// The instruction with another offset, if it loads from one that is listed.
    fileprivate func movingLoads(_ offsets: [UInt32: UInt32]) -> Self {
        guard [.loadWord, .loadHalf].contains(opcode), let offset = offsets[operand] else {
            return self
        }
        return with(offset)
    }
}

extension [UInt8] {
    /// The bytes as text.
    var hex: String {
        map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
    }
}
