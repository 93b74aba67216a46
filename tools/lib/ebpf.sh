# shellcheck shell=bash disable=SC2154
# The eBPF data path of a test bed (tools/testbed up ebpf-nat, ebpf-peer, ebpf-peer-macs): programs of ours at
# the pods' edges, and tables in Cilium's layout, pinned in a folder for each node. It is sourced by `testbed`,
# which sets `here`, `prefix` and `state`. The sources are in ebpf/.

# What the firewall of each node or its kube-proxy decides about, and so must see: see `policies` and `fronts`.
stack_ports="8511 8512 8521 8522 8531 8532 8571 8572 8611 8612 8621 8622 8631 8632 8085 8086 8087 8088"

# The folder of a node's tables and programs.
ebpf_folder() { echo "$state/bpf/$1"; }

remove_ebpf() {
    while mountpoint -q "$state/bpf"; do umount -l "$state/bpf"; done
}

compile_ebpf() {
    local options=()
    case $1 in
        ebpf-peer) options=(-DPEER) ;;
        ebpf-peer-macs) options=(-DPEER -DKEEP_MACS) ;;
    esac
    # The kernel's headers include those of the machine.
    clang -O2 -g -Wall -Werror -target bpf "${options[@]}" -I"/usr/include/$(uname -m)-linux-gnu" \
        -c "$here/lib/ebpf/datapath.c" -o "$state/datapath.o" || fail "clang cannot compile the data path"
}

# Adds a program of a node to a device: NODE DEVICE ingress|egress PROGRAM.
attach() {
    ip_in "$1" link show "$2" >/dev/null
    tc -n "$prefix-$1" qdisc show dev "$2" | grep -q clsact || tc -n "$prefix-$1" qdisc add dev "$2" clsact
    tc -n "$prefix-$1" filter add dev "$2" "$3" bpf direct-action \
        object-pinned "$(ebpf_folder "$1")/programs/$4"
}

# The pods of a node that are there.
pods_of() { namespaces | sed -n "s/^$prefix-\([a-f]$1\)$/\1/p"; }

# To whom packets are handed over with the MAC addresses that they came with: not to guests, which would not
# take them, and not to pods that forward, of which nobody could tell which edge such a packet is from.
takes_packets() {
    case $1-$2 in ebpf-peer-macs-[def]*) return 1 ;; esac
}

attach_ebpf() {
    local network=$1 number=$2 node=node$2 pod edge edges=()
    for pod in $(pods_of "$number"); do
        edge=$(edge_of "$pod")
        attach "$node" "$edge" ingress from_pod
        attach "$node" "$edge" egress to_pod
        # The pod answers to itself there. Cilium's program answers the question for it.
        [ "$pod" = "d$number" ] || ip_in "$pod" -6 neigh replace fe80::1 dev eth0 nud permanent \
            lladdr "$(in_ns "$node" cat "/sys/class/net/$edge/address")"
        if takes_packets "$network" "$pod"; then
            edges+=("$(in_ns "$node" cat "/sys/class/net/$edge/ifindex")")
        fi
    done
    [ "$network" != ebpf-nat ] || return 0
    python3 "$here/lib/tables.py" edges "$(ebpf_folder "$node")" "${edges[@]}"
    # shellcheck disable=SC2086
    python3 "$here/lib/tables.py" ports "$(ebpf_folder "$node")" $stack_ports
    attach "$node" uplink ingress from_uplink
}

make_ebpf() {
    local network=$1 number folder
    compile_ebpf "$network"
    mkdir "$state/bpf"
    mount -t bpf "$prefix" "$state/bpf"
    for number in 1 2; do
        folder=$(ebpf_folder "node$number")
        mkdir "$folder"
        bpftool prog loadall "$state/datapath.o" "$folder/programs" type classifier pinmaps "$folder" ||
            fail "the kernel does not take the data path"
        python3 "$here/lib/tables.py" services "$folder" "$state/services"
        attach_ebpf "$network" "$number"
    done
}
