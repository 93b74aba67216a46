/// A part of podwire that reads bytes from outside, and the laws that hold for any bytes.
///
/// The guided fuzzer calls `check` with bytes that it changes step by step, so that they take paths
/// through the code that no bytes have taken before. A law that is broken, a trap, a wrong access to
/// memory and a call that does not end are findings. Nothing stays from one call to the next: a
/// finding comes again with its bytes.
package struct FuzzTarget: Sendable {
    /// The name, which is that of its folder in the corpus.
    package let name: String
    /// The bytes that it reads, in a few words.
    package let summary: String
    /// The longest input that is worth its time.
    package let byteCountMax: Int
    private let body: @Sendable ([UInt8]) throws(BrokenLaw) -> Void

    init(
        _ name: String, _ summary: String, byteCountMax: Int,
        _ body: @escaping @Sendable ([UInt8]) throws(BrokenLaw) -> Void
    ) {
        (self.name, self.summary) = (name, summary)
        (self.byteCountMax, self.body) = (byteCountMax, body)
    }

    /// Reads the bytes.
    ///
    /// - Throws: The first law that they break.
    package func check(_ bytes: [UInt8]) throws(BrokenLaw) {
        if bytes.count <= byteCountMax { try body(bytes) }
    }

    /// All targets, in the order in which they run.
    package static let all = [
        ServerTarget.target, ClientTarget.target, PacketsTarget.target, FramesTarget.target,
        RuleTarget.target, ExplainTarget.target, NetlinkTarget.target, CapturesTarget.target,
        ProgramsTarget.target, NamesTarget.target, OpenerTarget.target, SettingsTarget.target,
        TextsTarget.target, UsersTarget.target, CiliumTarget.target, FilterTarget.target,
    ]
}

/// A law that does not hold, in words.
package struct BrokenLaw: Error, CustomStringConvertible {
    package let description: String
}

/// Throws unless a law holds.
func require(_ holds: Bool, _ text: @autoclosure () -> String) throws(BrokenLaw) {
    if !holds { throw BrokenLaw(description: text()) }
}

/// Returns a value that has to be there.
func require<Value>(_ value: Value?, _ text: @autoclosure () -> String) throws(BrokenLaw) -> Value {
    guard let value else { throw BrokenLaw(description: text()) }
    return value
}
