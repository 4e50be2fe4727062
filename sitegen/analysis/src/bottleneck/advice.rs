//! What to do about a limit.

use super::Bottleneck;

/// At most five pieces of advice, the most telling first. `key` names the measure that the answer rests on.
pub fn of(class: Bottleneck, key: &str) -> &'static [&'static str] {
    match (class, key) {
        (Bottleneck::Client, "client_throttled") => &[
            "raise the CPU quota of the load generator's control group, or run it elsewhere",
            "do not use these figures as a measurement of the service",
        ],
        (Bottleneck::Client, _) => &[
            "give the load generator cores of its own (another node, or pinned apart from service and neighbours)",
            "raise the number of its threads, or drive the load from more nodes",
            "do not use these figures as a measurement of the service",
        ],
        (Bottleneck::Gpu, _) => &[
            "use more GPUs: tensor parallelism for one model, replicas for more requests",
            "use a smaller or a quantised model",
            "raise the batch size while latency allows",
            "look at power and clocks: a GPU at its power limit runs slower than it could",
        ],
        (Bottleneck::Memory, "kv_cache") => &[
            "give the KV cache more memory: a larger share of the GPU's memory, more GPUs, a quantised cache",
            "allow shorter contexts, or fewer requests at once: preempted requests are computed again",
            "use a smaller or a quantised model",
        ],
        (Bottleneck::Memory, _) => &[
            "raise the memory limit of the service, or lower what it keeps",
            "keep an eye on what grows with the load: connections, buffers, caches",
            "let the service refuse or evict before the kernel kills it",
        ],
        (Bottleneck::Cpu, "cpu_thread") => &[
            "one thread is the limit, so more cores will not help: run more instances, shards or worker threads",
            "profile that thread",
            "lower its work for a request: batching, pipelining, cheaper operations",
        ],
        (Bottleneck::Cpu, "cpu_throttled") => &[
            "raise the CPU quota of the service's control group",
            "spread its work evenly: a quota stops all threads at once when a burst has used it",
        ],
        (Bottleneck::Cpu, "cpu_wait") => &[
            "give the service cores of its own: others use those it waits for",
            "repeat the measurement on a node without other load",
        ],
        (Bottleneck::Cpu, _) => &[
            "give the service more cores, or run more instances of it",
            "profile it: where does the time go?",
            "look at affinity: it can only use the cores it is allowed",
        ],
        (Bottleneck::Network, "disk") => &[
            "use a faster disk or a local one, or keep the working set in memory",
            "write less often, or in larger pieces",
        ],
        (Bottleneck::Network, _) => &[
            "bring clients and service closer, or use a faster network",
            "send less: compression, smaller values, fewer fields",
            "look for a limit on the way: traffic shaping, a full link, lost packets",
        ],
        (Bottleneck::Queueing, _) => &[
            "raise what is full: slots, workers, connections, batch size",
            "run more replicas of the service",
            "lower the load, or push it back early: waiting requests only get slower",
            "look for a lock that serialises requests",
        ],
        (Bottleneck::None, _) => &["raise the load: the limit lies beyond it"],
        (Bottleneck::Unknown, _) => &[
            "measure for at least 5 s, with service and load generator started by this tool, so that both are sampled",
            "sweep over the load, so that a limit can show itself",
        ],
    }
}
