//! Node records: signed whole, bounded, and never a panic.

use basalt_primitives::B256;
use basalt_proto::{
    Codec as _,
    status::{MAX_NAME_BYTES, MAX_NODES, NodeRecord, StatusRequest, StatusResponse},
};
use proptest::prelude::*;

use crate::samples::{self, GENESIS};

fn record() -> NodeRecord {
    samples::status_response().records.remove(0)
}

#[test]
fn a_record_is_signed_whole_and_for_one_chain() {
    let good = record();
    assert!(good.verify(GENESIS, b"peer"));
    assert!(!good.verify(B256::ZERO, b"peer"), "another chain");
    assert!(!good.verify(GENESIS, b"another peer"), "a validator proof of somebody else");
    let changes: [fn(&mut NodeRecord); 7] = [
        |r| r.sequence += 1,
        |r| r.name.push('x'),
        |r| std::mem::swap(&mut r.name, &mut r.organisation),
        |r| r.software.clear(),
        |r| r.address.push('9'),
        |r| r.height += 1,
        |r| r.validator = None,
    ];
    for change in changes {
        let mut bad = record();
        change(&mut bad);
        assert!(!bad.verify(GENESIS, b"peer"), "{bad:?}");
    }
}

#[test]
fn what_is_too_long_or_too_many_is_refused() {
    let response =
        |record: NodeRecord, n: usize| StatusResponse { records: vec![record; n], ..samples::status_response() };
    assert!(StatusResponse::decode(response(record(), 3).encode()).is_ok());
    let long = NodeRecord { name: "x".repeat(MAX_NAME_BYTES + 1), ..record() };
    assert!(StatusResponse::decode(response(long, 1).encode()).is_err());
    assert!(StatusResponse::decode(response(record(), MAX_NODES + 1).encode()).is_err());
    let known = vec![samples::status_request().known[0]; MAX_NODES];
    let full = StatusRequest { known };
    assert_eq!(StatusRequest::decode(full.encode()), Ok(full.clone()), "a full directory fits");
    let more = StatusRequest { known: [full.known, samples::status_request().known].concat() };
    assert!(StatusRequest::decode(more.encode()).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = StatusRequest::decode(bytes.clone());
        if let Ok(response) = StatusResponse::decode(bytes.clone()) {
            prop_assert_eq!(response.encode(), bytes);
        }
    }
}
