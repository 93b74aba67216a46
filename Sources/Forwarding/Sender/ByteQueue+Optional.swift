import Linux

/// A queue that can be elsewhere.
extension Optional where Wrapped == ByteQueue {
    /// How many bytes wait in it; none if it is not here.
    var byteCount: Int {
        switch self {
        case .some(let queue): queue.byteCount
        case .none: 0
        }
    }
}
