//! Real threads on an easy target.

use basalt_primitives::{HashFn, Height, Round, WorkHash, header::HEADER_VERSION};
use crossbeam_channel::{Sender, unbounded};

use super::*;
use crate::clock::SystemClock;

struct Told(Sender<SealedBlock>, Sender<bool>);

impl Mines for Told {
    fn found(&self, block: SealedBlock) {
        let _ = self.0.send(block);
    }

    fn wanted(&self, on: bool) {
        let _ = self.1.send(on);
    }
}

const SEALING: Sealing = Sealing { hash_fn: HashFn::Sha256, work_hash: WorkHash::Blake3 };
const WITHIN: Duration = Duration::from_secs(60);

fn block(height: u64, target: U256) -> SealedBlock {
    let header = Header {
        version: HEADER_VERSION,
        chain_id: 1,
        height: Height(height),
        timestamp_ms: 1,
        parent_hash: B256::ZERO,
        transactions_root: B256::ZERO,
        parent_state_root: B256::ZERO,
        parent_receipts_root: B256::ZERO,
        parent_gas_used: 0,
        gas_limit: 0,
        base_fee: 0,
        proposer: Address::ZERO,
        first_round: Round::ZERO,
        next_validators_hash: B256::ZERO,
        last_certificate_hash: B256::ZERO,
        seal: Seal::Work { target, nonce: 0 },
    };
    SealedBlock::new(Block { header, last_certificate: None, transactions: Vec::new() }, SEALING.hash_fn)
}

/// A miner with a block to seal, for tests of what asks it.
pub(crate) fn busy() -> Arc<Miner> {
    let told = Told(unbounded().0, unbounded().0);
    let miner = Miner::new(SEALING, Some(Address::ZERO), Arc::new(SystemClock), 0, Box::new(told));
    miner.look_for(&block(1, U256::ONE));
    miner
}

#[test]
fn it_seals_what_it_is_given_and_stops_when_it_is_told() {
    let ((found, blocks), (on, wanted)) = (unbounded(), unbounded());
    let clock: SharedClock = Arc::new(SystemClock);
    let miner = Miner::new(SEALING, Some(Address::ZERO), clock, u64::MAX - 100, Box::new(Told(found, on)));
    assert_eq!(miner.start(0), Err(MinerError::Threads));
    assert_eq!(miner.start(MAX_MINER_THREADS + 1), Err(MinerError::Threads));
    miner.start(2).expect("two threads");
    assert_eq!((wanted.try_recv(), miner.threads()), (Ok(true), 2));
    for height in 1..=5 {
        miner.look_for(&block(height, U256::MAX >> 12));
        let sealed = loop {
            let sealed = blocks.recv_timeout(WITHIN).expect("4096 tries on average");
            // The other thread may have found one for the last block, too.
            if sealed.height() == Height(height) {
                break sealed;
            }
        };
        SEALING.check(sealed.header().clone()).expect("sealed");
    }
    miner.look_for(&block(6, U256::ONE));
    miner.stop();
    assert_eq!((wanted.try_recv(), miner.threads()), (Ok(false), 0));
    assert!(miner.hashrate() == 0 || miner.hashes.load(Ordering::Relaxed) > 0);
    miner.end();
}

#[test]
fn programs_elsewhere_get_work_and_bring_nonces() {
    let ((found, blocks), (on, wanted)) = (unbounded(), unbounded());
    let clock: SharedClock = Arc::new(SystemClock);
    let miner = Miner::new(SEALING, Some(Address::ZERO), clock, 0, Box::new(Told(found, on)));
    assert!(matches!(miner.work(), Err(MinerError::NoWork(_))));
    assert_eq!(wanted.try_recv(), Ok(true), "asking makes the engine give some");
    let template = block(1, U256::MAX >> 8);
    miner.look_for(&template);
    let work = miner.work().expect("there is some");
    assert_eq!((work.height, work.target), (1, U256::MAX >> 8));
    let tried = (0..u64::MAX).find(|n| SEALING.work_hash.number(work.sealing_hash, *n) <= work.target);
    let bad = (0..u64::MAX).find(|n| SEALING.work_hash.number(work.sealing_hash, *n) > work.target);
    let (good, bad) = (tried.expect("some"), bad.expect("most"));
    assert!(!miner.submit(bad, work.sealing_hash) && !miner.submit(good, B256::ZERO));
    assert!(miner.submit(good, work.sealing_hash));
    SEALING.check(blocks.try_recv().expect("found").header().clone()).expect("sealed");
    (2..=TEMPLATES as u64 + 1).for_each(|height| miner.look_for(&block(height, U256::MAX >> 8)));
    assert!(!miner.submit(good, work.sealing_hash), "forgotten");
    miner.report(B256::ZERO, 700);
    miner.report(B256::repeat_byte(1), 300);
    assert_eq!(miner.hashrate(), 1_000);
    let other = Miner::new(SEALING, None, Arc::new(SystemClock), 0, Box::new(Told(unbounded().0, unbounded().0)));
    assert_eq!((other.start(1), other.work()), (Err(MinerError::NoBeneficiary), Err(MinerError::NoBeneficiary)));
}
