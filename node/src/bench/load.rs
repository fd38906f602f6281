//! The load: every sender's transactions, signed and encoded into requests before the clock starts, so that the generator
//! costs next to nothing while it measures.

use basalt_primitives::{Address, B256, Bytes};
use serde_json::json;

use super::{
    Method,
    account::{Account, Draft, Signed, Terms},
    setup::receiver,
    workload::{Format, Values, Workload},
};

/// A request stays below this; nodes take 5 MiB.
const MAX_REQUEST_BYTES: usize = 3 << 20;
/// All requests together stay below this.
pub(super) const MAX_LOAD_BYTES: usize = 2 << 30;

/// One request, ready to send.
#[derive(Debug)]
pub(super) struct Batch {
    pub json: String,
    /// Hash and number of the call of each transaction in it.
    pub txs: Vec<(B256, u16)>,
}

/// What goes to one node over one connection, in order. A sender belongs to one lane, and is at most once in a batch: a
/// refused transaction so never leaves a gap before an accepted one.
#[derive(Debug)]
pub(super) struct Lane {
    pub node: usize,
    pub batches: Vec<Batch>,
}

/// Everything that will be sent.
#[derive(Debug)]
pub(super) struct Load {
    pub lanes: Vec<Lane>,
    /// Bytes of all encodings, and how many there are.
    pub wire_bytes: u64,
    pub count: usize,
}

/// Shape of a load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub nodes: usize,
    pub lanes_per_node: usize,
    pub batch: usize,
    /// Transactions of each sender.
    pub each: usize,
    pub method: Method,
}

struct Job<'a> {
    workload: &'a Workload,
    senders: &'a [Account],
    addresses: Vec<Address>,
    formats: Vec<Format>,
    contracts: &'a [Address],
    terms: Terms,
    shape: Shape,
}

/// Signs with all processors.
pub(super) fn sign(
    workload: &Workload,
    senders: &[Account],
    contracts: &[Address],
    terms: Terms,
    shape: Shape,
) -> Load {
    let job = Job {
        workload,
        senders,
        addresses: senders.iter().map(Account::address).collect(),
        formats: workload.formats(senders.len()),
        contracts,
        terms,
        shape,
    };
    let lanes = (shape.nodes * shape.lanes_per_node).min(senders.len());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let parts: Vec<Vec<(usize, (Lane, u64))>> = std::thread::scope(|scope| {
        let job = &job;
        let start = |t: usize| {
            scope.spawn(move || (t..lanes).step_by(threads).map(|lane| (lane, job.lane(lane, lanes))).collect())
        };
        let handles: Vec<_> = (0..threads).map(start).collect();
        handles.into_iter().map(|h| h.join().expect("signing does not panic")).collect()
    });
    let mut lanes: Vec<_> = parts.into_iter().flatten().collect();
    lanes.sort_by_key(|(number, _)| *number);
    let wire_bytes = lanes.iter().map(|(_, (_, bytes))| bytes).sum();
    let lanes: Vec<Lane> = lanes.into_iter().map(|(_, (lane, _))| lane).collect();
    let count = lanes.iter().flat_map(|l| &l.batches).map(|b| b.txs.len()).sum();
    Load { lanes, wire_bytes, count }
}

impl Job<'_> {
    /// Lane i has the senders i, i + lanes, …; it goes round them, so that a batch has each at most once.
    fn lane(&self, lane: usize, lanes: usize) -> (Lane, u64) {
        let cycles = [Format::Native, Format::Ethereum].map(|f| self.workload.cycle(f));
        let mut packer = Packer { batches: Vec::new(), txs: Vec::new(), calls: Vec::new(), bytes: 0, wire: 0 };
        for nonce in 0..self.shape.each as u64 {
            for sender in (lane..self.senders.len()).step_by(lanes) {
                let cycle = &cycles[usize::from(self.formats[sender] == Format::Ethereum)];
                let call = cycle[(sender + nonce as usize) % cycle.len()];
                packer.push(self.one(sender, nonce, call), call, &self.shape);
            }
            // The next round begins with senders that may be in this batch.
            packer.close(self.shape.method);
        }
        (Lane { node: lane % self.shape.nodes, batches: packer.batches }, packer.wire)
    }

    fn one(&self, sender: usize, nonce: u64, call: usize) -> Signed {
        let call = &self.workload.calls[call];
        let values = Values {
            sender: self.addresses[sender],
            neighbour: self.addresses[(sender + 1) % self.addresses.len()],
            nonce,
            contracts: self.contracts,
        };
        let to = Some(receiver(call, &values));
        let draft = Draft { nonce, to, value: call.value, input: call.data.render(&values), gas: call.gas };
        self.senders[sender].sign(&self.terms, draft)
    }
}

