import Addressing
import RPCAP

/// The data connection: the stream of packets over TCP, and both forms of datagrams.
///
/// The first byte chooses between any bytes, and packets that are written and then read, with
/// datagrams lost, doubled and late.
enum PacketsTarget {
    static let target = FuzzTarget(
        "packets", "packets of an agent on the data connection, over TCP and UDP",
        byteCountMax: 8192, check)

    private static func check(_ bytes: [UInt8]) throws(BrokenLaw) {
        var input = FuzzInput(bytes)
        switch input.byte() & 3 {
        case 0: try checkStream(&input)
        case 1: try checkDatagrams(&input)
        default: try checkRoundTrip(&input)
        }
    }

    private static let frameCountMax = 64

    private struct Seen: Equatable {
        let record: PacketRecord
        let frame: [UInt8]
    }

    /// What a stream's reader returns of bytes that come in pieces, and why it stops.
    private static func read(
        _ pieces: [ArraySlice<UInt8>], snaplen: Int
    ) -> (seen: [Seen], failure: ProtocolFailure?) {
        var stream = PacketStream(snaplen: snaplen)
        var seen: [Seen] = []
        for piece in pieces {
            stream.append(piece)
            do throws(ProtocolFailure) {
                while try stream.next({ seen.append(Seen(record: $0, frame: $1.array)) }) {}
            } catch {
                return (seen, error)
            }
        }
        return (seen, nil)
    }

    private static func checkStream(_ input: inout FuzzInput) throws(BrokenLaw) {
        let (snaplen, seed) = (Int(input.byte()) << 4, input.byte())
        let bytes = input.rest()
        let whole = read([bytes[...]], snaplen: snaplen)
        let cut = read(pieces(of: bytes, seed), snaplen: snaplen)
        try require(
            whole.seen == cut.seen && whole.failure == cut.failure,
            "\(whole.seen.count) packets, \(String(describing: whole.failure)), but cut "
                + "\(cut.seen.count), \(String(describing: cut.failure))")
        for seen in whole.seen {
            try require(
                seen.frame.count == seen.record.byteCount && seen.frame.count <= snaplen,
                "\(seen.record)")
        }
        _ = PacketRecord.count(in: bytes.wire, endingWith: UInt32(seed))
    }

    /// Any datagrams, each behind a byte with its length.
    private static func checkDatagrams(_ input: inout FuzzInput) throws(BrokenLaw) {
        let snaplen = Int(input.byte())
        var reader = DatagramReader(snaplen: snaplen)
        var (count, isRight): (UInt64, Bool) = (0, true)
        while !input.isAtEnd {
            let datagram = input.take(Int(input.byte()))
            count += 1
            reader.read(datagram.wire) { record, frame in
                isRight = isRight && record.byteCount == frame.byteCount
                isRight = isRight && frame.byteCount <= snaplen && record.microseconds < 1_000_000
            }
        }
        try require(isRight, "a frame that is not as its header says")
        try require(
            reader.counts.datagrams == count && reader.counts.notUnderstood <= count,
            "\(reader.counts) of \(count)")
    }

    /// Packets that go the whole way: into records, datagrams, and out again.
    private static func checkRoundTrip(_ input: inout FuzzInput) throws(BrokenLaw) {
        let (choices, limit, seed) = (input.byte(), input.number(UInt16.self), input.byte())
        var frames: [[UInt8]] = []
        var stream: [UInt8] = []
        let fates = input.take(24)
        while !input.isAtEnd, frames.count < frameCountMax {
            let count = Int(input.byte()) << Int(choices >> 4 & 1)
            var frame = [UInt8](repeating: input.byte(), count: count)
            if count > 0 { frame[count - 1] = UInt8(frames.count) }
            frames.append(frame)
            var head = [UInt8](repeating: 0, count: PacketRecord.headerByteCount)
            var span = head.mutableSpan
            var raw = unsafe span.mutableBytes
            PacketRecord.store(
                into: &raw, nanoseconds: UInt64(count), byteCount: count, wireByteCount: count + 1,
                number: UInt32(frames.count))
            stream += head + frame
        }
        let seen = read(pieces(of: stream, seed), snaplen: 1024 << 3).seen
        try require(seen.map(\.frame) == frames, "a stream of other frames")
        let counted = PacketRecord.count(in: stream.wire, endingWith: UInt32(frames.count))
        try require(counted == frames.count, "\(counted) of \(frames.count) counted")
        let format: DatagramWriter.Format = choices & 1 == 0 ? .packet : .udpstr
        let datagrams = try written(stream, format, byteCountMax: Int(limit))
        try checkReading(datagrams, of: frames, fates)
    }

    private static func written(
        _ stream: [UInt8], _ format: DatagramWriter.Format, byteCountMax: Int
    ) throws(BrokenLaw) -> [[UInt8]] {
        var writer = DatagramWriter(format, byteCountMax: byteCountMax)
        var (datagrams, offset): ([[UInt8]], Int) = ([], 0)
        var datagram = [UInt8](repeating: 0, count: writer.byteCountMax)
        while offset < stream.count {
            var span = datagram.mutableSpan
            var raw = unsafe span.mutableBytes
            let rest = stream.wire.extracting(offset..<stream.count)
            let written = try require(
                writer.write(rest, into: &raw, isFlushing: true), "nothing is written")
            try require(
                written.consumedByteCount > 0 && written.byteCount <= writer.byteCountMax,
                "\(written)")
            offset += written.consumedByteCount
            datagrams.append(Array(datagram.prefix(written.byteCount)))
        }
        return datagrams
    }

    /// Reads datagrams of which some are lost, doubled or late, as `fates` has it.
    private static func checkReading(
        _ datagrams: [[UInt8]], of frames: [[UInt8]], _ fates: [UInt8]
    ) throws(BrokenLaw) {
        var sent: [[UInt8]] = []
        for (index, datagram) in datagrams.enumerated() {
            switch fates.isEmpty ? 0 : fates[index % fates.count] {
            case 1: break
            case 2: sent += [datagram, datagram]
            case 3: sent.insert(datagram, at: max(0, sent.count - 2))
            default: sent.append(datagram)
            }
        }
        var reader = DatagramReader(snaplen: 1024 << 3)
        var seen: [Seen] = []
        for datagram in sent {
            reader.read(datagram.wire) { seen.append(Seen(record: $0, frame: $1.array)) }
        }
        for seen in seen {
            let number = Int(seen.record.number)
            try require(
                frames.indices.contains(number - 1) && frames[number - 1] == seen.frame,
                "packet \(number) is another one")
        }
        try require(reader.counts.notUnderstood == 0, "\(reader.counts)")
        if sent == datagrams { try require(seen.map(\.frame) == frames, "\(seen.count) packets") }
    }
}
