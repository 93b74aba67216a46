import Linux
import Testing

@Suite("A TAP device")
struct TapDeviceTests {
    @Test("has a name that an interface can have", arguments: ["pods0", "a", "eth0.7", "x-y_z"])
    func names(name: String) {
        #expect(TapDevice.fault(inName: name) == nil)
    }

    @Test(
        "is refused another name",
        arguments: [
            "", "a234567890123456", "a b", "a/b", "a:1", "pods%d", "\u{e9}", "a\n", ".", "..",
            "all",
            "default",
        ])
    func faults(name: String) {
        #expect(TapDevice.fault(inName: name) != nil)
    }
}
