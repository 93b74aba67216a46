import Addressing
import FuzzSupport
import ObservationFixtures
import Packets
import Testing

/// Wire forms, read as a receiver would read them.
///
/// Checksums are computed by code of the tests, as RFC 1071 says, and not by the code under test.
@Suite("A wire form")
struct WireFormTests {
    private static let tag = VLANTag(tag: 0xa00c, etherType: 0x8100)

    @Test("cut and put together again is the original", arguments: 0..<4 as Range<UInt64>)
    func segments(seed: UInt64) {
        var generator = RandomNumbers(seed)
        for number in 0..<250 {
            var original = GSOPacket.random(with: &generator)
            if original.segmentByteCount == 0, Bool.random(using: &generator) {
                original.padding = [1, 2, 3, 4, 5]
            }
            if number % 4 == 0 { original.identification = 0 }
            original.dontFragment = Bool.random(using: &generator)
            original.answersCongestion = Bool.random(using: &generator)
            original.isChained = original.segmentCount > 1 && Bool.random(using: &generator)
            let frame = original.bytes
            let tag = Bool.random(using: &generator) ? Self.tag : nil
            let form = WireForm(
                frame.wire, wireByteCount: frame.count, original.offload, vlan: tag)
            let expected: WireForm.Repair =
                original.segmentCount > 1 ? .segments(count: original.segmentCount) : .checksum
            #expect(form.repair == expected, "\(number): \(original)")
            guard let segments = written(form, frame) else {
                Issue.record("\(number): \(original)")
                return
            }
            #expect(segments.reduce(0) { $0 + $1.count } == form.byteCount)
            let fault = Receiver(original: original, tag: tag).fault(in: segments)
            #expect(fault == nil, "\(number): \(original)")
            if fault != nil { return }
        }
    }

    @Test("has the whole segment's headers even if only its beginning is kept")
    func cutShort() throws {
        var generator = RandomNumbers(9)
        for number in 0..<60 {
            let original = GSOPacket.random(with: &generator, payloadByteCountMax: 400)
            let frame = original.bytes
            let tag = number % 2 == 0 ? Self.tag : nil
            let form = WireForm(
                frame.wire, wireByteCount: frame.count, original.offload, vlan: tag)
            let whole = try #require(written(form, frame))
            for limit in 0..<300 {
                let kept = written(form, frame, keeping: limit)
                let isSame = kept == whole.map { Array($0.prefix(limit)) }
                #expect(isSame, "\(limit) bytes of \(original)")
                if !isSame { return }
            }
        }
    }

    @Test("is the frame itself if nothing is left to do, except for the tag")
    func asItIs() {
        let frame = Array(0..<100 as Range<UInt8>)
        var form = WireForm(frame.wire, wireByteCount: 2000, .none)
        #expect(form.repair == .none && form.wireByteCount(ofSegment: 0) == 2000)
        #expect(written(form, frame) == [frame])
        form = WireForm(frame.wire, wireByteCount: 2000, .none, vlan: Self.tag)
        #expect(form.wireByteCount(ofSegment: 0) == 2004)
        #expect(written(form, frame) == [frame[..<12] + [0x81, 0x00, 0xa0, 0x0c] + frame[12...]])
        for byteCount in 0..<20 {
            let cut = Array(frame.prefix(byteCount))
            let form = WireForm(cut.wire, wireByteCount: byteCount, .none, vlan: Self.tag)
            #expect(written(form, cut)?.first?.count == byteCount + (byteCount < 12 ? 0 : 4))
        }
    }

