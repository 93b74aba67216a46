import ArgumentParser
import Doctor

/// `podwire doctor`: checks a node.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Finds what would keep an agent from its work on this node.",
        usage:
            "podwire doctor [--strict] [--json | --manifest] [<options of podwire agent>]",
        discussion: """
            It checks settings, capabilities, kernel, memory, edges, networks, data paths, connection \
            tracking, sensors, files and the clock. For each check it prints what it found and, if \
            there is something to know or to do, what that means and what to do. It changes nothing, \
            and sends nothing but an empty connection to each sensor.

            It takes all options of `podwire agent` (--help-hidden lists them) and its variables, so \
            run it where the agent will run and with the same settings. Inside the container of a running agent it needs no \
            options. Where nothing is set yet it examines the rest, and proposes the networks to set.

              podwire doctor
              podwire doctor --manifest
              podwire doctor --sensor 192.0.2.10 --pod-network 10.244.0.0/16 \\
                  --service-network 10.96.0.0/12

            As the command of an init container it keeps the agent off a node on which the agent \
            would not start or not capture, and its log has the reason. A sensor that cannot be \
            reached is a warning, since the agent waits for it.

              failed    the agent would not start, or would capture nothing
              warning   the agent runs, but something is missed, doubled or at risk
              note      worth knowing
              ok        all is well

            Exit code 0: no check has failed. 1: a check has failed, such as that of a setting that \
            cannot be understood; with --strict there is a warning; with --manifest something that an \
            agent needs is not known, or is known of this node alone. 64: an option cannot be understood.
            """)

    @Flag(help: "Exit with code 1 also if there are warnings.")
    var strict = false

    @Flag(help: "Print JSON: an object with the findings and the number of each grade.")
    var json = false

    @Flag(
        help: """
            Print the `env:` list for k8s/podwire.yaml instead, in YAML: what is set, and what is \
            proposed.
            """)
    var manifest = false

    @OptionGroup var display: DisplayOptions

    @OptionGroup(visibility: .hidden) var options: AgentOptions

    func validate() throws {
        guard !manifest || !json && !strict else {
            throw ValidationError("--manifest: it goes with neither --json nor --strict")
        }
    }

    func run() throws {
        let examination = Doctor.examine(options.examinedSettings())
        if manifest {
            let manifest = EnvironmentManifest(examination)
            try writeToStandardOutput(manifest.text)
            if !manifest.isComplete { throw ExitCode.failure }
            return
        }
        let report = DoctorReport(Doctor.findings(examination))
        try writeToStandardOutput(json ? report.json : report.text(in: display.window))
        if report.hasFailed(strictly: strict) { throw ExitCode.failure }
    }
}
