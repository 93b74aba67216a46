import Linux
import Testing

@Suite("A backoff")
struct BackoffTests {
    @Test("doubles up to ten seconds and later to half a minute, with jitter, and starts over")
    func delays() {
        var backoff = Backoff()
        let first = [1, 2, 4, 8] + Array(repeating: 10, count: Backoff.firstTryCount - 4)
        for most in first + [20, 30, 30, 30] {
            let delay = backoff.next()
            #expect((.seconds(most) / 2 ... .seconds(most)).contains(delay))
        }
        backoff.reset()
        #expect(backoff.next() <= Backoff.delayMin)
    }

    @Test("is not the same on all nodes")
    func jitter() {
        let delays = (0..<20).map { _ in
            var backoff = Backoff()
            return backoff.next()
        }
        #expect(Set(delays).count > 1)
    }
}
