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

let package = Package(
    name: "podwire",
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    ],
    targets: [
        // The kernel, libmnl and OpenSSL, as Swift sees them.
        .target(name: "CLinux", cSettings: [.define("_GNU_SOURCE")]),
        .systemLibrary(name: "CMnl", pkgConfig: "libmnl", providers: [.apt(["libmnl-dev"])]),
        .systemLibrary(
            name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),

        // Pure logic: no system call, no pointer.
        module("Time"),
        module("Addressing"),
        module("Packets", "Addressing"),
        module("BPF", "Addressing"),
        module("Observation", "Addressing", "BPF", "Packets"),
        module("RPCAP", "Addressing", "BPF", "Time"),

        // What the kernel owns and lends.
        module("Linux", "Addressing", "CLinux", "Time"),
        module("PacketRing", "Addressing", "BPF", "CLinux", "Linux", "Packets", "Time"),
        module("Netlink", "Addressing", "BPF", "CLinux", "CMnl", "Linux", "Time"),

        // Who may talk to us, and that nobody listens in.
        module("Security", "Addressing", "COpenSSL", "Linux", "Time"),

        // What other programs read: texts, the log, and how they ask for more.
        module("Formats"),
        module("Log", "Formats", "Linux", "Time", logging),
        .target(name: "HTTPEndpoint", dependencies: ["Linux"] + http, swiftSettings: house),

        // Capture files, read and written.
        module("CaptureFiles", "Addressing", "Linux"),

        // The two ends of the feed, and the program.
        module(
            "Agent", "BPF", "CLinux", "PacketRing", "HTTPEndpoint", "Formats", "Addressing", "Packets", "Linux", "Log",
            "Netlink", "Observation", "RPCAP", "Security", "Time",
            logging),
        module("Collector", "BPF", "CLinux", "CaptureFiles", "Formats", "Addressing", "Packets", "Linux", "RPCAP", "Security", "Time", logging),
        .executableTarget(
            name: "podwire",
            dependencies: [
                "Agent", "BPF", "CaptureFiles", "Collector", "Formats", "Addressing", "Packets", "Linux", "Log",
                "Netlink", "Observation", "Security", "Time",
                arguments,
                logging,
            ],
            swiftSettings: house),

        tests("TimeTests", "Time"),
        tests("AddressingTests", "Addressing"),
        tests("PacketsTests", "Addressing", "ObservationFixtures", "Packets"),
        tests("ObservationTests", "BPF", "Addressing", "Packets", "Observation", "ObservationFixtures"),
        tests("FormatsTests", "Formats"),
        tests("CaptureFilesTests", "Addressing", "CaptureFiles", "Linux"),
        tests("LogTests", "Linux", "Log", "Time", logging),
        tests(
            "AgentTests", "Agent", "Addressing", "PacketRing", "Packets", "Linux", "Netlink", "Observation",
            "ObservationFixtures", "RPCAP", "Time", logging),
        tests("RPCAPTests", "BPF", "Addressing", "Packets", "RPCAP", "Time"),
        tests("HTTPEndpointTests", "HTTPEndpoint", "Addressing", "Packets", "Linux", "Time"),
        tests("SecurityTests", "Agent", "Addressing", "Packets", "Linux", "Security", "Time"),
        tests("CollectorTests", "BPF", "CaptureFiles", "Collector", "RPCAP", "Addressing", "Packets", "Linux", "Time"),
        tests("LinuxTests", "Addressing", "KernelSupport", "Linux", "Time"),
        tests("NetlinkTests", "Addressing", "KernelSupport", "Linux", "Netlink"),
        tests("PacketRingTests", "Addressing", "BPF", "KernelSupport", "Linux", "PacketRing"),
        tests(
            "KernelTests", "Agent", "BPF", "CLinux", "KernelSupport", "PacketRing", "Addressing",
            "Packets", "Linux", "Netlink", "Observation", "ObservationFixtures", "RPCAP", "Time",
            logging),

        // Network namespaces, packets and commands for tests against the kernel.
        .target(
            name: "KernelSupport",
            dependencies: ["Addressing", "CLinux", "Linux", "PacketRing", "Time"],
            path: "Tests/KernelSupport", swiftSettings: house),

        // The site and the frames that several tests share.
        .target(
            name: "ObservationFixtures", dependencies: ["BPF", "Addressing", "Packets", "Observation"],
            path: "Tests/ObservationFixtures", swiftSettings: house),
    ],
    swiftLanguageModes: [.v6]
)
