import HTTPEndpoint
import Testing

@Suite("The target of a request")
struct RequestTargetTests {
    @Test(
        "has a path, and a query behind the first question mark",
        arguments: [
            ("/readyz", "/readyz", nil),
            ("/readyz?", "/readyz", nil),
            ("/readyz?revision=0.2.0", "/readyz", "0.2.0"),
            ("/readyz?revision=a/b?c=d", "/readyz", "a/b?c=d"),
            ("/readyz?verbose&revision=1&revision=2", "/readyz", "1"),
            ("/readyz?revision", "/readyz", ""),
            ("/readyz?revision=", "/readyz", ""),
            ("/readyz?revisions=1&&=", "/readyz", nil),
            ("?revision=1", "", "1"),
            ("", "", nil),
            ("http://node/readyz", "http://node/readyz", nil),
        ])
    func parts(text: String, path: String, revision: String?) {
        let target = RequestTarget(text)
        #expect(target.path == path)
        #expect(target.value(of: "revision") == revision)
    }
}
