import Metrics
import Testing

@Suite("A page of metrics")
struct ExpositionTests {
    private typealias Sample = Exposition.Sample

    private static let frames = Exposition.Family(
        "frames_total", .counter, "Frames, all of them.", labels: ["edge"])

    @Test("has the help, the kind and the samples of each family, in this order")
    func order() {
        var page = Exposition()
        page.add(Self.frames, [Sample(["veth1"], 7), Sample(["veth2"], UInt64.max)])
        page.add(.init("up", .gauge, "Whether it is up."), [Sample(isTrue: true)])
        page.add(.init("age_seconds", .gauge, "Its age, seconds."), [Sample(25)])
        #expect(
            page.text == """
                # HELP frames_total Frames, all of them.
                # TYPE frames_total counter
                frames_total{edge="veth1"} 7
                frames_total{edge="veth2"} 18446744073709551615
                # HELP up Whether it is up.
                # TYPE up gauge
                up 1
                # HELP age_seconds Its age, seconds.
                # TYPE age_seconds gauge
                age_seconds 25

                """)
    }

    @Test(
        "has a backslash before what would end a value",
        arguments: [
            ("veth1", "veth1"), ("a\"b", "a\\\"b"), ("a\\b", "a\\\\b"), ("a\nb", "a\\nb"),
            ("\\n\"\n", "\\\\n\\\"\\n"), ("", ""), ("größe", "größe"), ("a\r\nb", "a\r\\nb"),
            ("a,b=\"c\"}", "a,b=\\\"c\\\"}"),
        ])
    func escaping(value: String, written: String) {
        var page = Exposition()
        let family = Exposition.Family("frames_total", .counter, "", labels: ["edge", "sensor"])
        page.add(family, [Sample([value, "s"], 1)])
        #expect(page.text.hasSuffix("\nframes_total{edge=\"\(written)\",sensor=\"s\"} 1\n"))
    }

    @Test("has a help of one line, in which quotes stay as they are")
    func help() {
        var page = Exposition()
        page.add(.init("a", .gauge, "one \"two\"\nthree \\ four"), [])
        #expect(page.text == "# HELP a one \"two\"\\nthree \\\\ four\n# TYPE a gauge\n")
    }

    @Test("has each set of labels once")
    func duplicates() {
        var page = Exposition()
        page.add(Self.frames, [Sample(["veth1"], 1), Sample(["veth1"], 2), Sample(["veth2"], 3)])
        #expect(
            page.text.hasSuffix(
                "\nframes_total{edge=\"veth1\"} 1\nframes_total{edge=\"veth2\"} 3\n"))
        // One letter, and two that look like it: two interfaces can be named so.
        page = Exposition()
        page.add(Self.frames, ["\u{e9}", "e\u{301}"].map { Sample([$0], 1) })
        #expect(page.text.split(separator: "\n").count == 4)
    }

    @Test("cannot have a family twice")
    func families() async {
        await #expect(processExitsWith: .failure) {
            var page = Exposition()
            page.add(Self.frames, [])
            page.add(Self.frames, [])
        }
    }

    @Test("cannot have a sample without the family's labels")
    func labels() async {
        await #expect(processExitsWith: .failure) {
            var page = Exposition()
            page.add(Self.frames, [Sample(1)])
        }
    }
}
