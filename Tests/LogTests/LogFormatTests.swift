import Log
import Logging
import Testing

@Suite("A line of the log")
struct LogFormatTests {
    private func line(
        _ format: LogFormat, _ message: String, _ metadata: Logger.Metadata
    ) -> String {
        format.line(time: "T", level: .info, message: message, metadata: metadata)
    }

    @Test(
        "has its keys in order, and nothing in it begins another line",
        arguments: [
            ([:], "", ""),
            (["b": "2", "a": .number(1)], " a=1 b=2", #", "a": 1, "b": "2""#),
            (
                ["user": "eve\nT error x"], #" user="eve\nT error x""#,
                #", "user": "eve\u000aT error x""#
            ),
            (["user": "a b=c\"\\"], #" user="a b=c\"\\""#, #", "user": "a b=c\"\\""#),
            (["user": ""], #" user="""#, #", "user": """#),
            (
                ["user": "\u{2028}\u{9b}\u{1b}[2J"], #" user="???[2J""#,
                #", "user": "\u2028\u009b\u001b[2J""#
            ),
            (["name": "水"], " name=水", #", "name": "水""#),
            (["n": .number(UInt64.max)], " n=18446744073709551615", #", "n": 9223372036854775807"#),
            (
                ["list": ["1", .number(2)]], ##" list="[\"1\", \"2\"]""##,
                #", "list": ["1", 2]"#
            ),
            (["level": "mine", "time": "late"], " level=mine time=late", ""),
        ] as [(Logger.Metadata, String, String)])
    func lines(metadata: Logger.Metadata, text: String, json: String) {
        #expect(line(.text, "it is", metadata) == "T info it is\(text)\n")
        #expect(
            line(.json, "it is", metadata)
                == #"{"time": "T", "level": "info", "message": "it is"\#(json)}"# + "\n")
    }

    @Test("has a message on one line, too")
    func message() {
        #expect(line(.text, "a\nb\u{2029}c\r\nd", [:]) == "T info a b c  d\n")
        #expect(
            line(.json, "a\nb", [:])
                == #"{"time": "T", "level": "info", "message": "a\u000ab"}"# + "\n")
    }

    @Test("is not as long as a peer wants it to be", arguments: [LogFormat.text, .json])
    func length(format: LogFormat) {
        let long = String(repeating: "x", count: 100_000)
        let line = line(format, "m", ["user": .string(long)])
        #expect(line.utf8.count < 4200 && line.contains("xxx..."))
        #expect(self.line(format, long, [:]).utf8.count < 4200)
        let tall = "x" + String(repeating: "\u{301}", count: 100_000)
        #expect(self.line(format, "m", ["user": .string(tall)]).utf8.count < 8400)
    }
}
