import Taps
import Testing

@Suite("Messages between agent and opener")
struct PodSocketMessagesTests {
    private let request = PodSocketRequest(hostIndex: 0x0102_0304, namespaceID: 5, podIndex: 6)

    @Test("have these bytes")
    func bytes() {
        let bytes: [UInt8] = [0x70, 0x77, 0x71, 1, 1, 2, 3, 4, 0, 0, 0, 5, 0, 0, 0, 6]
        #expect(request.bytes == bytes)
        #expect(PodSocketRequest(bytes) == request)
        let answer = PodSocketAnswer(to: request, failedStep: .entry, errno: 1)
        #expect(
            answer.bytes == [0x70, 0x77, 0x61, 1] + bytes + [0, 0, 0, 6, 0, 0, 0, 1])
        #expect(PodSocketAnswer(answer.bytes) == answer)
    }
}
