import Addressing

/// What a captured frame takes to become what a cable would have carried: its checksum finished, or
/// segments made of it, and the VLAN tag put back that the kernel has taken out.
///
/// It is decided once for a frame, from its headers, and believes nothing that they or the offload
/// say before it is compared with the bytes there are. Then each segment is written by itself, in one
/// pass over its bytes, into exactly as much memory as is to be kept of it. Nothing is allocated.
///
/// A frame whose addresses are translated comes here *after* that, as one frame: translated once and
/// not segment by segment, and a filter in between sees it whole. The pseudo-header's sum in the frame
/// is not used. It is taken anew from the addresses, so it does not matter whether the translation
/// has kept it right.
package struct WireForm: Sendable {
    package let repair: Repair
    /// What is put back. Nothing can be if not even the addresses were captured.
    package let tag: VLANTag?
    let work: Work
    let frameByteCount: Int
    /// How much of the frame was not captured.
    private let missingByteCount: Int

    package enum Repair: Equatable, Sendable {
        /// Nothing, but perhaps for the tag.
        case none
        case checksum
        case segments(count: Int)
        /// It is written as it was captured.
        case impossible(Obstacle)
    }

    /// Why a frame cannot be repaired.
    package enum Obstacle: Int, Error, CaseIterable, Sendable {
        /// Its end was not captured: a block or a program has cut it.
        case cutShort
        /// It carries something other than IP, or that behind more tags than are looked behind.
        case notIP
        /// It is a piece of a datagram, whose checksum covers all pieces.
        case fragment
        /// Not its packet is to be segmented but one inside that. Or one of another protocol than the
        /// packet's, and there is none.
        case tunnel
        /// Its segmentation is of no kind that is known.
        case gsoType
        /// Its segments would be empty, larger than itself, or longer than an IP packet can say.
        case segmentSize
        /// It would make more segments than a kernel makes.
        case segmentCount
        /// Its headers are damaged, or reach behind its end, or are such that no segments have them.
        case headers
        /// Its IP or UDP length is not its own.
        case length
        /// Its checksum is said to be somewhere it cannot be.
        case checksumOffset
        /// Its checksum is over an address that only the last router of a given route puts in
        /// (RFC 8200, 8.1; RFC 791, 3.1).
        case sourceRoute
    }

    /// As long as the kernel itself lets headers be in front of what TCP sends (`MAX_TCP_HEADER` in
    /// `<net/tcp.h>`), tunnels apart. Each segment has all of them, so longer ones would let a few
    /// bytes become many.
    package static let headerByteCountMax = 256

    /// More than a kernel makes of 64 KiB: TCP's segments have 88 bytes at least (`TCP_MIN_MSS` in
    /// `<net/tcp.h>`), and there are 128 datagrams at most (`UDP_MAX_SEGMENTS` in `<linux/udp.h>`).
    /// Beyond that somebody wants a few bytes to become many.
    package static let segmentCountMax = 1024

    /// Decides about a frame of which these bytes were captured.
    package init(
        _ frame: RawSpan, wireByteCount: Int, _ offload: Offload, vlan: VLANTag? = nil
    ) {
        tag = frame.byteCount >= VLANTag.offset ? vlan : nil
        frameByteCount = frame.byteCount
        missingByteCount = max(0, wireByteCount - frame.byteCount)
        guard offload.isPending else {
            (repair, work) = (.none, .copy)
            return
        }
        do throws(Obstacle) {
            guard missingByteCount == 0 else { throw .cutShort }
            work = try Work(frame, offload)
            repair = work.repair
        } catch {
            (repair, work) = (.impossible(error), .copy)
        }
    }

    /// How many frames it becomes: at least one.
    package var segmentCount: Int {
        if case .segments(let count) = repair { count } else { 1 }
    }

    /// How many bytes there are to write of one of them, the tag among them.
    package func byteCount(ofSegment index: Int) -> Int {
        if case .cut(let cut) = work {
            tagByteCount + cut.headerByteCount + cut.payload(of: index).count
        } else {
            tagByteCount + frameByteCount
        }
    }

    /// How long it is on the wire. That is more where the end was not captured.
    package func wireByteCount(ofSegment index: Int) -> Int {
        byteCount(ofSegment: index) + missingByteCount
    }

    /// How many bytes there are to write of all of them.
    package var byteCount: Int {
        if case .cut(let cut) = work {
            segmentCount * (tagByteCount + cut.headerByteCount) + cut.payloadByteCount
        } else {
            tagByteCount + frameByteCount
        }
    }

    var tagByteCount: Int { tag == nil ? 0 : VLANTag.byteCount }
}

extension WireForm {
    /// What is to be done, with all that was found out about the frame.
    enum Work: Sendable {
        case copy
        case sum(Coverage)
        /// SCTP has a checksum of its own kind (RFC 9260, 6.8), and the same way to leave it undone.
        case crc(Coverage)
        case cut(Cut)

        var repair: Repair {
            switch self {
            case .copy: .none
            case .sum, .crc: .checksum
            case .cut(let cut): .segments(count: cut.segmentCount)
            }
        }
    }

    /// A checksum, and what it covers.
    struct Coverage: Sendable {
        let bytes: Range<Int>
        /// Where it belongs in the frame.
        let field: Int
        /// What it covers beside the bytes, and what they have in its place that it does not.
        let start: InternetSum
        /// A UDP checksum of 0 would say that there is none (RFC 768).
        let avoidsZero: Bool
    }

    /// A frame to be cut into segments.
    struct Cut: Sendable {
        let layout: Layout
        let segmentByteCount: Int
        let segmentCount: Int
        /// The IPv4 header without what differs from segment to segment: length, identification, and
        /// its checksum.
        let networkSum: InternetSum
        /// The pseudo-header and the transport's header, without lengths, sequence number, flags and
        /// checksum. So nothing is read back that has just been written, which processors are slow
        /// at, and nothing that is not kept has to be written.
        let transportSum: InternetSum

        /// How long a segment's headers are, without a tag that is put back.
        var headerByteCount: Int { layout.payload - layout.jumboByteCount }
        var payloadByteCount: Int { layout.end - layout.payload }

        /// Where a segment's payload is in the frame.
        func payload(of index: Int) -> Range<Int> {
            precondition(index >= 0 && index < segmentCount)
            let start = layout.payload + index * segmentByteCount
            return start..<min(start + segmentByteCount, layout.end)
        }
    }
}
