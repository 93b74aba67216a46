import Addressing

/// The form in which a cable would have carried a captured frame.
///
/// A partial checksum is completed, a GSO packet is cut into segments, and a VLAN tag that the
/// kernel took out is put back. The repair is decided once for a frame, from its headers; what they
/// and the offload claim is compared with the bytes there are. Then each segment is written by
/// itself, in one pass over its bytes, into exactly as much memory as is kept of it. Nothing is
/// allocated.
///
/// If addresses are translated, that comes first: so the frame is translated once and not segment
/// by segment, and a filter in between sees it whole. The pseudo-header's sum is computed from the
/// addresses and not taken from the frame, so it need not be right there.
package struct WireForm: Sendable {
    package let repair: Repair
    /// The tag that is put back; nil also if not even the frame's addresses were captured.
    package let tag: VLANTag?
    let work: Work
    let frameByteCount: Int
    /// The number of the frame's bytes that were not captured.
    private let missingByteCount: Int

    /// The repair that a frame needs.
    package enum Repair: Equatable, Sendable {
        /// None, except perhaps for the tag.
        case none
        case checksum
        case segments(count: Int)
        /// The frame is written as it was captured.
        case impossible(Obstacle)
    }

    /// The reason for which a frame cannot be repaired.
    package enum Obstacle: Int, Error, CaseIterable, Sendable {
        /// The frame's end was not captured: a block or a program has cut it.
        case cutShort
        /// The frame carries no IP packet, or carries it behind too many tags.
        case notIP
        /// The packet is a fragment, and the checksum covers all fragments.
        case fragment
        /// The packet to repair is inside the frame's packet, or is of another protocol.
        case tunnel
        /// The kind of segmentation is not known: `gso_type`.
        case gsoType
        /// Segments would be empty, larger than the frame, or longer than an IP packet can say.
        case segmentSize
        /// There would be more segments than a kernel makes.
        case segmentCount
        /// The headers are damaged, reach past the frame's end, or cannot be those of segments.
        case headers
        /// The IP or UDP length does not fit the frame.
        case length
        /// The checksum's offset is one where no checksum can be.
        case checksumOffset
        /// The packet has a source route whose last address the checksum covers.
        ///
        /// Only the last router on the route puts that in (RFC 8200, 8.1; RFC 791, 3.1).
        case sourceRoute
    }

    /// The longest headers that segments are given.
    ///
    /// As the kernel's limit for TCP without tunnels (`MAX_TCP_HEADER` in `<net/tcp.h>`). Each
    /// segment has all headers, so longer ones would let a few bytes become many.
    package static let headerByteCountMax = 256

    /// The most segments that a frame of up to 64 KiB is cut into: more than a kernel makes of it.
    ///
    /// TCP's segments have at least 88 bytes (`TCP_MIN_MSS` in `<net/tcp.h>`), and there are at
    /// most 128 datagrams (`UDP_MAX_SEGMENTS` in `<linux/udp.h>`). A frame with more is made to
    /// turn a few bytes into many.
    package static let segmentCountMax = 1024

    /// The smallest segments of a frame that has more than `segmentCountMax` of them.
    ///
    /// Segments of 64 bytes are 1,024 for each 64 KiB of payload. The kernel's least TCP segment of 88
    /// bytes has some of them in options.
    package static let segmentByteCountMin = 64

    /// Decides which repair a frame needs.
    ///
    /// - Parameters:
    ///   - frame: the bytes that were captured.
    ///   - wireByteCount: the length of the frame before it was cut.
    ///   - offload: the work that the sender left to the device.
    ///   - vlan: the tag that the kernel has taken out.
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

    /// The number of frames that this one becomes: at least one.
    package var segmentCount: Int {
        if case .segments(let count) = repair { count } else { 1 }
    }

    /// Returns the number of bytes to write of a segment, tag included.
    package func byteCount(ofSegment index: Int) -> Int {
        if case .cut(let cut) = work {
            tagByteCount + cut.headerByteCount + cut.payload(of: index).count
        } else {
            tagByteCount + frameByteCount
        }
    }

    /// Returns the length of a segment on the wire, which is more if the end was not captured.
    package func wireByteCount(ofSegment index: Int) -> Int {
        byteCount(ofSegment: index) + missingByteCount
    }

    /// The number of bytes to write of all segments.
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
    /// The repair with all that is known about the frame.
    enum Work: Sendable {
        case copy
        case sum(Coverage)
        /// SCTP's checksum is a CRC32c (RFC 9260, 6.8), which senders leave to the device as well.
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

    /// A checksum and the bytes that it covers.
    struct Coverage: Sendable {
        let bytes: Range<Int>
        /// The offset of the checksum in the frame.
        let field: Int
        /// The sum of what it covers beside the bytes, less what its own field holds.
        let start: InternetSum
        /// Whether it must not be 0: for UDP that means that there is none (RFC 768).
        let avoidsZero: Bool
    }

    /// A GSO packet with the way to cut it into segments.
    struct Cut: Sendable {
        let layout: Layout
        let segmentByteCount: Int
        let segmentCount: Int
        /// The difference between the IPv4 identifications of one segment and the next: 0 or 1.
        let identificationStep: Int
        /// The TCP flags that only the first segment keeps: CWR if it answers a congestion mark.
        ///
        /// With Accurate ECN the flag is part of a counter, and all segments have it.
        let firstSegmentFlags: UInt16
        /// The TCP flags that only the last segment keeps: FIN and PSH.
        ///
        /// The kernel chains segments only if they all have the same flags (`tcp_gro_receive`).
        let lastSegmentFlags: UInt16
        /// The sum of the IPv4 header without what differs from segment to segment.
        ///
        /// These fields are left out: length, identification and checksum.
        let networkSum: InternetSum
        /// The sum of pseudo-header and transport header without what differs between segments.
        ///
        /// These fields are left out: lengths, sequence number, flags and checksum. Thanks to the
        /// sum nothing is read back that was just written, which is slow, and nothing has to be
        /// written that is not kept.
        let transportSum: InternetSum

        /// The length of a segment's headers, without a tag that is put back.
        var headerByteCount: Int { layout.payload - layout.jumboByteCount }
        var payloadByteCount: Int { layout.end - layout.payload }

        /// Returns where a segment's payload is in the frame.
        @inline(__always)
        func payload(of index: Int) -> Range<Int> {
            precondition(index >= 0 && index < segmentCount)
            let start = layout.payload + index * segmentByteCount
            return start..<min(start + segmentByteCount, layout.end)
        }
    }
}
