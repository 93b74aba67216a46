import Formats
import Testing

@Suite("The text of JSON")
struct JSONTextTests {
    @Test(
        "is one line, whatever is in it",
        arguments: [
            (JSON.null, "null"), (.boolean(true), "true"), (.number(-7), "-7"),
            (.number(.max), "9223372036854775807"),
            (.array([]), "[]"), (.array([.number(1), .null]), "[1, null]"),
            (.object([]), "{}"), (.object([("a\"b", .text("c"))]), #"{"a\"b": "c"}"#),
            (.text(#"\"#), #""\\""#), (.text("a\nb\r\t\u{0}"), #""a\u000ab\u000d\u0009\u0000""#),
            (.text("\r\n"), #""\u000d\u000a""#),
            (.text("\u{7f}\u{85}\u{9b}"), #""\u007f\u0085\u009b""#),
            (.text("\u{2028}\u{2029}\u{202e}"), #""\u2028\u2029\u202e""#),
            (.text("\u{e0001}"), #""\udb40\udc01""#),
            (.text("grün 水 🦊"), "\"grün 水 🦊\""), (.text("e\u{301}"), "\"e\u{301}\""),
        ])
    func texts(value: JSON, text: String) {
        // As bytes: equal characters may be written in more than one way.
        #expect(Array(value.text.utf8) == Array(text.utf8))
    }
}