    @Test("is the same whether a frame is translated first or its segments are")
    func translated() throws {
        var generator = RandomNumbers(5)
        for _ in 0..<100 {
            var original = GSOPacket.random(with: &generator)
            // Translation does not read behind tags.
            (original.tags, original.isSumRight) = ([], true)
            original.segmentByteCount = min(original.segmentByteCount, original.payload.count)
            let isIPv4 = original.family == .ipv4
            let address = IPAddress(original.family, original.bytes.wire, at: isIPv4 ? 30 : 38)
            let backend = isIPv4 ? IPAddress(ipv4: 0x0af4_0207) : IPAddress(ipv6High: 7, low: 9)
            let client = FlowKey(
                transport: 6, source: address, destination: address, sourcePort: 40_000,
                destinationPort: 8080)
            let reply = FlowKey(
                transport: 6, source: backend, destination: address, sourcePort: 99,
                destinationPort: 40_000)
            let translation = try #require(
                Translation(TrackedFlow(original: client, reply: reply)))
            func translate(_ frame: [UInt8], isPartial: Bool) throws -> [UInt8] {
                var frame = frame
                let packet = try #require(Headers(frame.wire).packet)
                #expect(!isPartial || original.offload.hasPartialChecksum(of: packet))
                var span = frame.mutableSpan
                var bytes = unsafe span.mutableBytes
                translation.apply(to: &bytes, packet, hasPartialChecksum: isPartial)
                return frame
            }
            func segments(_ frame: [UInt8]) throws -> [[UInt8]] {
                let form = WireForm(frame.wire, wireByteCount: frame.count, original.offload)
                return try #require(written(form, frame))
            }
            let first = try segments(translate(original.bytes, isPartial: true))
            let last = try segments(original.bytes).map { try translate($0, isPartial: false) }
            let isSame = first == last
            #expect(isSame, "\(original)")
            let isChanged = try first != segments(original.bytes)
            #expect(isChanged, "\(original)")
        }
    }

    @Test("has no UDP checksum of 0", arguments: [0, 2])
    func checksumOfZero(segmentByteCount: Int) {
        var original = GSOPacket()
        original.isUDP = true
        original.segmentByteCount = segmentByteCount
        var zeroCount = 0
        // Among all payloads of two bytes there is one for which the sum comes out as 0.
        for number in 0...UInt16.max {
            original.payload = [UInt8(number >> 8), UInt8(number & 0xff)]
            if segmentByteCount > 0 { original.payload += original.payload }
            let frame = original.bytes
            let form = WireForm(frame.wire, wireByteCount: frame.count, original.offload)
            var first = [UInt8](repeating: 0, count: form.byteCount(ofSegment: 0))
            var span = first.mutableSpan
            var target = unsafe span.mutableBytes
            form.write(of: frame.wire, into: &target)
            #expect(first[40] != 0 || first[41] != 0)
            if first[40] == 0xff, first[41] == 0xff { zeroCount += 1 }
        }
        #expect(zeroCount > 0)
    }

    @Test("completes the checksum of a packet inside a packet, if that is all that is left to do")
    func tunnel() throws {
        // Inner Ethernet and IP behind a VXLAN header, and a partial checksum of the inner TCP.
        var inner = GSOPacket()
        inner.payload = Array(1...77)
        var outer = GSOPacket()
        outer.isUDP = true
        outer.payload = [8, 0, 0, 0, 0, 0, 1, 0] + inner.bytes
        let frame = outer.bytes
        let start = outer.payloadOffset + 8 + inner.transportOffset
        let offload = Offload(
            needsChecksum: true, checksumStart: UInt16(start), checksumOffset: 16)
        let form = WireForm(frame.wire, wireByteCount: frame.count, offload)
        #expect(form.repair == .checksum)
        let whole = try #require(written(form, frame)?.first)
        let within = Array(whole[(outer.payloadOffset + 8)...])
        #expect(Receiver(original: inner).fault(in: [within]) == nil)
        #expect(whole[..<start] == frame[..<start])
    }

    @Test("completes SCTP's checksum, which is a CRC32c", arguments: [true, false])
    func sctp(isKeptWhole: Bool) {
        // RFC 9260, 3.3.2: an INIT chunk behind the common header.
        var chunk: [UInt8] = [0x9c, 0x40, 0x1f, 0x90, 0, 0, 0, 0, 0, 0, 0, 0]
        chunk += [1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 5, 220, 0, 1, 0, 1, 0, 0, 0, 1]
        let checksum = Checksum.crc32c(of: chunk.wire)
        var header: [UInt8] = [0x45, 0, 0, UInt8(20 + chunk.count), 0, 0, 0, 0, 64, 132, 0, 0]
        header += [10, 0, 0, 1, 10, 0, 0, 2]
        let start = [UInt8](repeating: 2, count: 12) + [8, 0] + header
        // What the field held before does not count.
        chunk.replaceSubrange(8..<12, with: [1, 2, 3, 4])
        let frame = start + chunk
        let offload = Offload(needsChecksum: true, checksumStart: 34, checksumOffset: 8)
        let form = WireForm(frame.wire, wireByteCount: frame.count, offload)
        #expect(form.repair == .checksum)
        chunk.replaceSubrange(
            8..<12, with: (0..<4).map { UInt8(truncatingIfNeeded: checksum >> (8 * $0)) })
        for limit in isKeptWhole ? [frame.count] : Array(0..<frame.count) {
            #expect(
                written(form, frame, keeping: limit) == [Array((start + chunk).prefix(limit))])
        }
    }

    @Test(
        "takes the jumbo option out of a packet that is too long to say so",
        arguments: [true, false])
    func jumbogram(hasOption: Bool) throws {
        var original = GSOPacket()
        original.family = .ipv6
        original.flags = 0x99
        original.payload = (0..<90_001).map { UInt8(truncatingIfNeeded: $0 &* 13 &+ $0 >> 8) }
        original.segmentByteCount = 1428
        original.tcpOptions = [UInt8](repeating: 1, count: 12)
        var captured = original
        if hasOption {
            // RFC 2675, as Linux writes it.
            var option: [UInt8] = [0xc2, 4]
            option.append(bigEndian: UInt32(8 + 32 + original.payload.count))
            captured.extensions = [(0, option)]
        }
        let frame = captured.bytes
        let form = WireForm(
            frame.wire, wireByteCount: frame.count, captured.offload, vlan: Self.tag)
        #expect(form.repair == .segments(count: original.segmentCount))
        let segments = try #require(written(form, frame))
        #expect(Receiver(original: original, tag: Self.tag).fault(in: segments) == nil)
    }

    @Test("sums all bytes, whatever their number and alignment")
    func sums() {
        var generator = RandomNumbers(4)
        let bytes = (0..<400).map { _ in UInt8.random(in: 128...255, using: &generator) }
        for start in 0..<9 {
            for byteCount in 0..<300 {
                let part = Array(bytes[start..<start + byteCount])
                #expect(Checksum.sum(of: part.wire) == plainSum(part))
                let ones = [UInt8](repeating: 0xff, count: byteCount)
                #expect(Checksum.sum(of: ones.wire) == plainSum(ones))
            }
        }
        let long = [UInt8](repeating: 0xff, count: 1 << 20)
        #expect(Checksum.sum(of: long.wire) == 0xffff)
    }

    @Test("reads the offload from its ten bytes")
    func offload() {
        // In native byte order.
        func words(_ values: UInt16...) -> [UInt8] {
            values.flatMap { value in
                UInt16(1).littleEndian == 1
                    ? [UInt8(value & 0xff), UInt8(value >> 8)]
                    : [UInt8(value >> 8), UInt8(value & 0xff)]
            }
        }
        let bytes = [0xff, 3, 0x84] + words(66, 1428, 54, 16)
        #expect(
            Offload(bytes.wire, at: 1)
                == Offload(
                    needsChecksum: true, checksumStart: 54, checksumOffset: 16,
                    segmentation: .tcpOverIPv6, isCongestionReduced: true, segmentByteCount: 1428,
                    headerByteCount: 66))
        let kinds: [(UInt8, Offload.Segmentation)] = [
            (0, .none), (1, .tcpOverIPv4), (5, .udp), (3, .other(3)), (0x21, .other(0x21)),
        ]
        for (type, kind) in kinds {
            let bytes = [2, type] + words(0, 0, 0, 0)
            #expect(Offload(bytes.wire, at: 0).segmentation == kind)
            #expect(!Offload(bytes.wire, at: 0).needsChecksum)
        }
    }
}
