import Doctor
import ArgumentParser

struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Checks whether an agent would do its work on this node, and what is in its way.",
        discussion: """
            Looks at capabilities, kernel, memory, edges, networks, data paths, connection tracking, \
            sensors, files and the clock, and says of each what was found; where something is to be \
            known or done, also what it means and what to do. It changes nothing, and sends nothing \
            but an empty connection to each sensor.

            It takes the agent's options and variables, so run it where the agent will run and with \
            its settings; inside the container of a running agent it needs none but the container's:

              podwire doctor --sensor 192.0.2.10 --pod-network 10.244.0.0/16 \\
                  --service-network 10.96.0.0/12

            As the command of an init container it keeps an agent off a node where that would not \
            start or not capture, and tells why in its log. A sensor that cannot be reached is a \
            warning, since the agent waits for it.

              failed    the agent would not start, or not capture anything
              warning   it runs, but something is missed, doubled or at risk
              note      worth knowing
              ok        all is well

            Exit code 0: nothing has failed. 1: something has, or with --strict there is a warning. \
            64: a setting cannot be understood.
            """)

    @Flag(help: "Exit with 1 for warnings, too.")
    var strict = false

    @Flag(help: "Print JSON: an object with the findings, and how many there are of each grade.")
    var json = false

    @OptionGroup var options: AgentOptions

    func run() throws {
        let report = DoctorReport(
            Doctor.examine(try options.readSettings(for: "doctor", needsPeer: false)))
        writeToStandardOutput(json ? report.json : report.text)
        if report.hasFailed(strictly: strict) { throw ExitCode.failure }
    }
}
