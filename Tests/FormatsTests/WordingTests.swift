import Formats
import Testing

@Suite("Wording")
struct WordingTests {
    @Test("names a few of many")
    func few() {
        #expect(Wording.few([String]()).isEmpty)
        #expect(Wording.few(["a", "b", "c"]) == "a, b, c")
        #expect(Wording.few(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more")
    }

    @Test("counts in the singular and in the plural")
    func count() {
        #expect(Wording.count(1, "edge") == "1 edge")
        #expect(Wording.count(0, "edge") == "0 edges" && Wording.count(2, "edge") == "2 edges")
        let texts = (0...2).map { Wording.count($0, one: "packet is", more: "packets are") }
        #expect(texts == ["0 packets are", "1 packet is", "2 packets are"])
    }

    @Test("pads to a width, and cuts nothing")
    func padded() {
        #expect(Wording.padded("ab", to: 4) == "ab  " && Wording.padded("abc", to: 2) == "abc")
    }

    @Test("breaks a text into lines between words")
    func lines() {
        #expect(Wording.lines("one two three", width: 7, hanging: 2) == ["one two", "  three"])
        #expect(Wording.lines("immeasurable", width: 4) == ["immeasurable"])
        #expect(Wording.lines("", width: 4) == [""])
    }

    @Test("breaks words that are longer than a line, where that is asked for")
    func brokenWords() {
        #expect(
            Wording.lines("immeasurable", width: 4, breaksWords: true) == ["imme", "asur", "able"])
        #expect(
            Wording.lines("see http://example", width: 8, hanging: 2, breaksWords: true)
                == ["see", "  http:/", "  /examp", "  le"])
        // An indent that leaves no room is none.
        #expect(Wording.lines("abc", width: 1, hanging: 2, breaksWords: true) == ["a", "b", "c"])
    }

    @Test("shows no character that moves a terminal's cursor")
    func visible() {
        #expect(
            Wording.visible("a\u{1b}[2Jb\u{202e}\n") == "a?[2Jb??" && Wording.visible("é") == "é")
    }
}
