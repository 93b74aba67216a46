// swift-tools-version: 6.3

import PackageDescription

/// Every Swift target is held to the same rules; a warning is an error.
let house: [SwiftSetting] = [
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableExperimentalFeature("Lifetimes"),
]

/// A target of this package, held to the rules of the house.
func module(_ name: String, _ dependencies: Target.Dependency...) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: house)
}

/// The tests of a target: of the same name, with "Tests" behind it.
func tests(_ name: String, _ dependencies: Target.Dependency...) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: house)
}

let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let http = ["NIOCore", "NIOPosix", "NIOHTTP1"].map {
    Target.Dependency.product(name: $0, package: "swift-nio")
}

/// The commit of the sources, which tools/lib/release says: no more than a number, perhaps with a plus sign.
let commit: [CSetting] =
    Context.environment["PODWIRE_COMMIT"].map { text in
        text.isEmpty || !text.allSatisfy { $0.isHexDigit || $0 == "+" }
            ? [] : [.define("PODWIRE_COMMIT", to: "\"\(text)\"")]
    } ?? []

/// The guided fuzzer's program, which only tools/fuzz builds: it needs libFuzzer, a sanitizer and a
/// compiler that instruments every module.
let fuzzer: [Target] = [
    .target(name: "CLibFuzzer", path: "Tests/Fuzz/CLibFuzzer"),
    .executableTarget(
        name: "podwire-fuzz", dependencies: ["CLibFuzzer", "FuzzTargets"],
        path: "Tests/Fuzz/Program", swiftSettings: house),
]

