import Agent
import Frames
import Testing

@Suite("The counters of a capture")
struct CaptureCountersTests {
    @Test("have one for each reason why a frame cannot be repaired")
    func obstacles() {
        let counters = CaptureCounters()
        #expect(counters.framesUnrepaired.count == WireForm.Obstacle.allCases.count)
        #expect(
            WireForm.Obstacle.allCases.map(\.rawValue) == Array(0..<counters.framesUnrepaired.count)
        )
    }
}
