import Formats
import Testing

@Suite("A table of text")
struct ColumnsTests {
    private static let head = ["EDGE", "WHY"]
    private static let sentence = "one end is not a pod: only this edge sees it"

    @Test("is as wide as its cells where it fits")
    func fits() {
        let text = Columns.text(Self.head, [["va", Self.sentence]], width: 50)
        #expect(text == Columns.text(Self.head, [["va", Self.sentence]]))
        #expect(text == "EDGE  WHY\nva    \(Self.sentence)\n")
    }

    @Test("breaks the last column between words, beside the others")
    func beside() {
        let text = Columns.text(Self.head, [["va", Self.sentence], ["vb", "no"]], width: 40)
        #expect(
            text == """
                EDGE  WHY
                va    one end is not a pod: only this
                      edge sees it
                vb    no

                """)
    }

    @Test("has the last column below the others if they leave no room")
    func below() {
        let text = Columns.text(Self.head, [["va", Self.sentence], ["vb", ""]], width: 37)
        #expect(
            text == """
                EDGE
                va
                    one end is not a pod: only this
                    edge sees it
                vb

                """)
    }
}