let package = Package(
    name: "podwire",
    // Exact versions, so that two builds of a commit have the same ones. The image's SBOM names them,
    // and those of the packages that these bring along.
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
    ],
    targets: [
        // The kernel, libmnl, OpenSSL and zlib, as Swift sees them.
        .target(name: "CLinux", cSettings: [.define("_GNU_SOURCE")]),
        // What the build knows of its sources: of all files only this one differs from commit to commit.
        .target(name: "CBuild", cSettings: commit),
        .systemLibrary(name: "CMnl", pkgConfig: "libmnl", providers: [.apt(["libmnl-dev"])]),
        .systemLibrary(
            name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),

        // Pure logic: no system call, no pointer.
        module("Time"),
        module("Addressing"),
        module("Packets", "Addressing"),
        module("Tunnels", "Addressing", "Packets"),
        module("BPF", "Addressing"),
        module("Formats"),
        module("Filter", "Addressing", "BPF", "Formats"),
        module("Observation", "Addressing", "BPF", "Packets", "Time"),
        module("Cilium", "Addressing"),
        module("RPCAP", "Addressing", "BPF", "Time"),

        // What the kernel owns and lends.
        module("Linux", "Addressing", "CBuild", "CLinux", "Time"),
        module("PacketRing", "Addressing", "BPF", "CLinux", "Linux", "Packets", "Time"),
        module("Netlink", "Addressing", "BPF", "CLinux", "CMnl", "Linux", "Packets", "Time"),

        // Sockets inside pods: which namespaces there are, and how the agent gets a socket there.
        module("Taps", "Addressing", "Linux", "Netlink", "Time"),

        // Who may talk to us, and that nobody listens in.
        module("Security", "Addressing", "COpenSSL", "Linux", "Time"),

        // What other programs read: the log, and how they ask for more.
        module("Metrics", "Linux", "Time"),
        module("Log", "Formats", "Linux", "Time", logging),
        module("Terminal", "Formats", "Linux"),
        // The process beside the agent that may enter pods' namespaces.
        module("Opener", "Linux", "Log", "Netlink", "Taps", "Time", logging),
        .target(name: "HTTPEndpoint", dependencies: ["Linux"] + http, swiftSettings: house),

        // The agent: what a person has set, what it knows of the node, the data path, and the sessions.
        module(
            "Settings", "Addressing", "Filter", "Formats", "Linux", "Log", "RPCAP", "Taps",
            "Tunnels", logging
        ),
        module(
            "Edges", "Addressing", "Formats", "Linux", "Log", "Metrics", "Netlink", "Observation",
            "Settings", "Taps", "Time", logging),
        module(
            "Forwarding", "Addressing", "BPF", "Cilium", "Edges", "Linux", "Log", "Metrics",
            "Netlink", "Observation", "PacketRing", "Packets", "RPCAP", "Security", "Settings",
            "Taps", "Time", "Tunnels", logging),
        module(
            "Agent", "Addressing", "BPF", "Edges", "Filter", "Formats", "Forwarding",
            "HTTPEndpoint", "Linux", "Log", "Metrics", "Netlink", "Observation", "PacketRing",
            "Packets", "RPCAP", "Security", "Settings", "Taps", "Time", "Tunnels", logging),

        // What is asked about an agent: what would keep it from its work, and which edge reports what.
        module(
            "Doctor", "Addressing", "BPF", "Edges", "Filter", "Formats", "Forwarding",
            "HTTPEndpoint",
            "Linux", "Netlink", "Observation", "PacketRing", "Security", "Settings", "Taps", "Time",
            "Tunnels"),
        module(
            "Explain", "Addressing", "BPF", "Edges", "Forwarding", "Linux", "Netlink",
            "Observation", "Packets",
            "RPCAP", "Security", "Settings", "Time"),

        // Files of packets, who talks to whom in them, the other end of the feed, and the program.
        module("Compression", "CZlib"),
        module("Flows", "Addressing", "Formats", "Packets"),
        module("CaptureFiles", "Addressing", "Compression", "Formats", "Linux"),
        module(
            "Collector", "Addressing", "BPF", "CaptureFiles", "Flows", "Formats", "Linux", "Log",
            "RPCAP", "Security", "Terminal", "Time", "Tunnels", logging),

        .executableTarget(
            name: "podwire",
            dependencies: [
                "Addressing", "Agent", "BPF", "CaptureFiles", "Collector", "Doctor", "Edges",
                "Explain", "Filter", "Flows", "Formats", "Linux", "Log", "Metrics", "Netlink",
                "Observation",
                "Opener", "Packets", "Security", "Settings", "Taps", "Terminal", "Time", "Tunnels",
                logging, arguments,
            ],
            swiftSettings: house),

        tests("TimeTests", "Time"),
        tests("AddressingTests", "Addressing"),
        tests(
            "PacketsTests", "Addressing", "BPF", "FuzzSupport", "KernelSupport", "Linux",
            "ObservationFixtures", "PacketRing", "Packets", "Time"),
        tests(
            "TunnelsTests", "Addressing", "FuzzSupport", "ObservationFixtures", "Packets", "Tunnels"
        ),
        tests("FilterTests", "Addressing", "BPF", "CLinux", "Filter", "FuzzSupport", "Linux"),
        tests("BPFTests", "BPF", "CLinux", "FuzzSupport", "Linux", "ObservationFixtures"),
        tests(
            "ObservationTests", "Addressing", "BPF", "FuzzSupport", "KernelSupport", "Linux",
            "Observation", "ObservationFixtures", "PacketRing", "Packets", "Time"),
        tests("CiliumTests", "Addressing", "Cilium", "FuzzSupport"),
        tests("RPCAPTests", "Addressing", "BPF", "FuzzSupport", "RPCAP", "Time"),
        tests("LinuxTests", "Addressing", "FuzzSupport", "KernelSupport", "Linux", "Time"),
        tests(
            "PacketRingTests", "Addressing", "BPF", "KernelSupport", "Linux", "PacketRing", "Time"),
        tests(
            "NetlinkTests", "Addressing", "BPF", "FuzzSupport", "KernelSupport", "Linux", "Netlink"),
        tests("TapsTests", "KernelSupport", "Linux", "Netlink", "Taps", "Time"),
        tests(
            "OpenerTests", "Addressing", "CLinux", "KernelSupport", "Linux", "Log", "Netlink",
            "Opener", "Taps", "Time", logging),
        tests(
            "SecurityTests", "Addressing", "FuzzSupport", "Linux", "Security", "SecurityFixtures",
            "Time"),
        tests("FlowsTests", "Addressing", "Flows", "Formats"),
        tests("FormatsTests", "Formats"),
        tests("MetricsTests", "Metrics"),
        tests("TerminalTests", "Formats", "KernelSupport", "Terminal"),
        tests("LogTests", "Linux", "Log", "Time", logging),
        tests("HTTPEndpointTests", "Addressing", "HTTPEndpoint", "Linux", "Time"),
        tests("SettingsTests", "Addressing", "Linux", "Settings", "Tunnels"),
        tests(
            "EdgesTests", "Addressing", "Edges", "FuzzSupport", "KernelSupport", "Linux", "Metrics",
            "Netlink", "Observation", "ObservationFixtures", "Settings", "Taps", "Time", logging),
        tests(
            "ForwardingTests", "Addressing", "Cilium", "Edges", "Forwarding", "FuzzSupport",
            "KernelSupport", "Linux", "Metrics", "Netlink", "Observation", "ObservationFixtures",
            "Opener", "PacketRing", "Packets", "RPCAP", "Security", "SecurityFixtures", "Settings",
            "Taps", "Time", "Tunnels", logging),
        tests(
            "AgentTests", "Addressing", "Agent", "Edges", "Forwarding", "Linux", "Metrics",
            "Netlink", "Security", "Settings", "Time", logging),
        tests(
            "DoctorTests", "Addressing", "Doctor", "Edges", "Filter", "Formats", "Forwarding",
            "Linux", "Netlink", "PacketRing", "Settings", "Taps"),
        tests(
            "ExplainTests", "Addressing", "Edges", "Explain", "Filter", "Netlink", "Observation",
            "Packets", "Settings", "Time"),
        tests("CompressionTests", "Compression", "FuzzSupport"),
        tests(
            "CaptureFilesTests", "Addressing", "CaptureFiles", "FuzzSupport", "Linux"),
        tests(
            "CollectorTests", "Addressing", "BPF", "CaptureFiles", "Collector", "Linux", "RPCAP",
            "Time", logging),

        tests("FuzzTests", "FuzzTargets", "Linux"),

        // What the guided fuzzer feeds, and the laws that must hold. tools/fuzz builds its program.
        .target(
            name: "FuzzTargets",
            dependencies: [
                "Addressing", "BPF", "CaptureFiles", "Cilium", "Collector", "Compression", "Edges",
                "Explain", "Filter", "Flows", "Formats", "FuzzSupport", "Linux", "Log", "Netlink",
                "Observation", "ObservationFixtures", "Packets", "RPCAP", "Security", "Settings",
                "Taps", "Time",
                "Tunnels", logging,
            ],
            path: "Tests/Fuzz/Targets", swiftSettings: house),

        // The rounds of tests with random input.
        .target(
            name: "FuzzSupport", dependencies: [],
            path: "Tests/FuzzSupport", swiftSettings: house),

        // The network namespaces, senders and commands that kernel tests share.
        .target(
            name: "KernelSupport",
            dependencies: ["Addressing", "CLinux", "Linux", "PacketRing", "Time"],
            path: "Tests/KernelSupport", swiftSettings: house),

        // The site and the frames that several tests share.
        .target(
            name: "ObservationFixtures",
            dependencies: ["Addressing", "BPF", "Observation", "Packets", "Time"],
            path: "Tests/ObservationFixtures", swiftSettings: house),

        // The certificates and folders that several tests share.
        .target(
            name: "SecurityFixtures", dependencies: ["Linux"],
            path: "Tests/SecurityFixtures", swiftSettings: house),
    ] + (Context.environment["PODWIRE_FUZZ"] == nil ? [] : fuzzer),
    swiftLanguageModes: [.v6]
)
