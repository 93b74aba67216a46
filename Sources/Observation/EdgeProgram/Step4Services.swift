import Addressing
import BPF
import Packets

/// Step 4, service form: packets are dropped if their backend's edge is known to report them.
///
/// Most calls to services are reported at their backends' edges, so that is often half of all
/// traffic. All other packets to and from services are punted.
extension EdgeProgramWriter {
    /// Returns the labels of the code for requests to services, and for their replies.
    mutating func makeServiceLabels(_ layout: PacketLayout) -> (request: Label, reply: Label) {
        services(of: layout.family).isEmpty ? (punt, punt) : (code.makeLabel(), code.makeLabel())
    }

    private func services(
        of family: IPAddress.Family
    ) -> [(key: ServiceKey, value: UInt16)] {
        services.filter { $0.key.address.family == family }
    }

    mutating func writeServices(_ layout: PacketLayout, request: Label, reply: Label) {
        let services = services(of: layout.family)
        guard !services.isEmpty else { return }
        let known = code.makeLabel()
        let source = layout.transport + UInt32(PortsHeader.source)
        let destination = layout.transport + UInt32(PortsHeader.destination)

        // Requests to a service come from the pod, replies go to it. All else is for user space.
        code.place(reply)
        branch(toPod: .next, fromPod: punt)
        storeService(layout, address: layout.source, port: source, clientPort: destination)
        code.ja(known)

        code.place(request)
        branch(toPod: punt, fromPod: .next)
        storeService(layout, address: layout.destination, port: destination, clientPort: source)

        code.place(known)
        search(services, layout)
    }

    /// Puts the packet's service and its client's port into scratch memory.
    ///
    /// Packets that may have no ports are punted.
    private mutating func storeService(
        _ layout: PacketLayout, address: AddressSource, port: UInt32, clientPort: UInt32
    ) {
        for word in (0..<layout.family.byteCount / 4).reversed() {
            code.ld(address.word(word), "the service's address, word \(word)")
            code.st(
                Scratch.serviceAddress + UInt32(word), "the service's address, word \(word)")
        }
        let withPorts = code.makeLabel()
        branch(layout, withPorts: withPorts, else: punt, keepsProtocol: true)
        code.place(withPorts)
        code.lsh(16 - layout.protocolShift, "the service's protocol")
        code.tax("the service's protocol")
        code.ldh(Int(port), "the service's port")
        code.orX("both in one word")
        code.st(Scratch.service, "the service: protocol and port")
        code.ldh(Int(clientPort), "the client's port")
        code.st(Scratch.clientPort, "the client's port")
    }

    /// Searches the stored service in the drop list, and compares the client's port.
    private mutating func search(
        _ services: [(key: ServiceKey, value: UInt16)], _ layout: PacketLayout
    ) {
        let addressWordCount = layout.family.byteCount / 4
        let entries = services.map { service, _ in
            (words: service.address.words + [service.word], label: code.makeLabel())
        }
        code.search(entries[...], else: punt, "known service") { word in
            word < addressWordCount
                ? .scratch(Scratch.serviceAddress + UInt32(word)) : .scratch(Scratch.service)
        }
        for (service, entry) in zip(services, entries).reversed() {
            code.place(entry.label)
            code.ld(.scratch(Scratch.clientPort), "the client's port")
            code.jgt(
                UInt32(service.value), then: drop, else: punt,
                "port \(service.key.port): is the client's above?")
        }
    }
}

/// Calls to fronts, which this node translates to pods, are punted.
///
/// Their addresses have much other traffic, such as the node's own: of plain packets with ports, only
/// those of the known fronts are punted.
extension EdgeProgramWriter {
    /// The code for packets of which one end is a pod, and the other one neither pod nor service.
    struct FrontLabels {
        let request: Label
        let reply: Label
    }

    /// Makes the labels; without fronts, they are those of the code that comes next.
    mutating func makeFrontLabels(_ layout: PacketLayout, else feed: FeedLabels) -> FrontLabels {
        fronts(of: layout.family).isEmpty
            ? FrontLabels(request: feed.onlySourceIsPod, reply: feed.onlyDestinationIsPod)
            : FrontLabels(request: code.makeLabel(), reply: code.makeLabel())
    }

    private func fronts(of family: IPAddress.Family) -> [ServiceKey] {
        fronts.filter { $0.address.family == family }
    }

    mutating func writeFronts(
        _ layout: PacketLayout, _ labels: FrontLabels, else feed: FeedLabels
    ) {
        let fronts = fronts(of: layout.family)
        guard !fronts.isEmpty else { return }
        let (stored, other) = (code.makeLabel(), code.makeLabel())
        let addresses = Array(Set(fronts.map(\.address)))
        let whole = fronts.filter(\.isWholeAddress).map(\.address)
        let address = AddressSource.scratch(Scratch.serviceAddress)

        code.place(labels.request)
        storeFront(layout, layout.destination)
        code.ja(stored)
        code.place(labels.reply)
        storeFront(layout, layout.source)
        code.place(stored)
        code.test(address, isOneOf: addresses, then: .next, else: other, "has a front?")
        code.test(address, isOneOf: whole, then: punt, else: .next, "all of this address?")
        storePortOfFront(layout)
        let entries = fronts.filter { !$0.isWholeAddress }.map { front in
            (words: front.address.words + [front.word], label: punt)
        }
        if !entries.isEmpty {
            code.search(entries[...], else: other, "known front") { word in
                word < layout.family.byteCount / 4
                    ? address.word(word) : .scratch(Scratch.service)
            }
        }
        code.place(other)
        code.ld(.scratch(Scratch.isDestinationPod), "is the destination the pod?")
        code.jeq(
            1, then: feed.onlyDestinationIsPod, else: feed.onlySourceIsPod, "which one is the pod?")
    }

    private mutating func storeFront(_ layout: PacketLayout, _ address: AddressSource) {
        for word in 0..<layout.family.byteCount / 4 {
            code.ld(address.word(word), "the other end's address, word \(word)")
            code.st(
                Scratch.serviceAddress + UInt32(word), "the other end's address, word \(word)")
        }
    }

    /// Puts the protocol and the port of the end that is no pod into scratch memory.
    ///
    /// Packets that may have no ports are punted.
    private mutating func storePortOfFront(_ layout: PacketLayout) {
        let (withPorts, isReply, stored) = (code.makeLabel(), code.makeLabel(), code.makeLabel())
        branch(layout, withPorts: withPorts, else: punt, keepsProtocol: true)
        code.place(withPorts)
        code.lsh(16 - layout.protocolShift, "the front's protocol")
        code.tax("the front's protocol")
        code.ld(.scratch(Scratch.isDestinationPod), "is the destination the pod?")
        code.jeq(1, then: isReply, else: .next, "a reply?")
        code.ldh(Int(layout.transport) + PortsHeader.destination, "the front's port")
        code.ja(stored)
        code.place(isReply)
        code.ldh(Int(layout.transport) + PortsHeader.source, "the front's port")
        code.place(stored)
        code.orX("both in one word")
        code.st(Scratch.service, "the front: protocol and port")
    }
}

extension ServiceKey {
    /// Protocol and port in one word.
    fileprivate var word: UInt32 { UInt32(transport) << 16 | UInt32(port) }
}
