import Opener
import Testing

@Suite("The opener")
struct OpenerTests {
    @Test("is allowed to do its work here", .enabled("needs root") { true })
    func rights() throws {
        try PodSocketOpener.tryRights()
    }
}
