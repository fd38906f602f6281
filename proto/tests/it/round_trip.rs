//! Whatever is encoded comes back.

use basalt_primitives::{
    Address, B256, Block, Bytes, CommitCertificate, CommitSignature, Header, Height, Log, PublicKey, Receipt, Round,
    Seal, Signature, U256,
    header::{HEADER_VERSION, MAX_TIMESTAMP_MS},
    tx::{NativeTx, SecurityLevel, SignedNative},
};
use basalt_proto::{BlockReceipts, CertifiedBlock, Codec, tx, wire};
use proptest::{collection::vec, option, prelude::*};

use crate::samples::{CHAIN_ID, F};

fn hash() -> impl Strategy<Value = B256> {
    any::<[u8; 32]>().prop_map(B256::new)
}

fn address() -> impl Strategy<Value = Address> {
    any::<[u8; 20]>().prop_map(Address::new)
}

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

/// Small and large numbers alike, so that every length of their encoding occurs.
fn u256() -> impl Strategy<Value = U256> {
    (any::<[u64; 4]>(), 0usize..=256)
        .prop_map(|(limbs, shift)| U256::from_limbs(limbs).checked_shr(shift).unwrap_or_default())
}

fn u128() -> impl Strategy<Value = u128> {
    (any::<u128>(), 0u32..128).prop_map(|(v, shift)| v >> shift)
}

fn height() -> impl Strategy<Value = Height> {
    (0..=Height::MAX.0).prop_map(Height)
}

fn signature() -> impl Strategy<Value = Signature> {
    (any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(r, s)| Signature([r, s].concat().try_into().unwrap()))
}

prop_compose! {
    fn native()(
        (nonce, from, until) in (any::<u64>(), any::<u64>(), option::of(any::<u64>())),
        (max_fee_per_gas, max_priority_fee_per_gas, gas_limit) in (u128(), u128(), any::<u64>()),
        (to, value, input) in (option::of(address()), u256(), bytes(300)),
        (level, payload) in (0u8..4, option::of(bytes(50))),
        (key, signature) in (any::<[u8; 32]>(), signature()),
    ) -> SignedNative {
        let tx = NativeTx {
            chain_id: CHAIN_ID,
            nonce,
            valid_from: Height(from),
            valid_until: until.map(Height),
            max_fee_per_gas,
            max_priority_fee_per_gas,
            gas_limit,
            to,
            value,
            input,
            level: SecurityLevel::from_code(level).unwrap(),
            payload,
        };
        SignedNative { tx, public_key: PublicKey(key), signature }
    }
}

prop_compose! {
    fn certificate()(
        height in height(),
        round in any::<u32>(),
        block_hash in hash(),
        signatures in vec((any::<u16>(), signature()), 0..8),
    ) -> CommitCertificate {
        let signatures = signatures.into_iter().map(|(validator, signature)| CommitSignature { validator, signature });
        CommitCertificate { height, round: Round(round), block_hash, signatures: signatures.collect() }
    }
}

prop_compose! {
    fn header()(
        (chain_id, height, timestamp_ms) in (any::<u64>(), height(), 0..=MAX_TIMESTAMP_MS),
        hashes in any::<[[u8; 32]; 6]>(),
        (parent_gas_used, gas_limit, base_fee) in (any::<u64>(), any::<u64>(), any::<u64>()),
        (proposer, first_round) in (address(), any::<u32>()),
        work in option::of((u256(), any::<u64>())),
    ) -> Header {
        let [parent_hash, transactions_root, parent_state_root, parent_receipts_root, next, last] = hashes.map(B256::new);
        Header {
            version: HEADER_VERSION,
            chain_id,
            height,
            timestamp_ms,
            parent_hash,
            transactions_root,
            parent_state_root,
            parent_receipts_root,
            parent_gas_used,
            gas_limit,
            base_fee,
            proposer,
            first_round: Round(first_round),
            next_validators_hash: next,
            last_certificate_hash: last,
            seal: work.map_or(Seal::None, |(target, nonce)| Seal::Work { target, nonce }),
        }
    }
}

prop_compose! {
    fn receipt()(
        (tx_hash, tx_type, success) in (hash(), any::<u8>(), any::<bool>()),
        (gas_used, cumulative_gas_used, effective_gas_price) in (any::<u64>(), any::<u64>(), u128()),
        contract_address in option::of(address()),
        logs in vec((address(), vec(hash(), 0..=4), bytes(100)), 0..4),
        revert_data in bytes(Receipt::MAX_OUTPUT + 1),
    ) -> Receipt {
        let log = |(address, topics, data)| Log { address, topics, data };
        let logs = logs.into_iter().map(log).collect();
        Receipt {
            tx_hash, tx_type, success, gas_used, cumulative_gas_used, effective_gas_price, contract_address, logs, revert_data,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn native_transactions(signed in native()) {
        let raw = tx::encode_native(&signed);
        let back = tx::decode(raw.clone(), CHAIN_ID, F).unwrap();
        prop_assert_eq!(back.raw(), &raw);
        prop_assert_eq!(back.hash(), signed.hash(F));
        prop_assert_eq!(back.payload(), &basalt_primitives::tx::Payload::Native(Box::new(signed)));
    }

    #[test]
    fn blocks(
        header in header(),
        last_certificate in option::of(certificate()),
        transactions in vec(bytes(200), 0..6),
        certificate in option::of(certificate()),
    ) {
        let block = Block { header, last_certificate, transactions };
        prop_assert_eq!(&Header::decode(block.header.encode()).unwrap(), &block.header);
        prop_assert_eq!(&Block::decode(block.encode()).unwrap(), &block);
        let response = wire::BlockByHashResponse(Some(block.clone()));
        prop_assert_eq!(&wire::BlockByHashResponse::decode(response.encode()).unwrap(), &response);
        let certified = CertifiedBlock { block, certificate };
        let bytes = certified.encode();
        prop_assert_eq!(&bytes, &basalt_proto::block::encode_certified(&certified.block, certified.certificate.as_ref()));
        prop_assert_eq!(CertifiedBlock::decode(bytes).unwrap(), certified);
    }

    #[test]
    fn receipts(receipts in vec(receipt(), 0..5)) {
        let receipts = BlockReceipts(receipts);
        prop_assert_eq!(BlockReceipts::decode(receipts.encode()).unwrap(), receipts);
    }

    #[test]
    fn batches(txs in vec(bytes(200), 0..20)) {
        let batch = wire::TxBatch(txs.clone());
        prop_assert_eq!(wire::TxBatch::decode(batch.encode()).unwrap(), batch);
        let response = wire::BlocksResponse(txs);
        prop_assert_eq!(wire::BlocksResponse::decode(response.encode()).unwrap(), response);
    }
}
