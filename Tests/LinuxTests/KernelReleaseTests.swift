import Linux
import Testing

@Suite("A kernel's release")
struct KernelReleaseTests {
    @Test(
        "is what uname says",
        arguments: [
            ("6.1.0-18-amd64", "6.1"), ("5.10.0", "5.10"), ("6.18.44-x", "6.18"), ("4.4", "4.4"),
            ("6-1", "6.1"), ("linux-6.1", "nil"), ("6", "nil"), ("", "nil"),
        ])
    func reads(text: String, expected: String) {
        #expect((KernelRelease(text)?.description ?? "nil") == expected)
    }

    @Test("has an order, by numbers and not by text")
    func order() {
        #expect(KernelRelease(5, 15) < KernelRelease(6, 2))
        #expect(KernelRelease(6, 2) < KernelRelease(6, 10))
        #expect(KernelRelease.current.map { $0 > KernelRelease(4, 0) } == true)
    }
}
