import Formats
import Testing

@Suite("A duration")
struct DurationTextTests {
    @Test(
        "is read with its unit, seconds without one",
        arguments: [
            ("90", 90), ("60s", 60), ("5m", 300), ("1h", 3600), ("1d", 86_400), ("0", 0),
            ("3650d", 315_360_000),
        ])
    func reads(text: String, seconds: Int) {
        #expect(Duration(text: text) == .seconds(seconds))
    }

    @Test(
        "is refused where it is none, or more than ten years",
        arguments: ["", "s", "1w", "-1", "3651d", "99999999999d", "18446744073709551615d"])
    func refuses(text: String) {
        #expect(Duration(text: text) == nil)
    }

    @Test(
        "is shown with its two largest units",
        arguments: [
            (0, "0s"), (59, "59s"), (60, "1m 00s"), (200, "3m 20s"), (7500, "2h 05m"),
        ])
    func shows(seconds: Int, text: String) {
        #expect(Duration.seconds(seconds).text == text)
    }
}
