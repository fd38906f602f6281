//! Which stage of a transaction's way each stack belongs to.

use std::io::{self, Write};

/// A stage, and what names of functions (anywhere in the stack, the innermost decides) or of threads belong to it.
struct Stage {
    name: &'static str,
    functions: &'static [&'static str],
}

/// In the order of a transaction's way. Where two match the same frame the first counts.
const STAGES: &[Stage] = &[
    Stage {
        name: "verify",
        functions: &["secp256k1", "ed25519", "curve25519", "tx::verify", "verify_all", "with_sender"],
    },
    Stage { name: "hash", functions: &["sha2::", "sha256", "keccak", "blake3"] },
    Stage { name: "root", functions: &["execution::trie", "StateTrie"] },
    Stage { name: "execute", functions: &["revm", "basalt_execution"] },
    Stage { name: "write", functions: &["rocksdb", "basalt_storage"] },
    Stage { name: "propose", functions: &["node::proposer", "proposer::"] },
    Stage { name: "pool", functions: &["node::mempool", "mempool::", "node::ingress"] },
    Stage { name: "vote", functions: &["basalt_bft", "node::driver", "basalt_consensus"] },
    Stage {
        name: "gossip",
        functions: &[
            "node::network",
            "libp2p",
            "yamux",
            "snow::",
            "multistream",
            "gossipsub",
            "node::sync",
            "chacha20poly1305",
        ],
    },
    Stage { name: "decode", functions: &["basalt_proto", "alloy_rlp", "prost"] },
    Stage { name: "receive", functions: &["node::rpc", "serde_json", "hyper", "axum", "tower", "httparse", "h2::"] },
];
/// The benchmark's threads; those of the node have names of their own.
const GENERATOR_THREADS: &[&str] = &["basalt", "tokio-rt-worker"];
const IDLE_THREADS: &[&str] = &["swapper", "sleep", "perf"];
const GENERATOR: &str = "load generator";
const IDLE: &str = "idle";
const OTHER: &str = "kernel, runtime, allocator, other";

/// What time is measured against.
pub struct Time {
    /// Processor time per second of the whole machine, in microseconds.
    pub processors_us: f64,
    /// Transactions committed per second.
    pub tps: f64,
    /// What checking one signature takes, in microseconds.
    pub floor_us: f64,
}

/// The stage of a folded stack `thread;outermost;…;innermost`.
fn stage_of(stack: &str) -> &'static str {
    let mut frames = stack.split(';');
    let thread = frames.next().unwrap_or_default();
    // On a virtual machine an idle processor's samples fall to whatever ran there last: the command perf waits for.
    if IDLE_THREADS.contains(&thread) || stack.contains("native_safe_halt") {
        return IDLE;
    }
    if stack.contains("basalt_node::bench") || GENERATOR_THREADS.contains(&thread) {
        return GENERATOR;
    }
    let of = |frame: &str| STAGES.iter().find(|s| s.functions.iter().any(|f| frame.contains(f))).map(|s| s.name);
    if let Some(stage) = frames.rev().find_map(of) {
        return stage;
    }
    if thread.starts_with("rocksdb") { "write" } else { OTHER }
}

/// Prints the table of folded stacks (`stack count` by line).
pub fn table(folded: &str, time: &Time, out: &mut impl Write) -> io::Result<()> {
    let mut samples: Vec<(&str, u64)> =
        STAGES.iter().map(|s| s.name).chain([GENERATOR, OTHER, IDLE]).map(|name| (name, 0)).collect();
    for (stack, count) in folded.lines().filter_map(|line| line.rsplit_once(' ')) {
        let (stage, count) = (stage_of(stack), count.parse::<u64>().unwrap_or(0));
        if let Some(known) = samples.iter_mut().find(|(name, _)| *name == stage) {
            known.1 += count;
        }
    }
    let all: u64 = samples.iter().map(|(_, n)| n).sum();
    writeln!(
        out,
        "| stage | share of all processors | µs per transaction | ÷ one signature check |\n| --- | ---: | ---: | ---: |"
    )?;
    for (name, n) in samples {
        let share = to_f64(n) / to_f64(all.max(1));
        let us = share * time.processors_us / time.tps.max(1.0);
        writeln!(out, "| {name} | {:.1} % | {us:.1} | {:.2} |", share * 100.0, us / time.floor_us.max(0.001))?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of samples, far below 2^52")]
const fn to_f64(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_known_function_decides_and_threads_where_none_is_known() {
        for (stack, stage) in [
            ("ingress-0;basalt_node::ingress::gather;rustsecp256k1_v0_11_fe_mul_inner", "verify"),
            ("ingress;basalt_node::ingress::admit;memmove", "pool"),
            ("execute;basalt_node::driver::executor;basalt_execution::trie::insert;sha2::compress", "hash"),
            ("execute;basalt_node::driver::executor;basalt_execution::block", "execute"),
            ("io;basalt_node::rpc::dispatch;basalt_proto::tx::decode", "decode"),
            ("rocksdb:low;start_thread", "write"),
            ("swapper;pv_native_safe_halt", IDLE),
            ("basalt;tokio::run;hyper::send", GENERATOR),
            ("io;entry_SYSCALL_64", OTHER),
        ] {
            assert_eq!(stage_of(stack), stage, "{stack}");
        }
    }

    #[test]
    fn shares_add_up_to_the_time_of_a_transaction() {
        let mut out = Vec::new();
        let time = Time { processors_us: 2e6, tps: 20_000.0, floor_us: 50.0 };
        table("ingress-0;rustsecp256k1_x 75\nswapper;halt 25\n", &time, &mut out).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("| verify | 75.0 % | 75.0 | 1.50 |"), "{text}");
        assert!(text.contains("| idle | 25.0 % | 25.0 | 0.50 |"), "{text}");
    }
}
