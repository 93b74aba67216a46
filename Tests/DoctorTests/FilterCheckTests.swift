import Doctor
import Filter
import Settings
import Testing

/// What the doctor finds of the agent's filter.
@Suite("The doctor, about the agent's filter")
struct FilterCheckTests {
    private static func findings(
        of filter: Result<FilterExpression, FilterFile.Failure>?
    ) throws -> [Finding] {
        var examination = try ExaminedNode.examination()
        examination.filter = filter
        return Doctor.findings(examination).filter { $0.check == "filter" }
    }

    @Test("says nothing of an agent without one")
    func none() throws {
        #expect(try Self.findings(of: nil).isEmpty)
    }

    @Test("is content with one that the kernel runs")
    func short() throws {
        let found = try Self.findings(of: .success(FilterExpression("tcp port 80")))
        #expect(found.map(\.grade) == [.ok])
        #expect(found[0].found.hasSuffix("instructions, which the kernel runs"))
    }

    @Test("warns of one that does not fit beside the rule of an edge, and names the edge")
    func long() throws {
        let hosts = (0..<1000).map { "host 192.\($0 % 7).\($0 / 250).\($0 % 250)" }
        let filter = try FilterExpression(hosts.joined(separator: " or "))
        let found = try Self.findings(of: .success(filter))
        #expect(found.map(\.grade) == [.warning])
        #expect(found[0].found.hasSuffix("do not fit beside the rule of v6"))
    }

    @Test("fails with the fault of a file that cannot be read or understood")
    func broken() throws {
        do throws(FilterFile.Failure) {
            _ = try FilterFile.read("/nonexistent/filter")
            Issue.record("a file that is not there was read")
        } catch {
            let found = try Self.findings(of: .failure(error))
            #expect(found.map(\.grade) == [.failed])
            #expect(found[0].found.contains("/nonexistent/filter: No such file or directory"))
        }
    }
}
