# Sourced by the scripts that compare and measure: which runner, and alternating pairs of a peer and it with their ratio.
#
# A script that compares calls `find_runner`, makes `recipe.yaml`, defines `theirs` (prints the peer's figure; its complaints go to peer.log), calls `pairs` and then
# `ratio`. Both sides run on the second core, or those that `cores` names; the server has the first.

# The binary that RUNNER names, else a release build.
find_runner() {
    if [ -z "${RUNNER:-}" ]; then
        cargo build --release --quiet -p runner
        RUNNER=target/release/runner
    fi
    RUNNER=$(realpath "$RUNNER")
}

# Requests per second of recipe.yaml: the benchmark's own figure, of its measurement window. A failed request makes the
# comparison worthless.
ours() {
    rm -rf results
    if ! taskset -c "${cores:-1}" "$RUNNER" run recipe.yaml --no-commit --quiet >run.log 2>&1 ||
        ! grep -q '"failed_requests": *0,' results/BM-*/summary.json; then
        cat run.log >&2
        "$RUNNER" summary latest >&2 || true
        echo 'error: not every request of the runner was answered rightly' >&2
        return 1
    fi
    # Of the threads that send and receive, in the window.
    local cpu all
    cpu=$(sed -n 's/^ *"cpu_s": *\([0-9.e-]*\),*$/\1/p' results/BM-*/run.json)
    if [ -z "$cpu" ]; then
        echo 'error: run.json has no client.generator.cpu_s: what the load generator used is not known' >&2
        return 1
    fi
    all=$(grep -o '"total_requests": *[0-9]*' results/BM-*/summary.json | head -1 | grep -o '[0-9]*$')
    awk -v s="$cpu" -v n="$all" 'BEGIN { print s / n * 1e6 }' >>our.cpu
    grep -o '"requests_per_second": *[0-9.]*' results/BM-*/summary.json | head -1 | grep -o '[0-9.]*$'
}

# So many pairs into the file `pairs`; who begins changes from pair to pair.
pairs() {
    local pair their our
    : >pairs
    : >our.cpu
    : >their.cpu
    for pair in $(seq "$1"); do
        if [ $((pair % 2)) -eq 1 ]; then
            their=$(theirs) our=$(ours)
        else
            our=$(ours) their=$(theirs)
        fi
        if [ -z "$their" ] || [ -z "$our" ]; then
            cat peer.log >&2
            echo "error: a pair without a figure: peer '$their', runner '$our'" >&2
            return 1
        fi
        echo "$their $our" >>pairs
    done
}

# Runs a peer; `their_cpu` then says what it took a request, start and end of the program included.
timed() { /usr/bin/time -f '%U %S' -o their.time "$@"; }
their_cpu() { awk -v n="$1" '{ print ($1 + $2) / n * 1e6 }' their.time >>their.cpu; }

# Median CPU time a request, peer and runner, in microseconds.
cpu() {
    for side in their our; do
        printf '%7.1f' "$(sort -n $side.cpu | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }')"
    done
    echo
}

# Of the file `pairs`: median of the peer, median of the runner, ratio of these, and the 95 % interval of the ratio by
# Student's t over the logarithms of the pairs' ratios.
ratio() {
    awk '
        function median(v, n,   i, j, t) {
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && v[j - 1] > v[j]; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
            return (v[int((n + 1) / 2)] + v[int(n / 2) + 1]) / 2
        }
        { n++; theirs[n] = $1; ours[n] = $2; r = log($2 / $1); sum += r; squares += r * r }
        END {
            split("12.71 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262", t, " ")
            mean = sum / n
            spread = squares - n * mean * mean
            half = n > 1 ? (n <= 10 ? t[n - 1] : 1.96 + 2.7 / (n - 1)) * sqrt((spread > 0 ? spread : 0) / (n - 1) / n) : 0
            a = median(theirs, n); b = median(ours, n)
            interval = n > 1 ? sprintf("%.2f–%.2f", exp(mean - half), exp(mean + half)) : "-"
            printf "%12.1f %12.1f %7.2f   %s\n", a, b, b / a, interval
        }' pairs
}
