import CaptureFiles

/// The frames that a sink of Ethernet frames cannot pass on, whatever state it is in.
struct FrameRefusals {
    private var otherLinkTypeCount: UInt64 = 0
    private var shortCount: UInt64 = 0
    private var longCount: UInt64 = 0

    /// The length of an Ethernet header.
    private static let byteCountMin = 14

    /// Counts a frame that cannot be passed on.
    ///
    /// - Returns: False if it can be.
    mutating func refuse(_ frame: RawSpan, linkType: UInt16, byteCountMax: Int) -> Bool {
        if linkType != CaptureInterface.ethernet {
            otherLinkTypeCount &+= 1
        } else if frame.byteCount < Self.byteCountMin {
            shortCount &+= 1
        } else if frame.byteCount > byteCountMax {
            longCount &+= 1
        } else {
            return false
        }
        return true
    }

    /// Adds the counts to those of a sink.
    func add(to counts: inout OutputCounts) {
        counts.addLoss("of another link type than Ethernet", otherLinkTypeCount)
        counts.addLoss("shorter than an Ethernet header", shortCount)
        counts.addLoss("too long", longCount)
    }
}
