import Linux
import Taps
import Testing
import Time

@Suite("What is wrong with a folder of namespaces")
struct NamespaceProblemNewsTests {
    private static func plain(_ count: Int) -> NamespaceProblem {
        .plainFiles(count, example: "/run/netns/\(count)")
    }

    @Test("is news once for each kind, whatever the number of files and the example")
    func kinds() {
        var news = NamespaceProblemNews()
        var now = MonotonicTime(nanoseconds: 1)
        #expect(news.take([Self.plain(1)], now: now) == [Self.plain(1)])
        for count in 2..<100 {
            now += .seconds(10)
            #expect(news.take([Self.plain(count)], now: now) == [])
        }
        let files = ["a", "b", "a"].map { name in
            NamespaceProblem.file(name, SystemError("open \(name)", .permissionDenied))
        }
        let found = files.map { news.take([Self.plain(1), $0], now: now) }
        #expect(found == [[files[0]], [], []])
    }

    @Test("is news again when it is back after a while, and not when it comes and goes")
    func recurrence() {
        var news = NamespaceProblemNews()
        var now = MonotonicTime(nanoseconds: 1)
        let end = now + NamespaceProblemNews.interval
        var lineCount = 0
        while now < end {
            lineCount += news.take([Self.plain(1)], now: now).count
            #expect(news.take([], now: now) == [])
            now += .seconds(1)
        }
        #expect(lineCount == 1)
        #expect(news.take([Self.plain(3)], now: now) == [Self.plain(3)])
    }
}