struct Packer {
    batches: Vec<Batch>,
    txs: Vec<Signed>,
    calls: Vec<u16>,
    bytes: usize,
    wire: u64,
}

impl Packer {
    fn push(&mut self, tx: Signed, call: usize, shape: &Shape) {
        let bytes = tx.raw.len() * 2 + 16;
        if self.txs.len() >= shape.batch || self.bytes + bytes > MAX_REQUEST_BYTES {
            self.close(shape.method);
        }
        self.bytes += bytes;
        self.wire += tx.raw.len() as u64;
        self.txs.push(tx);
        self.calls.push(u16::try_from(call).expect("a workload has few calls"));
    }

    fn close(&mut self, method: Method) {
        if self.txs.is_empty() {
            return;
        }
        let json = request(method, &self.txs);
        let txs = self.txs.drain(..).map(|t| t.hash).zip(self.calls.drain(..)).collect();
        self.batches.push(Batch { json, txs });
        self.bytes = 0;
    }
}

/// The request that hands these in.
pub(super) fn request(method: Method, txs: &[Signed]) -> String {
    let raws: Vec<&Bytes> = txs.iter().map(|t| &t.raw).collect();
    match method {
        Method::Basalt => {
            json!({ "jsonrpc": "2.0", "id": 1, "method": "basalt_sendRawTransactions", "params": [raws] }).to_string()
        }
        Method::Ethereum => {
            let one = |(i, raw): (usize, &&Bytes)| json!({ "jsonrpc": "2.0", "id": i, "method": "eth_sendRawTransaction", "params": [raw] });
            serde_json::Value::Array(raws.iter().enumerate().map(one).collect()).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use basalt_primitives::HashFn;

    use super::*;
    use crate::bench::workload::{Options, built_in};

    #[test]
    fn each_sender_is_in_one_lane_in_the_order_of_its_nonces_and_once_in_a_batch() {
        let workload = built_in("mixed", Options::default()).expect("known");
        let formats = workload.formats(23);
        let senders: Vec<_> = formats.iter().map(|f| Account::generate(*f).expect("key")).collect();
        let terms = Terms { chain_id: 1, max_fee: 0, hash_fn: HashFn::Sha256 };
        let shape = Shape { nodes: 2, lanes_per_node: 2, batch: 4, each: 3, method: Method::Basalt };
        let load = sign(&workload, &senders, &[Address::ZERO; 2], terms, shape);
        assert_eq!((load.lanes.len(), load.count), (4, 23 * 3));
        let mut next: HashMap<Address, (usize, u64)> = HashMap::new();
        for (number, lane) in load.lanes.iter().enumerate() {
            assert_eq!(lane.node, number % 2);
            for batch in &lane.batches {
                let body: serde_json::Value = serde_json::from_str(&batch.json).expect("JSON");
                let raws: Vec<Bytes> = serde_json::from_value(body["params"][0].clone()).expect("raws");
                assert!(raws.len() == batch.txs.len() && raws.len() <= 4);
                let mut seen = HashSet::new();
                for (raw, (hash, _)) in raws.into_iter().zip(&batch.txs) {
                    let tx =
                        basalt_proto::tx::decode(raw, 1, HashFn::Sha256).expect("decodes").verify().expect("signed");
                    assert_eq!(tx.hash(), *hash);
                    assert!(seen.insert(tx.sender()), "once in a batch");
                    let (own, nonce) = next.entry(tx.sender()).or_insert((number, 0));
                    assert_eq!((*own, *nonce), (number, tx.payload().nonce()));
                    *nonce += 1;
                }
            }
        }
        assert!(next.len() == 23 && next.values().all(|(_, n)| *n == 3));
    }
}
