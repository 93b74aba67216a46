import Glibc
import KernelSupport
import Linux
import Synchronization
import Taps
import Testing
import Time

/// What an opener that is out of order does with a request.
enum Fault: String, CaseIterable, Sendable {
    case closes, isSilent, sendsText, sendsNoDescriptor, sendsTwoDescriptors, sendsPipe
    case answersAnother, sendsTooMuch

    var reason: PodSocketFailure.Reason {
        switch self {
        case .closes, .isSilent: .opener
        default: .answer
        }
    }
}

@Suite("The agent's connection to the opener", .needsOwnNetwork, .timeLimit(.minutes(15)))
struct PodSocketClientTests {
    @Test("fails with a reason if the opener is out of order", arguments: Fault.allCases)
    func faults(_ fault: Fault) throws {
        try inOwnNetwork {
            let pods = try PodFolder()
            try pods.addPod("p1", host: "v1", hostIndex: 101)
            let opener = try FaultyOpener(at: pods.file("socket"), fault)
            let client = PodSocketClient(path: pods.file("socket"))
            var folder = try NamespaceFolder(pods.path)
            let (id, file) = try #require(folder.read().files.first)
            let request = PodSocketRequest(hostIndex: 101, namespaceID: id, podIndex: 2)
            let begin = MonotonicTime.now
            let failure = try #require(
                #expect(throws: PodSocketFailure.self) {
                    _ = try client.open(request, in: file)
                })
            #expect(failure.reason == fault.reason, "\(failure)")
            if fault == .isSilent {
                #expect(MonotonicTime.now - begin >= PodSocketClient.answerTimeMax)
            }
            // It is not asked again at once, whatever the pod.
            let count = opener.requestCount
            #expect(throws: failure) { _ = try client.open(request, in: file) }
            #expect(opener.requestCount == count)
            #expect(client.retryTime.map { $0 > begin } == true)
            opener.end()
        }
    }

    @Test("says that there is no opener, and finds it when it is there")
    func noOpener() throws {
        try inOwnNetwork {
            let pods = try PodFolder()
            try pods.addPod("p1", host: "v1", hostIndex: 101)
            let path = pods.file("socket")
            let client = PodSocketClient(path: path)
            var folder = try NamespaceFolder(pods.path)
            let (id, file) = try #require(folder.read().files.first)
            let request = PodSocketRequest(hostIndex: 101, namespaceID: id, podIndex: 2)
            let missing = SystemError("connect \(path)", .noSuchFileOrDirectory)
            #expect(throws: PodSocketFailure.noOpener(path: path, missing)) {
                _ = try client.open(request, in: file)
            }
            let opener = try FaultyOpener(at: path, .sendsText)
            let time = try #require(client.retryTime)
            sleep(until: time)
            let failure = #expect(throws: PodSocketFailure.self) {
                _ = try client.open(request, in: file)
            }
            #expect(failure?.reason == .answer)
            opener.end()
        }
    }

    @Test("takes a pod whose file is another by now for gone, without asking")
    func goneFile() throws {
        try inOwnNetwork {
            let pods = try PodFolder()
            try pods.addPod("p1", host: "v1", hostIndex: 101)
            try pods.addNamespace("p2")
            let client = PodSocketClient(path: pods.file("no-socket"))
            var folder = try NamespaceFolder(pods.path)
            let (id, file) = try #require(folder.read().files.first)
            let request = PodSocketRequest(hostIndex: 101, namespaceID: id, podIndex: 2)
            try shell("cd \(pods.path) && umount p1 && mount --bind p2 p1")
            var failure = #expect(throws: PodSocketFailure.self) {
                _ = try client.open(request, in: file)
            }
            #expect(failure?.reason == .gone)
            try pods.remove("p1")
            failure = #expect(throws: PodSocketFailure.self) {
                _ = try client.open(request, in: file)
            }
            #expect(failure?.reason == .gone)
            // A pipe in the place of the file keeps nobody waiting.
            try shell("mkfifo \(pods.file("p1"))")
            failure = #expect(throws: PodSocketFailure.self) {
                _ = try client.open(request, in: file)
            }
            #expect(failure?.reason == .gone)
        }
    }
}

/// An opener that does the same wrong thing with each request.
private final class FaultyOpener: Sendable {
    private let worker: Worker
    private let thread: Mutex<Thread?>

    /// The number of requests so far.
    var requestCount: Int { worker.count.load(ordering: .acquiring) }

    init(at path: String, _ fault: Fault) throws {
        worker = Worker(try SequencedListener(at: path), fault, try StopSignal())
        let worker = worker
        thread = Mutex(try Thread { try? worker.serve() })
    }

    func end() {
        worker.stop.give()
        thread.withLock { thread in thread.take()?.join() }
    }
}

/// What a faulty opener's thread does.
private final class Worker: Sendable {
    let stop: StopSignal
    let count = Atomic(0)
    private let listener: SequencedListener
    private let fault: Fault

    init(_ listener: consuming SequencedListener, _ fault: Fault, _ stop: StopSignal) {
        self.listener = listener
        (self.fault, self.stop) = (fault, stop)
    }

    func serve() throws {
        while true {
            let ready = try poll(
                [(stop.fileDescriptor, .readable), (listener.fileDescriptor, .readable)],
                until: nil)
            guard ready[0].isEmpty else { return }
            guard let connection = try listener.accept() else { continue }
            try connection.awaitMessage(until: .now + .seconds(60))
            guard let message = try connection.receive(), !message.bytes.isEmpty else { continue }
            count.add(1, ordering: .releasing)
            try answer(connection, PodSocketRequest(message.bytes))
        }
    }

    private func answer(
        _ connection: borrowing SequencedSocket, _ request: PodSocketRequest?
    ) throws {
        let request = try #require(request)
        let good = PodSocketAnswer(to: request, failedStep: nil, errno: 0).bytes
        switch fault {
        case .closes: return
        case .isSilent: _ = stop.wait(for: .seconds(60))
        case .sendsText: try connection.send(Array("HTTP/1.1 400".utf8))
        case .sendsNoDescriptor: try connection.send(good)
        case .sendsTwoDescriptors: try connection.send(good, passing: [0, 1])
        case .sendsPipe:
            let event = try Event()
            try connection.send(good, passing: [event.fileDescriptor])
        case .answersAnother:
            let other = PodSocketRequest(hostIndex: 9, namespaceID: 9, podIndex: 9)
            let answer = PodSocketAnswer(to: other, failedStep: .link, errno: ESTALE)
            try connection.send(answer.bytes)
        case .sendsTooMuch:
            try connection.send(good + [UInt8](repeating: 0, count: 4096))
        }
        // The client closes the connection when it has understood.
        try connection.awaitMessage(until: .now + .seconds(60))
    }
}
