import Glibc
import Linux
import Testing

@Suite("A system error")
struct ErrorTests {
    @Test("names the call and the kernel's reason")
    func text() {
        let error = SystemError("connect", .connectionRefused)
        #expect("\(error)" == "connect: Connection refused")
        #expect(error.reason == "Connection refused")
        #expect(error == SystemError("connect", Errno(rawValue: ECONNREFUSED)))
        #expect("\(Errno.noMemory)" == "Cannot allocate memory")
    }

    @Test("is thrown with the reason that the call has left")
    func current() {
        #expect(throws: SystemError("close", Errno(rawValue: EBADF))) {
            try call("close") { close(-1) }
        }
    }

    @Test("is not thrown for a call that a signal has interrupted, which is repeated")
    func interrupted() throws {
        var count = 0
        let result = try call("read") { () -> Int in
            count += 1
            guard count < 3 else { return 7 }
            errno = EINTR
            return -1
        }
        #expect(result == 7 && count == 3)
    }
}
