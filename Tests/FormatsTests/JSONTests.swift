import Formats
import Testing

@Suite("A JSON value")
struct JSONTests {
    @Test(
        "is written as RFC 8259 has it",
        arguments: [
            (JSON.null, "null"), (.boolean(true), "true"), (.number(-7), "-7"),
            (.text("a\"b\\c\n\u{1}ü"), #""a\"b\\c\u000a\u0001ü""#),
            (.array([.number(1), .array([])]), "[1, []]"),
            (.object([("b", .null), ("a", .text(""))]), #"{"b": null, "a": ""}"#),
        ])
    func texts(value: JSON, text: String) {
        #expect(value.text == text)
    }
}
