/// The reason why a capture has ended by itself.
package enum CaptureEnd: Sendable, CustomStringConvertible {
    /// The only edge that it captured at is gone.
    case edgeGone
    /// Its data path has failed.
    case failed(SendFailure)

    /// The reason, for the log.
    package var description: String {
        switch self {
        case .edgeGone: "the edge is gone"
        case .failed(let failure): "\(failure)"
        }
    }
}
