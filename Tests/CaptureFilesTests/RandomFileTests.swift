import CaptureFiles
import FuzzSupport
import Testing

/// Files of every kind that the reader knows, at random: whole, and then damaged.
@Suite("A capture reader, of random files")
struct RandomFileTests {
    /// A file, and the frames that it has.
    private struct Sample {
        var file = BuiltFile()
        var frames: [CaptureReader.Frame] = []
        private var random: RandomNumbers
        private var isEthernet: [Bool] = []

        init(_ random: RandomNumbers) {
            self.random = random
            if Bool.random(using: &self.random) { buildPcap() } else { buildPcapng() }
        }

        private mutating func number(_ range: ClosedRange<Int>) -> Int {
            Int.random(in: range, using: &random)
        }

        private mutating func newFrame() -> [UInt8] {
            let count = number(0...9) == 0 ? number(0...300_000) : number(0...90)
            return [UInt8](repeating: UInt8(number(0...255)), count: count)
        }

        private mutating func buildPcap() {
            let (isBigEndian, isNano) = (number(0...1) == 1, number(0...1) == 1)
            let isEthernet = number(0...9) > 0
            file = .pcap(
                isBigEndian: isBigEndian, isNano: isNano, linkType: isEthernet ? 1 : 101)
            for _ in 0..<number(0...20) {
                let (seconds, fraction, frame) = (number(0...9), number(0...999_999), newFrame())
                file.addRecord(seconds: UInt32(seconds), fraction: UInt32(fraction), frame)
                let nanoseconds = seconds * 1_000_000_000 + fraction * (isNano ? 1 : 1000)
                if isEthernet {
                    frames.append(.init(nanoseconds: UInt64(nanoseconds), bytes: frame))
                }
            }
        }

        private mutating func buildPcapng() {
            for _ in 0...number(0...3) {
                file.addSection(isBigEndian: number(0...1) == 1)
                isEthernet = []
                for _ in 0..<number(0...20) { addBlock() }
            }
        }

        private mutating func addBlock() {
            guard !isEthernet.isEmpty, number(0...9) > 0 else {
                let linkTypes: [UInt16] = [1, 1, 1, 113]
                let linkType = linkTypes[number(0...3)]
                isEthernet.append(linkType == 1)
                return file.addInterface(linkType: linkType)
            }
            let (interface, time) = (number(0...isEthernet.count - 1), UInt64(number(0...1 << 40)))
            let frame = newFrame()
            switch number(0...3) {
            case 0: return file.addUnknownBlock(frame)
            case 1:
                file.addSimplePacket(wireByteCount: UInt32(frame.count), frame)
                if isEthernet[0] { frames.append(.init(nanoseconds: 0, bytes: frame)) }
                return
            case 2: file.addObsoletePacket(interface: UInt16(interface), time: time, frame)
            default: file.addPacket(interface: UInt32(interface), time: time, frame)
            }
            guard isEthernet[interface] else { return }
            // On the wire it was longer.
            frames.append(
                .init(nanoseconds: time, bytes: frame, wireByteCount: frame.count + 9))
        }
    }

    @Test("finds every frame, and comes to an end if bytes are wrong", arguments: Fuzz.seeds)
    func fuzz(seed: UInt64) throws {
        Fuzz.rounds(from: seed) { seed throws in
            var random = RandomNumbers(seed)
            let sample = Sample(random)
            var file = sample.file.bytes
            let isCompressed = Bool.random(using: &random)
            if isCompressed { file = Gzip.member(file) }
            let (frames, failure) = try ReadFile.read(file)
            guard failure == nil, frames == sample.frames else {
                throw Fuzz.Complaint(
                    "\(frames.count) frames of \(sample.frames.count): \(failure as Any)")
            }
            for _ in 0..<8 {
                var damaged = file
                for _ in 0..<Int.random(in: 1...4, using: &random) where !damaged.isEmpty {
                    let index = Int.random(in: damaged.indices, using: &random)
                    let values: [UInt8] = [0, 1, 0x7f, 0xff, .random(in: 0...255, using: &random)]
                    damaged[index] = values[Int.random(in: 0...4, using: &random)]
                }
                if Bool.random(using: &random) {
                    damaged.removeLast(Int.random(in: 0...damaged.count, using: &random))
                }
                let frames = try ReadFile.read(damaged).frames
                // Each has a record, or a block, of its own. Damaged gzip data may become longer.
                guard
                    isCompressed || frames.reduce(0, { $0 + $1.bytes.count + 16 }) <= damaged.count
                else {
                    throw Fuzz.Complaint("\(frames.count) frames in \(damaged.count) bytes")
                }
            }
        }
    }
}
