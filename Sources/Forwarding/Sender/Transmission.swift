/// When a thread of their own sends the packets of a capture.
package enum Transmission: Sendable {
    /// As soon as the thread that forwards them is full.
    case whenFull
    case always
    case never
}
