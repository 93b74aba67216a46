# shellcheck shell=bash disable=SC2034
# What the tools share. Source it; it runs nothing by itself.

# Says what went wrong and ends.
fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# Says which argument is wrong, and ends as other programs do for that.
wrong_usage() {
    echo "$(basename "$0"): $*; see --help" >&2
    exit 64
}

# What a test bed can be, in words.
networks="bridge, ptp, vxlan, ebpf-nat, ebpf-peer or ebpf-peer-macs"

# Fails if no value follows an option, the first of the arguments.
need_value() {
    [ -n "${2:-}" ] || wrong_usage "$1 needs a value"
}

need_root() {
    [ "$(id -u)" = 0 ] || fail "needs root, for network namespaces: run it with sudo"
}

# What the program and its image are made of, of the clone's files.
source_paths=(Package.swift Sources container tools)

# Nothing where the folder is no clone, but lies in somebody else's.
git_says() {
    local folder=$1
    shift
    [ -e "$folder/.git" ] && git -C "$folder" "$@" 2>/dev/null
}

# The commit of a folder, with -modified if one of those files differs from it or is new.
find_revision() {
    local commit
    commit=$(git_says "$1" rev-parse HEAD) || { echo unknown; return; }
    [ -z "$(git_says "$1" status --porcelain --untracked-files=all -- "${source_paths[@]}")" ] ||
        commit+=-modified
    echo "$commit"
}

# What `podwire --version` says of such a commit: 12 digits, and a plus sign if it is modified. Nothing of
# one that is not known.
short_commit() {
    [[ $1 =~ ^([0-9a-f]{12})[0-9a-f]*(-modified)?$ ]] || return 0
    echo "${BASH_REMATCH[1]}${BASH_REMATCH[2]:++}"
}

# Installs the Debian packages of this list that are missing, all at once. It tries again, since an
# archive may be away for a moment.
need_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    need_root
    echo "installing ${missing[*]}" >&2
    local log turn
    log=$(mktemp)
    for turn in 1 2 3; do
        [ "$turn" = 1 ] || sleep 5
        if { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y \
            --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
            rm -f "$log"
            return
        fi
    done
    tail -n 20 "$log" >&2
    fail "could not install ${missing[*]}"
}

# What each thing takes that the tools do, in Debian's packages. Building needs a Swift toolchain, too.
build_packages=(libmnl-dev libssl-dev zlib1g-dev pkg-config)
testbed_packages=(iproute2 iptables nftables containernetworking-plugins procps python3)
# Those test beds whose data path is eBPF programs.
ebpf_packages=(clang bpftool libbpf-dev linux-libc-dev)
demo_packages=(tcpdump iputils-ping)
lint_packages=(shellcheck git)
python_packages=(python3 pyflakes3)
docs_packages=(python3 man-db)
integration_packages=(
    python3 python3-prometheus-client tshark tcpdump iputils-ping libcap2-bin conntrack openssl ethtool
    iperf3 bpftool)
# What reads the packets that the collector passes on.
outputs_packages=(tcpreplay)
# A terminal that breaks lines anew when its window changes.
terminal_packages=(tmux)
tunnels_packages=(argus-server argus-client)
container_packages=(
    runc skopeo umoci golang-github-containers-common dnsmasq-base golang-go
    golang-github-containerd-go-cni-dev)
# Of prometheus, tests use promtool.
manifests_packages=(python3 prometheus)
# For Python packages that Debian does not have. Some have the module from elsewhere.
venv_packages=(python3)
python3 -c 'import ensurepip' 2>/dev/null || venv_packages+=(python3-venv)

# Installs what is missing of some of the lists above: need_package_lists build testbed
need_package_lists() {
    local list packages=()
    for list in "$@"; do
        local -n named="${list}_packages"
        packages+=("${named[@]}")
    done
    need_packages "${packages[@]}"
}
