import Log
import Testing
import Time

@Suite("A throttle for what to do about failures")
struct RemedyThrottleTests {
    @Test("lets each remedy into a few lines a minute")
    func lines() {
        var throttle = RemedyThrottle()
        let lines: [(second: Int, remedy: String, isAdmitted: Bool)] = [
            (0, "start it", true), (0, "start it", true), (1, "correct it", true),
            (2, "start it", true), (3, "start it", false), (59, "start it", false),
            (59, "correct it", true), (60, "start it", true), (60, "correct it", true),
            (60, "correct it", false), (61, "correct it", true),
        ]
        for line in lines {
            let isAdmitted = throttle.admit(line.remedy, now: .zero + .seconds(line.second))
            #expect(isAdmitted == line.isAdmitted, "\(line)")
        }
    }

    @Test("forgets remedies where there are more than it remembers")
    func bound() {
        var throttle = RemedyThrottle()
        for _ in 0..<RemedyThrottle.lineCountMax { _ = throttle.admit("start it", now: .zero) }
        let isAdmitted = throttle.admit("start it", now: .zero)
        #expect(!isAdmitted)
        for number in 0..<RemedyThrottle.countMax { _ = throttle.admit("\(number)", now: .zero) }
        let isAdmittedAnew = throttle.admit("start it", now: .zero)
        #expect(isAdmittedAnew)
    }
}
