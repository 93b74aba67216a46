import Taps
import Testing

@Suite("Messages between agent and opener")
struct PodSocketMessagesTests {
    private let request = PodSocketRequest(hostIndex: 0x0102_0304, namespaceID: 5, podIndex: 6)
    private let bytes: [UInt8] = [0x70, 0x77, 0x71, 1, 1, 2, 3, 4, 0, 0, 0, 5, 0, 0, 0, 6]

    @Test("have these bytes")
    func goldenBytes() {
        #expect(request.bytes == bytes)
        #expect(PodSocketRequest(bytes) == request)
        let answer = PodSocketAnswer(to: request, failedStep: .entry, errno: 1)
        #expect(answer.bytes == [0x70, 0x77, 0x61, 1] + bytes + [0, 0, 0, 6, 0, 0, 0, 1])
        #expect(PodSocketAnswer(answer.bytes) == answer)
        let success = PodSocketAnswer(to: request, failedStep: nil, errno: 0)
        #expect(PodSocketAnswer(success.bytes) == success)
    }

    @Test(
        "are refused if they are of another length or version, or say what the kernel cannot mean",
        arguments: [
            (0, 0x71), (3, 2), (4, 0x80), (8, 0x80), (12, 0x80),
        ])
    func wrongRequests(offset: Int, value: UInt8) {
        var wrong = bytes
        wrong[offset] = value
        #expect(PodSocketRequest(wrong) == nil)
        #expect(PodSocketRequest(bytes + [0]) == nil)
        #expect(PodSocketRequest(Array(bytes.dropLast())) == nil)
        #expect(PodSocketRequest(bytes.dropLast() + [0]) == nil)
    }

    @Test(
        "are refused as answers if step and reason contradict each other",
        arguments: [(0, 1), (1, 0), (9, 1), (1, -1)])
    func wrongAnswers(step: UInt8, errno: Int8) {
        var wrong = PodSocketAnswer(to: request, failedStep: .link, errno: 5).bytes
        wrong[23] = step
        if errno < 0 { wrong[24] = 0xff } else { wrong[27] = UInt8(errno) }
        #expect(PodSocketAnswer(wrong) == nil)
    }

    @Test("come as answers to their requests, with one descriptor or none")
    func answersToRequests() throws {
        let success = PodSocketAnswer(to: request, failedStep: nil, errno: 0)
        let failure = PodSocketAnswer(to: request, failedStep: .link, errno: 116)
        let check = {
            (bytes: [UInt8], isCut: Bool, count: Int) throws(PodSocketFailure) -> PodSocketAnswer in
            try PodSocketAnswer(
                checking: bytes, isCut: isCut, descriptorCount: count, to: request)
        }
        #expect(try check(success.bytes, false, 1) == success)
        #expect(try check(failure.bytes, false, 0) == failure)
        let other = PodSocketRequest(hostIndex: 1, namespaceID: 5, podIndex: 6)
        let strange = PodSocketAnswer(to: other, failedStep: nil, errno: 0).bytes
        for (bytes, isCut, count) in [
            (success.bytes, true, 1), (success.bytes, false, 0), (success.bytes, false, 2),
            (failure.bytes, false, 1), (strange, false, 1), ([1, 2, 3], false, 1),
        ] {
            let error = #expect(throws: PodSocketFailure.self) {
                _ = try check(bytes, isCut, count)
            }
            #expect(error?.reason == .answer)
        }
    }
}
