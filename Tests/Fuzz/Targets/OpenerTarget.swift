import Taps

/// Messages between the agent and the opener, each read as either.
///
/// The first byte says how a message came: whether it was cut, and with how many descriptors.
enum OpenerTarget {
    static let target = FuzzTarget(
        "opener", "messages between the agent and the opener", byteCountMax: 64, check)

    private static func check(_ bytes: [UInt8]) throws(BrokenLaw) {
        guard let first = bytes.first else { return }
        let message = Array(bytes.dropFirst())
        if let request = PodSocketRequest(message) {
            try require(request.bytes == message, "\(request) has other bytes")
            try require(
                request.namespaceID >= 0 && request.podIndex > 0
                    && max(request.podIndex, request.hostIndex) <= UInt32(Int32.max),
                "numbers that the kernel does not give: \(request)")
        }
        guard let answer = PodSocketAnswer(message) else { return }
        try require(answer.bytes == message, "\(answer) has other bytes")
        try require(
            (answer.failedStep == nil) == (answer.errno == 0), "a contradiction: \(answer)")
        let (isCut, count) = (first & 0x80 != 0, Int(first & 7))
        let isGood = !isCut && count == (answer.failedStep == nil ? 1 : 0)
        var checked: PodSocketAnswer?
        var reason: PodSocketFailure.Reason?
        do throws(PodSocketFailure) {
            checked = try PodSocketAnswer(
                checking: message, isCut: isCut, descriptorCount: count, to: answer.request)
        } catch {
            reason = error.reason
        }
        try require(checked == (isGood ? answer : nil), "it is taken for \(checked as Any)")
        try require(reason == (isGood ? nil : .answer), "it is refused: \(reason as Any)")
    }
}
