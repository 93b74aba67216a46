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
        module("Frames"),
        module("BPF", "Frames"),
        module("Observation", "BPF", "Frames"),
        module("RPCAP", "BPF", "Frames"),

        // What the kernel owns and lends.
        module("Kernel", "BPF", "CLinux", "Frames"),
        module("Capture", "BPF", "CLinux", "Frames", "Kernel"),
        module("Netlink", "BPF", "CLinux", "CMnl", "Frames", "Kernel"),

        // Who may talk to us, and that nobody listens in.
        module("Trust", "COpenSSL", "Frames", "Kernel"),

        // What other programs read: texts, the log, and how they ask for more.
        module("Formats"),
        module("Log", "Formats", "Kernel", logging),
        .target(name: "Endpoint", dependencies: ["Kernel"] + http, swiftSettings: house),

        // The two ends of the feed, and the program.
        module(
            "Agent", "BPF", "CLinux", "Capture", "Endpoint", "Formats", "Frames", "Kernel", "Log",
            "Netlink", "Observation", "RPCAP", "Trust",
            logging),
        module("Collector", "BPF", "CLinux", "Frames", "Kernel", "RPCAP", "Trust", logging),
        .executableTarget(
            name: "podwire",
            dependencies: [
                "Agent", "BPF", "Collector", "Formats", "Frames", "Kernel", "Log",
                "Netlink", "Observation", "Trust",
                arguments,
                logging,
            ],
            swiftSettings: house),

        tests("FramesTests", "Frames", "ObservationFixtures"),
        tests("ObservationTests", "BPF", "Frames", "Observation", "ObservationFixtures"),
        tests("FormatsTests", "Formats"),
        tests("LogTests", "Kernel", "Log", logging),
        tests(
            "AgentTests", "Agent", "Frames", "Kernel", "Netlink", "Observation",
            "ObservationFixtures", "RPCAP", logging),
        tests("RPCAPTests", "BPF", "Frames", "RPCAP"),
        tests("EndpointTests", "Endpoint", "Frames", "Kernel"),
        tests("TrustTests", "Agent", "Frames", "Kernel", "Trust"),
        tests("CollectorTests", "BPF", "Collector", "Frames", "Kernel"),
        tests(
            "KernelTests", "Agent", "BPF", "CLinux", "Capture", "Frames", "Kernel", "Netlink",
            "Observation", "ObservationFixtures", "RPCAP", logging),

        // The site and the frames that several tests share.
        .target(
            name: "ObservationFixtures", dependencies: ["BPF", "Frames", "Observation"],
            path: "Tests/ObservationFixtures", swiftSettings: house),
    ],
    swiftLanguageModes: [.v6]
)
